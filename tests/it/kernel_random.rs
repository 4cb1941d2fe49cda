//! Random programs: the live kernel and every engine must agree in all ten registers, the stack
//! and memory.
//!
//! `cargo test` compares a few thousand; the full number takes one environment variable:
//! `SKEP_RANDOM_PROGRAMS=100000 cargo test --release -p skep-tests kernel_random -- --nocapture`.
//! A difference names the program's seed, and
//! `SKEP_RANDOM_SEED=SEED SKEP_RANDOM_PROGRAMS=1` makes that program again.

use std::collections::BTreeMap;
use std::env;
use std::time::Instant;

use skep_bpf::insn::{Insn, Offset};
use skep_bpf::text::mnemonic::Mnemonic;
use skep_tests::engines::ENGINES;
use skep_tests::random::{Kernel, Machines, RandomProgram, layout};

/// How many programs are compared unless the environment says otherwise.
const PROGRAMS: u64 = 2_000;
/// The first seed unless the environment says otherwise.
const SEED: u64 = 1;
/// How many of a hundred programs the verifier must accept at least.
const LEAST_PERCENT: u64 = 95;
/// How many different operations must have been compared at least, in a run of the usual length.
const LEAST_OPERATIONS: usize = 160;

fn setting(name: &str, otherwise: u64) -> u64 {
    match env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text:?}")),
        Err(_) => otherwise,
    }
}

#[test]
fn kernel_random() {
    if let Err(reason) = skep_kernel::available() {
        println!("skipped: {reason}");
        return;
    }
    let programs = setting("SKEP_RANDOM_PROGRAMS", PROGRAMS);
    let first = setting("SKEP_RANDOM_SEED", SEED);
    let kernel = Kernel::new().unwrap();
    let mut machines = Machines::new().unwrap();
    let (mut compared, mut insns) = (0, 0);
    let mut operations: BTreeMap<String, u64> = BTreeMap::new();
    let mut refused: Vec<u64> = Vec::new();
    let start = Instant::now();
    for seed in first..first + programs {
        let program = RandomProgram::new(seed);
        let Some(expected) = kernel.run(&program).unwrap() else {
            refused.push(seed);
            continue;
        };
        // The value starts with random words, so a program that did not run would be noticed.
        assert_ne!(expected[..layout::MEMORY], program.value[..layout::MEMORY], "seed {seed}");
        for row in ENGINES {
            match machines.run(&program, row.engine) {
                Ok(value) if value == expected => {}
                Ok(value) => panic!(
                    "seed {seed}: {} differs from the kernel:\n{}{}",
                    row.name,
                    differences(&expected, &value),
                    listing(&program)
                ),
                Err(error) => panic!("seed {seed}: {}: {error}\n{}", row.name, listing(&program)),
            }
        }
        compared += 1;
        insns += program.insns.len();
        for insn in &program.insns {
            *operations.entry(operation(insn)).or_default() += 1;
        }
    }
    let skipped = refused.len();
    println!(
        "{compared} programs of {} instructions on average compared with the kernel on {} engines \
         in {:.1?}, {skipped} skipped; {} operations",
        insns / compared.max(1),
        ENGINES.len(),
        start.elapsed(),
        operations.len()
    );
    for seed in refused.iter().take(10) {
        println!("seed {seed}: {}", kernel.refusal(&RandomProgram::new(*seed)).unwrap());
    }
    assert!(compared as u64 * 100 >= programs * LEAST_PERCENT, "{skipped} programs were skipped");
    if programs >= PROGRAMS {
        let found = operations.len();
        assert!(found >= LEAST_OPERATIONS, "only {found} operations: {operations:?}");
    }
}

/// The name of an operation, with whether its last operand is a register.
fn operation(insn: &Insn<usize>) -> String {
    let text = text(insn, 0);
    let name: Vec<_> = text
        .split_whitespace()
        .take_while(|word| !word.starts_with(['%', '[', '+', '-']))
        .collect();
    let last = text.rsplit([',', ' ']).find(|word| !word.is_empty() && !word.starts_with('+'));
    let register = last.is_some_and(|word| word.starts_with('%'));
    format!("{}{}", name.join(" "), if register { " %" } else { "" })
}

fn text(insn: &Insn<usize>, at: usize) -> String {
    let insn = insn.try_map(|target| Ok::<_, ()>(Offset(target as i32 - at as i32 - 1)));
    insn.map(|insn| Mnemonic(&insn).to_string()).unwrap_or_default()
}

/// The program, by instructions; distances count instructions, not slots.
fn listing(program: &RandomProgram) -> String {
    let mut listing = String::new();
    for (at, insn) in program.insns.iter().enumerate() {
        listing += &format!("{at:4}: {}\n", text(insn, at));
    }
    listing
}

/// The words that differ, by what they are.
fn differences(expected: &[u8], found: &[u8]) -> String {
    let mut text = String::new();
    let words = expected.chunks(8).zip(found.chunks(8)).enumerate();
    for (index, (expected, found)) in words.filter(|(_, (a, b))| a != b) {
        let at = index * 8;
        let name = match at {
            ..layout::MEMORY => format!("r{index}"),
            layout::MEMORY..layout::STACK => format!("memory+{}", at - layout::MEMORY),
            _ => format!("stack-{}", at - layout::STACK + 8),
        };
        text += &format!("{name}: kernel {expected:02x?}, found {found:02x?}\n");
    }
    text
}
