//! What runs was walked: no run of a random program that the verifier accepts executes an
//! instruction that the verifier never reached. Pruning that forgets what a decision depended on
//! fails here.

use std::collections::BTreeSet;

use skep::run::Observer;
use skep_bpf::codec::SlotIndex;
use skep_bpf::platform::{MapType, ProgType};
use skep_bpf::program::{Bytecode, Pc, Program};
use skep_tests::random::{Machines, RandomProgram, layout};
use skep_verifier::{Input, MapFacts, Profile, verify};

const PROGRAMS: u64 = 600;
/// How many of a hundred the verifier must accept, since the kernel does.
const LEAST_PERCENT: u64 = 99;

#[derive(Default)]
struct Executed(BTreeSet<SlotIndex>);

impl Observer for Executed {
    fn before(&mut self, program: &Program, pc: Pc, _: &[u64; 11], _: usize) {
        self.0.insert(program.slot(pc));
    }
}

#[test]
fn what_runs_was_walked() {
    let programs = match std::env::var("SKEP_REACHABLE_PROGRAMS") {
        Ok(text) => text.parse().expect("a number of programs"),
        Err(_) => PROGRAMS,
    };
    let maps = [MapFacts::new(MapType::ARRAY, 4, layout::VALUE_BYTES as u32, 1)];
    let mut machines = Machines::new().expect("a machine");
    let (mut accepted, mut refused) = (0, Vec::new());
    for seed in 1..=programs {
        let program = RandomProgram::new(seed);
        let bytecode = Bytecode::from(program.slots().expect("code"));
        let mut executed = Executed::default();
        machines.observe(&program, &mut executed).expect("the program runs to its end");
        for checkpoint_everywhere in [false, true] {
            let input = Input {
                maps: &maps,
                ..Input::new(
                    &bytecode,
                    ProgType::XDP,
                    Profile { checkpoint_everywhere, ..Profile::linux(2) },
                )
            };
            match verify(&input) {
                Ok(verified) => {
                    accepted += 1;
                    let missed: Vec<_> =
                        executed.0.iter().filter(|at| !verified.is_reachable(**at)).collect();
                    assert!(missed.is_empty(), "seed {seed}: slots {missed:?} ran unwalked");
                }
                Err(rejection) => refused.push((seed, rejection.to_string())),
            }
        }
    }
    println!("{accepted} walks of {programs} programs compared with runs");
    let shown: Vec<_> = refused.iter().take(10).collect();
    assert!(accepted * 100 >= 2 * programs * LEAST_PERCENT, "{} refused: {shown:?}", refused.len());
}

/// Linux 6.18 prunes the path on which the slot is 1 against the one on which it is 0, since it
/// does not follow the operand of the fetch into the stack, and removes a branch that is taken.
#[test]
fn fetches_from_the_stack_are_followed() {
    assert_all_reachable(
        "call 7                       ; bpf_get_prandom_u32
         r6 = r0
         r1 = 0
         *(u64 *)(r10 - 8) = r1
         if r6 == 0 goto joined
         r1 = 1
         *(u64 *)(r10 - 8) = r1
     joined:
         r7 = 0
         r7 = atomic_fetch_add((u64 *)(r10 - 8), r7)
         if r7 == 0 goto zero
         r0 = 1
         exit
     zero:
         r0 = 2
         exit",
    );
}

fn assert_all_reachable(text: &str) {
    let assembly = skep_bpf::text::parse::assemble(text).expect("assembly");
    let bytecode = assembly.bytecode("text");
    for checkpoint_everywhere in [false, true] {
        let input = Input::new(
            &bytecode,
            ProgType::XDP,
            Profile { checkpoint_everywhere, ..Profile::linux(2) },
        );
        let verified = verify(&input).expect("the kernel accepts it");
        for line in &assembly.lines {
            assert!(verified.is_reachable(line.slot), "{} is not reached", line.text);
        }
    }
}
