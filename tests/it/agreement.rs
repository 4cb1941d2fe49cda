//! Every way to run a program gives the same: both interpreters, both compilers, with and without
//! a proof, with each pass of the optimising compiler switched off.
//!
//! Programs of the generators of `skep_tests::verdicts` that the verifier accepts, and random ones,
//! so many of each: `SKEP_AGREEMENT=40000 cargo test --release -p skep-tests agreement -- --nocapture`
//! takes 200,000. `SKEP_AGREEMENT_SEED` says where the seeds begin.

use std::collections::BTreeMap;
use std::env;
use std::sync::Arc;
use std::time::Instant;

use skep::trap::TrapKind;
use skep_tests::agreement::{Outcome, Way, World};
use skep_tests::random::{Random, RandomProgram};
use skep_tests::verdicts::Generator;

/// How many programs of each kind run unless the environment says otherwise.
const PROGRAMS: u64 = 12;
/// How often an accepted program runs.
const RUNS: usize = 2;
/// After so many programs all of guest memory is compared.
const BATCH: u64 = 32;

fn setting(name: &str, otherwise: u64) -> u64 {
    match env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text:?}")),
        Err(_) => otherwise,
    }
}

/// What became of programs of a kind.
#[derive(Debug, Default)]
struct Tally {
    made: u64,
    accepted: u64,
    not_loaded: u64,
    finished: u64,
    /// Runs that trapped, by why.
    trapped: BTreeMap<String, u64>,
}

impl Tally {
    fn add(&mut self, outcome: &Outcome) -> Result<(), String> {
        let Err((slot, kind)) = &outcome.end else {
            self.finished += 1;
            return Ok(());
        };
        match kind {
            // What this machine does not have; everything else the proof excludes.
            TrapKind::NoSuchHelper(_)
            | TrapKind::HelperContext { .. }
            | TrapKind::Unsupported { .. }
            | TrapKind::NoSocketBuffer => {}
            _ => return Err(format!("it was accepted, but at {slot}: {kind}")),
        }
        *self.trapped.entry(kind.to_string()).or_default() += 1;
        Ok(())
    }
}

/// Runs the programs of seeds, which `run` does, and compares memory now and then.
fn agree(name: &str, mut run: impl FnMut(&mut World, u64, &mut Tally) -> Result<(), String>) {
    let start = Instant::now();
    let first = setting("SKEP_AGREEMENT_SEED", 1);
    let end = first + setting("SKEP_AGREEMENT", PROGRAMS);
    let mut world = World::new().expect("machines");
    let mut tally = Tally::default();
    let mut from = first;
    while from < end {
        let until = end.min(from + BATCH);
        for seed in from..until {
            if let Err(difference) = run(&mut world, seed, &mut tally) {
                panic!("{name} seed {seed}: {difference}");
            }
        }
        if let Err(difference) = world.lanes.compare_memory() {
            // One of them left something; which, comes out in machines that are new.
            let mut world = World::new().expect("machines");
            for seed in from..until {
                let ran = run(&mut world, seed, &mut Tally::default());
                let memory = ran.and_then(|()| world.lanes.compare_memory());
                assert_eq!(memory, Ok(()), "{name} seed {seed}");
            }
            panic!("{name} seeds {from} to {until}: {difference}");
        }
        from = until;
    }
    let (runs, left_out) = world.lanes.runs();
    println!(
        "{name}: {} programs made, {} accepted, {} of them not loaded; {} runs came to their exit; \
         {runs} runs in {} other ways agree, {left_out} of them not compiled; {:.1?}",
        tally.made,
        tally.accepted,
        tally.not_loaded,
        tally.finished,
        Way::all().len() - 1,
        start.elapsed()
    );
    for (why, count) in &tally.trapped {
        println!("  {count} trapped: {why}");
    }
    assert!(tally.finished > 0 || end - first < PROGRAMS, "{name}: no run came to its exit");
}

fn accepted(generator: Generator) {
    agree(&format!("{generator:?}"), |world, seed, tally| {
        let Ok(case) = generator.case(seed, &world.prover) else { return Ok(()) };
        tally.made += 1;
        let Ok(proof) = world.prover.verify(&case) else { return Ok(()) };
        tally.accepted += 1;
        let mut random = Random::new(seed);
        let outcomes = world.agree(&case, &Arc::new(proof), &mut random, RUNS);
        let outcomes = outcomes.map_err(|difference| format!("{difference}\n{case}"))?;
        tally.not_loaded += u64::from(outcomes.is_empty());
        outcomes.iter().try_for_each(|outcome| tally.add(outcome))
    });
}

#[test]
fn guided_programs_agree() {
    accepted(Generator::Guided);
}

#[test]
fn mutants_agree() {
    accepted(Generator::Mutant);
}

#[test]
fn precise_programs_agree() {
    accepted(Generator::Precision);
}

#[test]
fn pruned_programs_agree() {
    accepted(Generator::Pruning);
}

#[test]
fn random_programs_agree() {
    agree("random", |world, seed, tally| {
        let program = RandomProgram::new(seed);
        tally.made += 1;
        let Ok(proof) = program.verify(2) else { return Ok(()) };
        tally.accepted += 1;
        let outcome = world.agree_random(&program, &Arc::new(proof))?;
        tally.add(&outcome)
    });
}
