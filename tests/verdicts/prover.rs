//! Asking our verifier, which needs no kernel.

use super::{Answer, Case, maps};
use skep_bpf::program::Bytecode;
use skep_verifier::{Input, MapFacts, Profile, Rejection, Rule, Verified, verify};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Our verifier, with the maps that all programs share.
#[derive(Debug)]
pub struct Prover {
    facts: Vec<MapFacts>,
    cpus: u32,
}

impl Prover {
    /// The verifier for machines with so many processors.
    ///
    /// # Errors
    ///
    /// If the types of the maps cannot be read, which only a bug could cause.
    pub fn new(cpus: u32) -> Result<Prover, String> {
        Ok(Prover { facts: maps::facts()?, cpus })
    }

    /// The verdict.
    ///
    /// # Errors
    ///
    /// The rejection.
    pub fn verify(&self, case: &Case) -> Result<Verified, Box<Rejection>> {
        self.verify_up_to(case, Profile::linux(self.cpus).max_insns)
    }

    fn verify_up_to(&self, case: &Case, max_insns: u64) -> Result<Verified, Box<Rejection>> {
        let bytecode = Bytecode::from(case.slots.clone());
        verify(&Input {
            attach_type: case.attach_type,
            maps: &self.facts,
            ..Input::new(
                &bytecode,
                case.prog_type,
                Profile {
                    checkpoint_everywhere: case.checkpoint_everywhere,
                    max_insns,
                    ..Profile::linux(self.cpus)
                },
            )
        })
    }

    /// The answer; `None` if the verifier panicked.
    #[must_use]
    pub fn answer(&self, case: &Case) -> Option<Answer> {
        let verdict = catch_unwind(AssertUnwindSafe(|| self.verify(case))).ok()?;
        Some(match verdict {
            Ok(verified) => Answer::Accepts(verified.stats().insns_processed),
            Err(rejection) => Answer::Rejects(rejection.message),
        })
    }

    /// Whether the verifier would walk more instructions than this.
    pub(super) fn is_longer(&self, case: &Case, insns: u64) -> bool {
        let verdict = catch_unwind(AssertUnwindSafe(|| self.verify_up_to(case, insns)));
        let rule = verdict.ok().and_then(Result::err).map(|rejection| rejection.rule);
        rule == Some(Rule::Budget)
    }
}
