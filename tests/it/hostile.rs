//! Hostile programs on every engine with window semantics: see `skep_tests::hostile`.
//!
//! A million: `SKEP_HOSTILE_PROGRAMS=1000000 cargo test --release -p skep-tests hostile -- --nocapture`.

use std::collections::HashSet;
use std::env;

use skep_bpf::text::c_like::Decimal;
use skep_tests::hostile::{Arena, program};
use skep_tests::random::Random;

/// How many programs run unless the environment says otherwise.
const PROGRAMS: u64 = 3_000;

fn setting(name: &str, otherwise: u64) -> u64 {
    match env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text:?}")),
        Err(_) => otherwise,
    }
}

#[test]
fn hostile_programs_are_contained() {
    let programs = setting("SKEP_HOSTILE_PROGRAMS", PROGRAMS);
    let first = setting("SKEP_HOSTILE_SEED", 1);
    let mut arena = Arena::new().unwrap();
    let (mut finished, mut shapes) = (0, HashSet::new());
    for seed in first..first + programs {
        let mut random = Random::new(seed);
        let program = program(&mut random);
        for insn in program.insns() {
            shapes.insert(std::mem::discriminant(insn));
        }
        match arena.check(&program, &mut random) {
            Ok(ended) => finished += u64::from(ended),
            Err(difference) => {
                let mut listing = String::new();
                for index in 0..program.insns().len() {
                    let pc = skep_bpf::program::Pc::from_index(index);
                    let insn = Decimal(&program.offsets(pc)).to_string();
                    listing += &format!("{:4}: {insn}\n", program.slot(pc).0);
                }
                panic!("seed {seed}: {difference}\n{listing}");
            }
        }
    }
    println!("{programs} programs, {finished} ran to their exit");
    assert!(finished * 100 >= programs, "only {finished} of {programs} programs ended by an exit");
    assert!(shapes.len() >= 15, "only {} shapes of instructions", shapes.len());
}
