//! Random programs with functions that are called back: what is accepted does not trap, and what
//! its registers and stack hold is among what the verifier knows.
//!
//! Longer: `SKEP_TURNS_PROGRAMS=100000 cargo test --release -p skep-tests turns -- --nocapture`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use skep::cpu::Cpu;
use skep::host::Host;
use skep::machine::Machine;
use skep::run::Options;
use skep_bpf::codec::SlotIndex;
use skep_bpf::platform::ProgType;
use skep_bpf::program::Program;
use skep_bpf::text::parse::assemble;
use skep_tests::membership::{Proof, Watch};
use skep_tests::random::Random;
use skep_tests::turns::Turns;
use skep_tests::verdicts::Input as Given;
use skep_verifier::input::FunctionFacts;
use skep_verifier::{Input, Profile};

/// How many programs, unless the environment says otherwise.
const PROGRAMS: u64 = 600;
/// How often each is run.
const RUNS: usize = 24;
/// Walks that are longer than this are left out.
const LONGEST: u64 = 20_000;
/// More instructions than a run has.
const FUEL: u64 = 1_000_000;
/// The least part of the programs that must be accepted, in percent.
const LEAST_PERCENT: u64 = 5;

#[test]
fn turns_hold_what_is_known() {
    let programs = match std::env::var("SKEP_TURNS_PROGRAMS") {
        Ok(text) => text.parse().expect("a number of programs"),
        Err(_) => PROGRAMS,
    };
    let numbers = Arc::new(AtomicU64::new(0));
    let source = numbers.clone();
    let random = Box::new(move || {
        let seed = source.fetch_add(1, Ordering::Relaxed);
        (Random::new(seed).bits() >> 32) as u32
    });
    let machine = Machine::new(Host { random, ..Host::default() }).expect("a machine");
    let machine = Arc::new(machine);
    let mut cpu = Cpu::new(&machine).expect("a processor");
    let (mut accepted, mut found, mut finished) = (0, 0, 0);
    for seed in 1..=programs {
        let turns = Turns::new(seed);
        let assembly = assemble(&turns.text).expect("assembly");
        let bytecode = assembly.bytecode("turns");
        let mut facts = vec![function("main", SlotIndex(0), true)];
        facts.extend(
            turns.functions.iter().map(|name| function(name, assembly.labels[name], false)),
        );
        let program = Program::new(&bytecode).expect("a program");
        let loaded = machine.load("turns", ProgType::SOCKET_FILTER, program, &[]);
        let loaded = loaded.expect("it is loaded");
        for checkpoint_everywhere in [false, true] {
            let input = Input {
                functions: &facts,
                ..Input::new(
                    &bytecode,
                    ProgType::SOCKET_FILTER,
                    Profile { checkpoint_everywhere, max_insns: LONGEST, ..Profile::linux(1) },
                )
            };
            let Ok(proof) = Proof::new(&input) else { continue };
            accepted += 1;
            for run in 0..RUNS as u64 {
                numbers.store(seed << 20 | run << 12, Ordering::Relaxed);
                let mut watch = Watch::new(&proof);
                let mut given = Given::random(ProgType::SOCKET_FILTER, &mut Random::new(run));
                let options = Options { fuel: FUEL, ..Options::default() };
                let ended = loaded.observe(&mut cpu, given.context(), options, &mut watch);
                if let Some(why) = watch.violation {
                    panic!("seed {seed}: {why}\n{}", turns.text);
                }
                match ended {
                    Ok(_) => finished += 1,
                    Err(why) => panic!("seed {seed}: {why}\n{}", turns.text),
                }
                found += watch.found;
            }
        }
    }
    println!(
        "{programs} programs, {accepted} of {} walks accepted, {finished} runs, {found} instructions \
         with known registers",
        2 * programs
    );
    assert!(accepted * 100 >= 2 * programs * LEAST_PERCENT, "hardly any program was accepted");
}

fn function(name: &str, entry: SlotIndex, global: bool) -> FunctionFacts {
    FunctionFacts {
        name: name.to_owned(),
        entry,
        global,
        returns_number: true,
        params: Vec::new(),
        handles_exceptions: false,
    }
}
