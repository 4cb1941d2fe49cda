//! Random programs whose verdicts are compared with the live kernel's.
//!
//! A [`Case`] is made from a [`Generator`] and a seed. The [`Judge`] asks both verifiers;
//! [`shrink`] makes what they disagree on small; [`Runner`] runs what is accepted in the checked
//! interpreter, which must never trap. All programs work on the same maps: [`maps::MAPS`].

mod code;
mod execute;
mod guided;
mod input;
mod judge;
pub mod maps;
mod mutant;
mod precision;
mod prover;
mod pruning;
mod shrink;

pub use execute::{Ran, Runner};
pub use input::Input;
pub use judge::{Answer, Judge, Opinion};
pub use prover::Prover;
pub use shrink::shrink;

use crate::oracle::encode_all;
use crate::random::Random;
use skep_bpf::codec::{Slot, SlotIndex, decode};
use skep_bpf::insn::Insn;
use skep_bpf::platform::{AttachType, ProgType};
use skep_bpf::text::c_like::Decimal;
use std::collections::BTreeSet;
use std::fmt;

/// A program of a type, to be judged.
#[derive(Clone, PartialEq, Debug)]
pub struct Case {
    /// Its program type.
    pub prog_type: ProgType,
    /// Its attach type.
    pub attach_type: AttachType,
    /// Its code; maps are named by their index in [`maps::MAPS`].
    pub slots: Vec<Slot>,
    /// Whether states are compared wherever they may be (`BPF_F_TEST_STATE_FREQ`).
    pub checkpoint_everywhere: bool,
}

/// The program types that cases have.
const TYPES: [(ProgType, AttachType); 8] = [
    (ProgType::SOCKET_FILTER, AttachType::UNSPECIFIED),
    (ProgType::XDP, AttachType::UNSPECIFIED),
    (ProgType::SCHED_CLS, AttachType::UNSPECIFIED),
    (ProgType::TRACEPOINT, AttachType::UNSPECIFIED),
    (ProgType::KPROBE, AttachType::UNSPECIFIED),
    (ProgType::CGROUP_SKB, AttachType::CGROUP_INET_INGRESS),
    (ProgType::CGROUP_SKB, AttachType::CGROUP_INET_EGRESS),
    (ProgType::XDP, AttachType::UNSPECIFIED),
];

/// The program types that cases have, each once.
#[must_use]
pub fn prog_types() -> BTreeSet<ProgType> {
    TYPES.iter().map(|of| of.0).collect()
}

/// How programs are made.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Generator {
    /// Forward, with instructions that are legal where they stand.
    Guided,
    /// A program of another generator with one thing changed.
    Mutant,
    /// Arithmetic and branches, then an access that is just legal or just not.
    Precision,
    /// Paths that meet again with different states, then a use that only some allow.
    Pruning,
}

impl Generator {
    /// All of them.
    pub const ALL: [Generator; 4] =
        [Generator::Guided, Generator::Mutant, Generator::Precision, Generator::Pruning];

    /// The case of a seed. Our verifier finds where precision ends.
    ///
    /// # Errors
    ///
    /// If a jump is too far for its field.
    pub fn case(self, seed: u64, prover: &Prover) -> Result<Case, String> {
        let mut random = Random::new(seed ^ ((self as u64) << 56));
        match self {
            Generator::Guided => guided::case(&mut random),
            Generator::Mutant => mutant::case(&mut random, prover),
            Generator::Precision => precision::case(&mut random, prover),
            Generator::Pruning => pruning::case(&mut random),
        }
    }
}

impl Case {
    /// A case of one of the program types.
    fn new(of: (ProgType, AttachType), insns: &[Insn<usize>]) -> Result<Case, String> {
        let (prog_type, attach_type) = of;
        let slots = encode_all(insns)?;
        Ok(Case { prog_type, attach_type, slots, checkpoint_everywhere: false })
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let everywhere = if self.checkpoint_everywhere { ", checkpoints everywhere" } else { "" };
        writeln!(f, "{} (attach type {}){everywhere}", self.prog_type, self.attach_type)?;
        let mut at = 0;
        while let Some(slot) = self.slots.get(at) {
            match decode(&self.slots, SlotIndex(at)) {
                Ok(insn) => {
                    writeln!(f, "{at:4}: {}", Decimal(&insn))?;
                    at += insn.len_slots();
                }
                Err(error) => {
                    writeln!(f, "{at:4}: {:02x?} {error}", slot.to_bytes())?;
                    at += 1;
                }
            }
        }
        Ok(())
    }
}
