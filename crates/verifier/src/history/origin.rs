//! Where a value comes from: backwards through the instructions of a path.

use super::model::{Called, Known, Related, RelatedKind};
use super::replay::{Trace, TraceStep};
use crate::state::State;
use crate::state::stack::{Byte, slot_of};
use crate::state::value::{Kind, Value};
use crate::structure::Code;
use skep_bpf::codec::SlotIndex;
use skep_bpf::insn::{Insn, Mem, Offset, Reg, Src};
use skep_bpf::op::{AluOp, AtomicOp, Size};
use skep_bpf::program::Bytecode;

/// A register or a stack slot of a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Place {
    /// A register.
    Reg { frame: usize, reg: Reg },
    /// Eight bytes of the stack.
    Slot { frame: usize, slot: usize },
}

/// What happened last to a place.
enum Last {
    /// The instruction of this step wrote it.
    Written(usize),
    /// The instruction changed what is known of it, without writing it.
    Changed(usize),
    /// Nothing, as far back as is known.
    Nothing,
}

/// As many values on the way back are looked at.
const MAX_LINKS: usize = 24;

/// The search for what has to do with a fault.
pub(crate) struct Origins<'a> {
    pub(crate) code: &'a Code,
    bytecode: &'a Bytecode,
    pub(crate) trace: &'a Trace,
    pub(crate) found: Vec<Related>,
    /// Whether the pointer got a variable offset on the way: what was proved before it no longer
    /// counts.
    moved: bool,
    links: usize,
}

impl<'a> Origins<'a> {
    /// A search on a path.
    pub(crate) fn new(code: &'a Code, bytecode: &'a Bytecode, trace: &'a Trace) -> Origins<'a> {
        Origins { code, bytecode, trace, found: Vec::new(), moved: false, links: 0 }
    }

    /// Notes what happened at a step, once.
    pub(crate) fn note(&mut self, step: usize, what: RelatedKind) {
        let Some(step) = self.trace.steps.get(step) else { return };
        let related = Related { at: SlotIndex(step.at), what };
        if !self.found.contains(&related) {
            self.found.push(related);
        }
    }

    /// Looks for the origin of what a place holds before a step.
    pub(crate) fn search(&mut self, mut place: Place, mut before: usize) {
        while self.links < MAX_LINKS {
            self.links += 1;
            match self.last(&mut place, before) {
                Last::Changed(at) => {
                    self.note_change(at, place);
                    before = at;
                }
                Last::Written(at) => match self.note_write(at, place) {
                    Some(next) => (place, before) = (next, at),
                    None => return,
                },
                Last::Nothing => {
                    let held = self.trace.steps.first().and_then(|step| value(&step.state, place));
                    if let Some(argument) = held.filter(|value| value.or_null) {
                        self.note(0, RelatedKind::Argument(Known::from(argument)));
                        return;
                    }
                    let Place::Reg { reg, .. } = place else { return };
                    let entered = held.is_none_or(|value| value.kind == Kind::Invalid);
                    if !self.trace.truncated && entered {
                        self.note(0, RelatedKind::NeverWritten(reg));
                    }
                    return;
                }
            }
        }
    }

    /// What happened last to a place before a step. Follows the place through calls.
    fn last(&self, place: &mut Place, before: usize) -> Last {
        for index in (0..before).rev() {
            let (step, next) = (&self.trace.steps[index], &self.trace.steps[index + 1]);
            let (depth, then) = (step.state.depth(), next.state.depth());
            if then > depth {
                if let Some(last) = through_call(place, depth, then, index) {
                    return last;
                }
                continue;
            }
            if let Place::Reg { frame, reg: Reg::R0 } = *place
                && then < depth
                && frame == then
            {
                *place = Place::Reg { frame: depth, reg: Reg::R0 };
                continue;
            }
            if self.writes(step, next, *place) {
                return Last::Written(index);
            }
            if !same(value(&step.state, *place), value(&next.state, *place)) {
                return Last::Changed(index);
            }
        }
        Last::Nothing
    }

    fn writes(&self, step: &TraceStep, next: &TraceStep, place: Place) -> bool {
        let Some(insn) = self.code.insn(step.at) else { return false };
        match place {
            Place::Reg { frame, reg } => {
                frame == step.state.depth()
                    && written(&insn).is_some_and(|regs| regs.contains(&reg))
            }
            Place::Slot { frame, slot } => {
                let (Insn::Store { mem, .. } | Insn::StoreRelease { mem, .. }) = insn else {
                    return false;
                };
                stack_place(&step.state, mem) == Some(Place::Slot { frame, slot })
                    && value(&next.state, place).is_some()
            }
        }
    }

    /// Notes what an instruction told of a place that it did not write.
    fn note_change(&mut self, index: usize, place: Place) {
        let (step, next) = (&self.trace.steps[index], &self.trace.steps[index + 1]);
        let (Some(before), Some(after)) = (value(&step.state, place), value(&next.state, place))
        else {
            self.note(index, RelatedKind::Overwritten);
            return;
        };
        let function = self.called_at(index);
        let (known_before, known_after) = (Known::from(before), Known::from(after));
        if before.kind.is_pointer() && after.is_scalar() {
            let what = match after.is_zero() && before.or_null {
                true => RelatedKind::IsNull,
                false => RelatedKind::Invalidated { before: known_before, function },
            };
            self.note(index, what);
            return;
        }
        if let (Some(was), Some(is)) = (before.kind.reach(), after.kind.reach()) {
            let bytes = match is {
                crate::state::value::Reach::Bytes(bytes) => bytes,
                _ => 0,
            };
            if was != is && bytes > 0 && !self.moved {
                self.note(index, RelatedKind::PacketProved { bytes });
            }
            return;
        }
        if before.is_scalar() && after.is_scalar() && before.scalar != after.scalar {
            self.note(index, RelatedKind::Narrowed { before: known_before, after: known_after });
        }
    }

    /// Notes how an instruction made a value, and gives the place that it came from.
    fn note_write(&mut self, index: usize, place: Place) -> Option<Place> {
        let step = &self.trace.steps[index];
        let frame = step.state.depth();
        let reg = |reg| Place::Reg { frame, reg };
        let after = *value(&self.trace.steps[index + 1].state, place)?;
        match self.code.insn(step.at)? {
            Insn::Alu { op: AluOp::Mov, src: Src::Reg(src), .. } => {
                let before = step.state.reg(src);
                if !same_number(&before, &after) {
                    self.note_computed(index, &before, &after);
                }
                Some(reg(src))
            }
            Insn::Alu { op: AluOp::Mov, src: Src::Imm(_), .. } => {
                self.note(index, RelatedKind::Given(Known::from(&after)));
                None
            }
            Insn::Alu { dst, src, .. } => self.note_arithmetic(index, dst, src, &after),
            Insn::Neg { dst, .. } | Insn::Endian { dst, .. } => {
                self.note_computed(index, &step.state.reg(dst), &after);
                Some(reg(dst))
            }
            Insn::Movsx { src, .. } | Insn::AddrSpaceCast { src, .. } => {
                let before = step.state.reg(src);
                if !same_number(&before, &after) {
                    self.note_computed(index, &before, &after);
                }
                Some(reg(src))
            }
            Insn::LoadImm64 { .. } => {
                self.note(index, RelatedKind::Given(Known::from(&after)));
                None
            }
            Insn::Load { mem, size, .. } | Insn::LoadAcquire { mem, size, .. } => {
                self.note_load(index, mem, size, &after)
            }
            Insn::Store { src: Src::Reg(src), .. } | Insn::StoreRelease { src, .. } => {
                Some(reg(src))
            }
            Insn::Store { .. } => {
                self.note(index, RelatedKind::Given(Known::from(&after)));
                None
            }
            Insn::Atomic { mem, width, .. } => {
                let from = Known::from(&step.state.reg(mem.base));
                let size = width.bits() / 8;
                let value = Known::from(&after);
                self.note(index, RelatedKind::Loaded { from, size, value });
                None
            }
            Insn::Call { .. } | Insn::LoadPacket { .. } => {
                self.note_call(index, place, &after);
                None
            }
            Insn::Jump { .. } | Insn::Branch { .. } | Insn::MayGoto { .. } | Insn::Exit => None,
        }
    }

    fn note_call(&mut self, index: usize, place: Place, after: &Value) {
        let Place::Reg { reg, .. } = place else { return };
        let what = match self.called_at(index) {
            Some(function) if reg == Reg::R0 && after.kind != Kind::Invalid => {
                RelatedKind::Returned { function, value: Known::from(after) }
            }
            _ if after.kind == Kind::Invalid => RelatedKind::Destroyed(reg),
            _ => RelatedKind::Given(Known::from(after)),
        };
        self.note(index, what);
    }

    fn note_load(&mut self, index: usize, mem: Mem, size: Size, after: &Value) -> Option<Place> {
        let state = &self.trace.steps[index].state;
        if let Some(slot) = stack_place(state, mem)
            && value(state, slot).is_some()
        {
            return Some(slot);
        }
        if let Some(Place::Slot { frame, slot }) = stack_place(state, mem) {
            let written = state.frames.get(frame).and_then(|frame| frame.stack().get(slot));
            if written.is_none_or(|slot| slot.bytes.iter().all(|byte| *byte == Byte::Invalid)) {
                self.note(index, RelatedKind::Unwritten);
                return None;
            }
        }
        let mut from = Known::from(&state.reg(mem.base));
        from.offset += i64::from(mem.offset);
        let value = Known::from(after);
        self.note(index, RelatedKind::Loaded { from, size: size.bytes(), value });
        None
    }

    fn note_arithmetic(
        &mut self,
        index: usize,
        dst: Reg,
        src: Src,
        after: &Value,
    ) -> Option<Place> {
        let step = &self.trace.steps[index];
        let frame = step.state.depth();
        let reg = |reg| Place::Reg { frame, reg };
        let left = step.state.reg(dst);
        let right = match src {
            Src::Reg(src) => step.state.reg(src),
            Src::Imm(imm) => Value::constant(i64::from(imm) as u64),
        };
        if after.kind.is_pointer() {
            let (pointer, number, by) = match src {
                Src::Reg(src) if right.kind.is_pointer() => (src, Some(dst), left),
                Src::Reg(src) => (dst, Some(src), right),
                Src::Imm(_) => (dst, None, right),
            };
            if by.scalar.as_constant().is_none() {
                let by = Known::from(&by);
                self.note(index, RelatedKind::Moved { by, after: Known::from(after) });
                if let Some(number) = number {
                    self.search(reg(number), index);
                }
                self.moved = true;
            }
            return Some(reg(pointer));
        }
        // Of two numbers, the less known one says more.
        let operand = match src {
            Src::Reg(src) if width_of(&right) > width_of(&left) => (src, right),
            _ => (dst, left),
        };
        self.note_computed(index, &operand.1, after);
        Some(reg(operand.0))
    }

    fn note_computed(&mut self, index: usize, before: &Value, after: &Value) {
        let (before, after) = (Known::from(before), Known::from(after));
        self.note(index, RelatedKind::Computed { before, after });
    }

    /// The function of the kernel that a step calls.
    pub(crate) fn called_at(&self, index: usize) -> Option<Called> {
        Called::of(&self.code.insn(self.trace.steps.get(index)?.at)?, self.bytecode)
    }
}

/// A call: the callee's arguments are the caller's, and its other registers hold nothing.
fn through_call(place: &mut Place, depth: usize, then: usize, index: usize) -> Option<Last> {
    let Place::Reg { frame, reg } = *place else { return None };
    if frame == then {
        if (Reg::R1..=Reg::R5).contains(&reg) {
            *place = Place::Reg { frame: depth, reg };
            return None;
        }
        return Some(Last::Nothing);
    }
    (frame == depth && (Reg::R0..=Reg::R5).contains(&reg)).then_some(Last::Written(index))
}

/// The registers that an instruction writes.
fn written(insn: &Insn<Offset>) -> Option<core::ops::RangeInclusive<Reg>> {
    let one = |reg| Some(reg..=reg);
    match *insn {
        Insn::Alu { dst, .. }
        | Insn::Neg { dst, .. }
        | Insn::Movsx { dst, .. }
        | Insn::Endian { dst, .. }
        | Insn::AddrSpaceCast { dst, .. }
        | Insn::LoadImm64 { dst, .. }
        | Insn::Load { dst, .. }
        | Insn::LoadAcquire { dst, .. } => one(dst),
        Insn::Atomic { op: AtomicOp::Cmpxchg, .. } => one(Reg::R0),
        Insn::Atomic { op, src, .. } if op.row().fetch => one(src),
        Insn::Call { .. } | Insn::LoadPacket { .. } => Some(Reg::R0..=Reg::R5),
        Insn::Atomic { .. }
        | Insn::Store { .. }
        | Insn::StoreRelease { .. }
        | Insn::Jump { .. }
        | Insn::Branch { .. }
        | Insn::MayGoto { .. }
        | Insn::Exit => None,
    }
}

/// The stack slot of an access, if it is one with a fixed offset.
fn stack_place(state: &State, mem: Mem) -> Option<Place> {
    let pointer = state.reg(mem.base);
    let Kind::Stack { frame } = pointer.kind else { return None };
    let off = pointer.fixed_offset()?.checked_add(i64::from(mem.offset))?;
    (-512..0).contains(&off).then(|| Place::Slot { frame: usize::from(frame), slot: slot_of(off) })
}

/// What a place holds; of a slot only what was spilled there whole.
fn value(state: &State, place: Place) -> Option<&Value> {
    match place {
        Place::Reg { frame, reg } => Some(state.frames.get(frame)?.value_of(reg.index())),
        Place::Slot { frame, slot } => {
            let slot = state.frames.get(frame)?.stack().get(slot)?;
            slot.is_spilled().then_some(&slot.value)
        }
    }
}

/// Whether the same is known, whatever other values that is related to.
fn same(a: Option<&Value>, b: Option<&Value>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => {
            a.kind == b.kind && a.or_null == b.or_null && a.off == b.off && a.scalar == b.scalar
                || a.is_scalar() && b.is_scalar() && a.scalar == b.scalar
        }
        (a, b) => a.is_none() && b.is_none(),
    }
}

fn same_number(a: &Value, b: &Value) -> bool {
    a.kind == b.kind && a.scalar == b.scalar
}

/// How much is open of a number.
fn width_of(value: &Value) -> u64 {
    let bounds = value.scalar.wide();
    bounds.umax - bounds.umin.min(bounds.umax)
}
