//! Asking both verifiers.

use super::prover::Prover;
use super::{Case, TYPES, maps};
use skep_bpf::codec::{Slot, SlotIndex, decode};
use skep_bpf::insn::{Callee, Imm64, Insn};
use skep_bpf::platform::{AttachType, OPTIONAL_HELPERS, ProgType};
use skep_kernel::uapi::{errno, log_level, prog_flag};
use skep_kernel::{Error, Map, ProgSpec, relocate};

/// What a verifier says.
#[derive(Clone, PartialEq, Debug)]
pub enum Answer {
    /// Yes, after so many instructions.
    Accepts(u64),
    /// No, and the sentence, which is empty where nobody asked for it.
    Rejects(String),
}

impl Answer {
    /// Whether it is yes.
    #[must_use]
    pub fn accepts(&self) -> bool {
        matches!(self, Answer::Accepts(_))
    }
}

/// What both say.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Opinion {
    /// Both accept it.
    Accepted,
    /// Both reject it.
    Rejected,
    /// Only the kernel accepts it.
    Imprecise,
    /// Only we accept it.
    Unsound,
    /// Our verifier panicked.
    Panicked,
}

impl Opinion {
    /// What two answers are together; no answer of ours means that the verifier panicked.
    #[must_use]
    pub fn of(ours: Option<&Answer>, kernel: &Answer) -> Opinion {
        match (ours.map(Answer::accepts), kernel.accepts()) {
            (None, _) => Opinion::Panicked,
            (Some(true), true) => Opinion::Accepted,
            (Some(false), false) => Opinion::Rejected,
            (Some(false), true) => Opinion::Imprecise,
            (Some(true), false) => Opinion::Unsound,
        }
    }
}

/// Both verifiers and the maps.
#[derive(Debug)]
pub struct Judge {
    prover: Prover,
    /// The maps that all programs share.
    maps: Vec<Map>,
    /// A map of programs for each type: it belongs to the type of the first that names it.
    programs: Vec<((ProgType, AttachType), Map)>,
}

impl Judge {
    /// Makes the maps in the kernel.
    ///
    /// # Errors
    ///
    /// The kernel's refusal.
    pub fn new() -> Result<Judge, String> {
        let cpus = skep_kernel::possible_cpus().map_err(|error| error.to_string())?;
        let programs = |of: &(ProgType, AttachType)| Ok((*of, maps::programs_in_kernel()?));
        Ok(Judge {
            prover: Prover::new(cpus as u32)?,
            maps: maps::in_kernel()?,
            programs: TYPES.iter().map(programs).collect::<Result<_, String>>()?,
        })
    }

    fn maps_for(&self, case: &Case) -> Vec<&Map> {
        let mut maps: Vec<&Map> = self.maps.iter().collect();
        let of = (case.prog_type, case.attach_type);
        if let Some((_, programs)) = self.programs.iter().find(|entry| entry.0 == of) {
            maps[maps::place::PROGRAMS] = programs;
        }
        maps
    }

    /// Our verifier, with the kernel's number of processors.
    #[must_use]
    pub fn prover(&self) -> &Prover {
        &self.prover
    }

    /// Our answer; `None` if the verifier panicked.
    #[must_use]
    pub fn ours(&self, case: &Case) -> Option<Answer> {
        self.prover.answer(case)
    }

    /// The kernel's answer, without its sentence.
    ///
    /// # Errors
    ///
    /// If the kernel could not judge it.
    pub fn kernel(&self, case: &Case) -> Result<Answer, String> {
        self.load(case, log_level::NONE).map(|(answer, _)| answer)
    }

    /// The kernel's answer with its sentence, and its log.
    ///
    /// # Errors
    ///
    /// If the kernel could not judge it.
    pub fn kernel_log(&self, case: &Case, level: u32) -> Result<(Answer, String), String> {
        self.load(case, level)
    }

    fn load(&self, case: &Case, level: u32) -> Result<(Answer, String), String> {
        is_comparable(case)?;
        let mut insns: Vec<_> = case.slots.iter().copied().map(Slot::to_bytes).collect();
        relocate(&mut insns, &self.maps_for(case)).map_err(|error| error.to_string())?;
        let flags = if case.checkpoint_everywhere { prog_flag::TEST_STATE_FREQ } else { 0 };
        let spec = ProgSpec {
            prog_type: case.prog_type.0,
            expected_attach_type: case.attach_type.0,
            insns: &insns,
            licence: "GPL",
            flags,
            log_level: level,
            ..ProgSpec::default()
        };
        match skep_kernel::Program::load(&spec) {
            Ok(program) => {
                let info = program.info().map_err(|error| error.to_string())?;
                let log = program.log().to_owned();
                Ok((Answer::Accepts(info.verified_insns.into()), log))
            }
            Err(refused) => match refused.error {
                Error::Kernel { errno: errno::ENOMEM | errno::EAGAIN, .. } => {
                    Err(refused.error.to_string())
                }
                Error::Kernel { .. } => Ok((Answer::Rejects(sentence(&refused.log)), refused.log)),
                other => Err(other.to_string()),
            },
        }
    }

    /// What both say of a case.
    ///
    /// # Errors
    ///
    /// If the kernel could not judge it.
    pub fn opinion(&self, case: &Case) -> Result<Opinion, String> {
        let kernel = self.kernel(case)?;
        Ok(Opinion::of(self.ours(case).as_ref(), &kernel))
    }
}

/// The last line of a log before the statistics: why the program was refused.
fn sentence(log: &str) -> String {
    let is_other = |line: &&str| {
        line.is_empty() || line.starts_with("processed ") || line.starts_with("verification time")
    };
    log.lines().rev().find(|line| !is_other(line)).unwrap_or_default().to_owned()
}

/// Whether the kernel's verdict says something about the verifier: the maps are there, and what
/// is called does not depend on how the kernel was built.
fn is_comparable(case: &Case) -> Result<(), String> {
    let mut at = 0;
    while let Some(slot) = case.slots.get(at) {
        match decode(&case.slots, SlotIndex(at)) {
            Ok(Insn::LoadImm64 { imm, .. }) => match imm {
                Imm64::MapByIdx(index) | Imm64::MapValueByIdx { index, .. }
                    if index as usize >= maps::MAPS.len() =>
                {
                    return Err(format!("it names map {index}"));
                }
                Imm64::MapByFd(fd) | Imm64::MapValueByFd { fd, .. } => {
                    return Err(format!("it names the map of file descriptor {fd}"));
                }
                _ => {}
            },
            Ok(Insn::Call { callee: Callee::Helper(id) }) if OPTIONAL_HELPERS.contains(&id) => {
                return Err(format!("{id} is not everywhere"));
            }
            _ => {}
        }
        at += if slot.is_wide() { 2 } else { 1 };
    }
    Ok(())
}
