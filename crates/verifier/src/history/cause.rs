//! What of a path matters for a fault: the registers that the broken rule is about, and what
//! happened to them.

use super::model::{Base, Focus, Known, Related, RelatedKind};
use super::origin::{Origins, Place};
use super::replay::Trace;
use crate::explore::Walk;
use crate::rejection::{Fault, Rule};
use skep_bpf::codec::SlotIndex;
use skep_bpf::insn::{Callee, Insn, Offset, Reg, Src};
use skep_bpf::platform::{ArgKind, helper::MemoryUse};
use std::collections::BTreeMap;

/// What is told of a fault beside its sentence.
#[derive(Default)]
pub(crate) struct Cause {
    pub(crate) focus: Option<Focus>,
    pub(crate) related: Vec<Related>,
}

/// As many decisions are told, the last ones.
const MAX_DECISIONS: usize = 2;

impl Walk<'_> {
    /// What has to do with a fault at the current instruction, or with one of the whole program.
    pub(crate) fn cause(&self, fault: &Fault, at: Option<usize>) -> Cause {
        let related = match fault.rule {
            Rule::Budget => self.hot_loop(),
            Rule::CallDepth => self.frames(),
            _ => Vec::new(),
        };
        // An exception is found in the code, after all paths.
        let of_path = related.is_empty() && fault.rule != Rule::Exception;
        let Some(at) = at.filter(|_| of_path) else {
            return Cause { focus: None, related };
        };
        let Some(trace) = self.trace() else { return Cause::default() };
        let end = trace.steps.len().saturating_sub(1);
        let Some(step) = trace.steps.get(end) else { return Cause::default() };
        let insn = self.code.insn(at);
        let argument = || argument(fault, &step.state);
        let used = || insn.as_ref().and_then(used);
        let reg = match fault.rule {
            Rule::InfiniteLoop => None,
            _ => mentioned(&fault.message).or_else(used).or_else(argument),
        };
        let focus = reg.map(|reg| Focus {
            reg,
            value: Known::from(&step.state.reg(reg)),
            ..self.access(&fault.message, insn.as_ref(), reg)
        });
        let mut origins = Origins::new(&self.code, self.input.bytecode, &trace);
        let frame = step.state.depth();
        for reg in about(fault, insn.as_ref(), reg) {
            origins.search(Place::Reg { frame, reg }, end);
        }
        if matches!(fault.rule, Rule::Reference) {
            for reference in &step.state.references {
                acquired(&mut origins, &trace, reference.insn);
            }
        }
        if fault.rule == Rule::Lock {
            locks(&mut origins, &trace);
        }
        // Found backwards: told in the order of the path.
        let mut related = core::mem::take(&mut origins.found);
        related.reverse();
        if fault.rule == Rule::InfiniteLoop {
            related.extend(round(&trace));
        } else {
            related.extend(decisions(&trace, fault.rule, &related));
        }
        related.sort_by_key(|related| related.at);
        Cause { focus, related }
    }

    /// Of an access: its offset, size and direction.
    fn access(&self, message: &str, insn: Option<&Insn<Offset>>, reg: Reg) -> Focus {
        let nothing = Known::from(&crate::state::value::Value::INVALID);
        let mut focus = Focus { reg, value: nothing, offset: 0, size: None, writes: false };
        let (mem, size, writes) = match insn {
            Some(Insn::Load { mem, size, .. } | Insn::LoadAcquire { mem, size, .. }) => {
                (mem, size.bytes(), false)
            }
            Some(Insn::Store { mem, size, .. } | Insn::StoreRelease { mem, size, .. }) => {
                (mem, size.bytes(), true)
            }
            Some(Insn::Atomic { mem, width, .. }) => (mem, width.bits() / 8, true),
            _ => {
                focus.size = self.helper_size(message, insn, reg);
                focus.writes = message.contains("write");
                return focus;
            }
        };
        if mem.base == reg {
            focus.offset = i64::from(mem.offset);
            focus.size = Some(i64::from(size));
            focus.writes = writes;
        }
        focus
    }

    /// How many bytes a helper accesses through an argument.
    fn helper_size(&self, message: &str, insn: Option<&Insn<Offset>>, reg: Reg) -> Option<i64> {
        let said = message
            .split("size=")
            .nth(1)
            .and_then(|rest| rest.split(|c: char| !c.is_ascii_digit()).next()?.parse::<i64>().ok());
        if said.is_some() {
            return said;
        }
        let Some(Insn::Call { callee: Callee::Helper(id) }) = insn else { return None };
        let index = reg.index().checked_sub(1)?;
        let row = id.row()?;
        let kind = |index| row.arg_kind(index, self.input.prog_type);
        match kind(index)? {
            ArgKind::FixedMemory { size, .. } => Some(i64::from(size)),
            ArgKind::Memory { .. } => {
                let size = Reg::new(u8::try_from(reg.index()).ok()? + 1)?;
                matches!(kind(index + 1)?, ArgKind::Size { .. })
                    .then(|| i64::try_from(self.state.reg(size).scalar.wide().umax).ok())?
            }
            _ => None,
        }
    }

    /// The instructions that were walked most often, and the states that are remembered there.
    fn hot_loop(&self) -> Vec<Related> {
        let mut states: BTreeMap<usize, u32> = BTreeMap::new();
        for at in self.checkpoints.places() {
            *states.entry(at).or_default() += 1;
        }
        let jumps_back = |at: &usize| {
            let target = match self.code.insn(*at) {
                Some(Insn::Jump { target, .. } | Insn::Branch { target, .. }) => target,
                _ => return false,
            };
            self.code.target(*at, target).is_some_and(|target| target <= *at)
        };
        let walked = (0..self.visits.len()).filter(|at| self.visits[*at] > 1);
        let hottest = |filter: &dyn Fn(&usize) -> bool| {
            walked.clone().filter(|at| filter(at)).max_by_key(|at| self.visits[*at])
        };
        // A loop is best shown by the jump that closes it.
        let Some(at) = hottest(&jumps_back).or_else(|| hottest(&|_| true)) else {
            return Vec::new();
        };
        let start = match self.code.insn(at) {
            Some(Insn::Jump { target, .. } | Insn::Branch { target, .. }) => {
                self.code.target(at, target).filter(|start| start <= &at).unwrap_or(at)
            }
            _ => at,
        };
        let forks = self.is_fork(at);
        let states = states.range(start..=at).map(|(_, count)| count).sum();
        let trips = self.visits[at];
        let mut related =
            vec![Related { at: SlotIndex(at), what: RelatedKind::Loop { trips, states, forks } }];
        // Branches within it that go either way make the paths many.
        let undecided = (start..at).filter(|at| {
            matches!(self.code.insn(*at), Some(Insn::Branch { .. })) && self.is_fork(*at)
        });
        for fork in undecided.take(MAX_DECISIONS) {
            let trips = self.visits[fork];
            let what = RelatedKind::Loop { trips, states: 0, forks: true };
            related.push(Related { at: SlotIndex(fork), what });
        }
        related
    }

    /// The functions with the stack they use, and the calls between them.
    fn frames(&self) -> Vec<Related> {
        let mut related = Vec::new();
        for (function, bytes) in self.code.functions.iter().zip(&self.stack_bytes) {
            if *bytes > 0 {
                let what = RelatedKind::Frame { bytes: *bytes };
                related.push(Related { at: SlotIndex(function.entry), what });
            }
        }
        for at in 0..self.code.slots.len() {
            if let Some(Insn::Call { callee: Callee::Local(target) }) = self.code.insn(at)
                && let Some(entry) = self.code.target(at, target)
            {
                let what = RelatedKind::Calls { entry: SlotIndex(entry) };
                related.push(Related { at: SlotIndex(at), what });
            }
        }
        related
    }
}

/// The first register that a sentence names.
fn mentioned(message: &str) -> Option<Reg> {
    let mut rest = message;
    while let Some(start) = rest.find('R') {
        let before_is_word = rest[..start].ends_with(|c: char| c.is_ascii_alphanumeric());
        rest = &rest[start + 1..];
        let digits = rest.split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default();
        let after = rest[digits.len()..].chars().next();
        let is_word = after.is_some_and(|c| c.is_ascii_alphanumeric() || c == '_');
        if !before_is_word
            && !is_word
            && let Ok(number) = digits.parse()
        {
            return Reg::new(number);
        }
    }
    None
}

/// The argument that a helper does not take, where the sentence does not name it.
fn argument(fault: &Fault, state: &crate::state::State) -> Option<Reg> {
    let wrong: fn(Base) -> bool = match fault.rule {
        Rule::HelperArgument if fault.message.contains("access to the packet") => {
            |base| base.is_packet() || base == Base::PacketEnd
        }
        Rule::Map => |base| matches!(base, Base::Map(_)),
        _ => return None,
    };
    let mut arguments = crate::check::call::ARGUMENTS.into_iter();
    arguments.find(|reg| wrong(Known::from(&state.reg(*reg)).base))
}

/// The register that an instruction is about.
fn used(insn: &Insn<Offset>) -> Option<Reg> {
    match *insn {
        Insn::Load { mem, .. }
        | Insn::Store { mem, .. }
        | Insn::Atomic { mem, .. }
        | Insn::LoadAcquire { mem, .. }
        | Insn::StoreRelease { mem, .. } => Some(mem.base),
        Insn::Alu { dst, .. } | Insn::Neg { dst, .. } | Insn::Branch { dst, .. } => Some(dst),
        Insn::Movsx { src, .. } | Insn::AddrSpaceCast { src, .. } => Some(src),
        Insn::Endian { dst, .. } => Some(dst),
        Insn::LoadImm64 { .. }
        | Insn::LoadPacket { .. }
        | Insn::Jump { .. }
        | Insn::MayGoto { .. }
        | Insn::Call { .. }
        | Insn::Exit => None,
    }
}

/// The registers whose past matters.
fn about(fault: &Fault, insn: Option<&Insn<Offset>>, reg: Option<Reg>) -> Vec<Reg> {
    let mut regs: Vec<Reg> = reg.into_iter().collect();
    match (fault.rule, insn) {
        (
            Rule::PointerArithmetic | Rule::Unbounded,
            Some(Insn::Alu { dst, src: Src::Reg(src), .. }),
        ) => regs = vec![*src, *dst],
        (Rule::Arithmetic | Rule::Map, _) => regs.clear(),
        // A size's memory comes before it, a memory's size after it.
        (
            Rule::HelperArgument | Rule::Unbounded | Rule::Stack,
            Some(Insn::Call { callee: Callee::Helper(id) }),
        ) => {
            let Some(reg) = reg else { return regs };
            let (Some(row), Some(index)) = (id.row(), reg.index().checked_sub(1)) else {
                return regs;
            };
            let prog_type = skep_bpf::platform::ProgType::UNSPEC;
            let is_memory = |index| {
                matches!(
                    row.arg_kind(index, prog_type),
                    Some(ArgKind::Memory {
                        uses: MemoryUse::Read | MemoryUse::Write | MemoryUse::ReadWrite,
                        ..
                    })
                )
            };
            let is_size =
                |index| matches!(row.arg_kind(index, prog_type), Some(ArgKind::Size { .. }));
            let number = index as u8 + 1;
            if is_memory(index) && is_size(index + 1) {
                regs.extend(Reg::new(number + 1));
            }
        }
        _ => {}
    }
    regs
}

fn acquired(origins: &mut Origins<'_>, trace: &Trace, insn: usize) {
    if let Some(step) = trace.steps.iter().rposition(|step| step.at == insn) {
        let function = origins.called_at(step);
        origins.note(step, RelatedKind::Acquired { function });
    }
}

/// Where locks were taken and released, back to the last time that was taken.
fn locks(origins: &mut Origins<'_>, trace: &Trace) {
    for index in (1..trace.steps.len()).rev() {
        let (before, after) = (&trace.steps[index - 1].state, &trace.steps[index].state);
        match (before.lock.is_some(), after.lock.is_some()) {
            (false, true) => {
                origins.note(index - 1, RelatedKind::Locked);
                return;
            }
            (true, false) => origins.note(index - 1, RelatedKind::Unlocked),
            _ => {}
        }
    }
}

/// The branches of one round of a loop that makes no progress.
fn round(trace: &Trace) -> Vec<Related> {
    let Some((last, before)) = trace.steps.split_last() else { return Vec::new() };
    let start = before.iter().rposition(|step| step.at == last.at).unwrap_or(0);
    let steps = &trace.steps[start..];
    went(steps).into_iter().rev().take(MAX_DECISIONS).collect()
}

/// The decisions that led to a fault which is about the path rather than about a value.
fn decisions(trace: &Trace, rule: Rule, related: &[Related]) -> Vec<Related> {
    let matters = match rule {
        Rule::Reference | Rule::Lock | Rule::ReturnValue | Rule::Uninitialised => true,
        Rule::NotAPointer => related
            .iter()
            .any(|related| matches!(related.what, RelatedKind::Unwritten | RelatedKind::IsNull)),
        _ => false,
    };
    if !matters {
        return Vec::new();
    }
    let origin = related.iter().map(|related| related.at.0).min();
    let start = origin.and_then(|at| trace.steps.iter().rposition(|step| step.at == at));
    let all = went(trace.steps.get(start.unwrap_or(0)..).unwrap_or_default());
    let new = |decision: &Related| related.iter().all(|related| related.at != decision.at);
    all.into_iter().rev().filter(new).take(MAX_DECISIONS).collect()
}

fn went(steps: &[super::replay::TraceStep]) -> Vec<Related> {
    let pairs = steps.iter().zip(steps.iter().skip(1));
    let decided = pairs.filter(|(step, _)| step.forked);
    let related = |(step, next): (&super::replay::TraceStep, &super::replay::TraceStep)| Related {
        at: SlotIndex(step.at),
        what: RelatedKind::Went { taken: next.at != step.at + 1, to: SlotIndex(next.at) },
    };
    decided.map(related).collect()
}
