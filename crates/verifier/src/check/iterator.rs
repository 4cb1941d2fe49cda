//! Open-coded iterators: objects on the stack that the program steps by calls.
//!
//! An iterator occupies whole slots. Its first slot says which it is, whether it may give more
//! elements, and holds the reference that only `destroy` gives back. Each step is walked twice:
//! as giving an element, and as the end. (Linux 6.18, `process_iter_arg`,
//! `process_iter_next_call`.)

use crate::check::memory::{Place, Stored};
use crate::explore::Walk;
use crate::kernel::trust::Trust;
use crate::rejection::{Check, Rule, fault};
use crate::state::stack::{Byte, SLOT_BYTES, STACK_BYTES, Slot, slot_of};
use crate::state::value::{Kind, Value};
use crate::state::{Reference, State};
use skep_bpf::insn::Reg;
use skep_bpf::op::Size;
use skep_bpf::platform::kfunc::{IteratorRow, IteratorStep};

/// The first slot of an iterator, and its frame.
#[derive(Clone, Copy, Debug)]
pub(crate) struct IteratorPlace {
    pub(crate) frame: u8,
    pub(crate) slot: usize,
}

impl Walk<'_> {
    /// The iterator in r1, for a step of it. One that is begun is trusted so far.
    pub(crate) fn check_iterator(
        &mut self,
        row: &'static IteratorRow,
        step: IteratorStep,
        trust: Trust,
    ) -> Check<IteratorPlace> {
        let pointer = self.read(Reg::R1)?;
        let Kind::Stack { frame } = pointer.kind else {
            return fault(Rule::HelperArgument, "arg#0 expected pointer to an iterator on stack");
        };
        let Some(off) = pointer.fixed_offset() else {
            return fault(Rule::HelperArgument, "iter has to be at a constant offset");
        };
        let bytes = i64::from(row.slots) * SLOT_BYTES as i64;
        if !(-STACK_BYTES..=-bytes).contains(&off) || off % SLOT_BYTES as i64 != 0 {
            return fault(Rule::Stack, format!("cannot pass in iter at an offset={off}"));
        }
        let place = IteratorPlace { frame, slot: slot_of(off) };
        match step {
            IteratorStep::New => self.begin_iterator(row, place, trust)?,
            IteratorStep::Next => self.check_active(row, step, place)?,
            IteratorStep::Destroy => {
                self.check_active(row, step, place)?;
                self.end_iterator(row, place)?;
            }
        }
        Ok(place)
    }

    fn begin_iterator(
        &mut self,
        row: &'static IteratorRow,
        place: IteratorPlace,
        trust: Trust,
    ) -> Check {
        let stack = self.state.frame(place.frame).stack();
        let mut slots = slots_of(row, place);
        let is_used = |slot: usize| stack.get(slot).is_some_and(Slot::is_iterator);
        if slots.any(is_used) {
            return fault(
                Rule::HelperArgument,
                format!("expected uninitialized iter_{} as arg #0", row.name),
            );
        }
        for index in 0..i32::from(row.slots) {
            let off = index * SLOT_BYTES as i32;
            self.store(Place { base: Reg::R1, off, size: Size::Dw }, Stored::Unknown)?;
        }
        let reference = Reference { id: self.new_id(), insn: self.at };
        self.state.references.push(reference);
        let frame = self.state.frame_mut(place.frame);
        for (index, slot) in slots_of(row, place).enumerate() {
            let first = index == 0;
            let kind = Kind::Iterator { number: row.number, first, active: true, trust, turns: 0 };
            let ref_id = if first { reference.id } else { 0 };
            let value = Value { ref_id, ..Value::pointer(kind) };
            *frame.slot_mut(slot) = Slot { bytes: [Byte::Iterator; SLOT_BYTES], value };
        }
        Ok(())
    }

    /// An iterator that was begun and not ended.
    fn check_active(
        &mut self,
        row: &'static IteratorRow,
        step: IteratorStep,
        place: IteratorPlace,
    ) -> Check {
        let last = place.slot;
        self.liveness.read(place.frame, last + 1 - usize::from(row.slots), last);
        let stack = self.state.frame(place.frame).stack();
        let is_part = |(index, slot): (usize, usize)| {
            stack.get(slot).is_some_and(|slot| {
                slot.is_whole_iterator()
                    && matches!(slot.value.kind, Kind::Iterator { number, first, .. }
                        if number == row.number && first == (index == 0))
            })
        };
        if slots_of(row, place).enumerate().all(is_part) {
            if self.iterator_trust(place).has(Trust::UNTRUSTED) {
                return fault(
                    Rule::HelperNotAllowed,
                    format!("expected an RCU CS when using {}", step_name(row, step)),
                );
            }
            return Ok(());
        }
        fault(Rule::HelperArgument, format!("expected an initialized iter_{} as arg #0", row.name))
    }

    fn end_iterator(&mut self, row: &'static IteratorRow, place: IteratorPlace) -> Check {
        let slot = self.state.frame(place.frame).stack().get(place.slot);
        let id = slot.map_or(0, |slot| slot.value.ref_id);
        if !self.state.release(id) {
            return fault(Rule::Reference, "the iterator's reference was given back before");
        }
        let frame = self.state.frame_mut(place.frame);
        for slot in slots_of(row, place) {
            *frame.slot_mut(slot) = Slot::INVALID;
        }
        Ok(())
    }

    /// After `next`: the path on which there was an element waits, this one goes on at the end.
    pub(crate) fn fork_iterator(&mut self, place: IteratorPlace) -> Check {
        if let Some((true, turns)) = progress(&self.state, place) {
            let mut turn = self.state.clone();
            set_progress(&mut turn, place, true, turns + 1);
            if let Some(earlier) = self.earlier_turn() {
                self.widen(earlier, &mut turn);
            }
            // The element is part of the iterator, and gone with it.
            let slot = turn.frame(place.frame).stack().get(place.slot);
            let ref_id = slot.map_or(0, |slot| slot.value.ref_id);
            let element = turn.reg(Reg::R0);
            // An object of the kernel is not, for the kernel.
            let ref_id = if matches!(element.kind, Kind::Btf { .. }) { 0 } else { ref_id };
            turn.set(Reg::R0, Value { or_null: false, id: 0, ref_id, ..element });
            self.push(turn, self.at + 1, None)?;
            set_progress(&mut self.state, place, false, turns);
        }
        self.state.set(Reg::R0, Value::constant(0));
        Ok(())
    }

    /// What is known of how long the elements of an iterator live.
    pub(crate) fn iterator_trust(&self, place: IteratorPlace) -> Trust {
        match self.state.frame(place.frame).stack().get(place.slot).map(|slot| slot.value.kind) {
            Some(Kind::Iterator { trust, .. }) => trust,
            _ => Trust::UNTRUSTED,
        }
    }

    /// RCU protects no longer: iterators that it protected may be stepped no more.
    pub(crate) fn end_protection_of_iterators(&mut self) {
        let is_protected = |slot: &Slot| {
            slot.is_iterator()
                && matches!(slot.value.kind, Kind::Iterator { trust, .. } if trust.has(Trust::RCU))
        };
        for frame in &mut self.state.frames {
            for index in 0..frame.stack().len() {
                if !frame.stack().get(index).is_some_and(is_protected) {
                    continue;
                }
                if let Kind::Iterator { trust, .. } = &mut frame.slot_mut(index).value.kind {
                    *trust = trust.without(Trust::RCU).with(Trust::UNTRUSTED);
                }
            }
        }
    }

    /// Whether the call at this instruction steps an iterator that may give more elements.
    pub(crate) fn is_active_iterator(&self) -> bool {
        let pointer = self.state.reg(Reg::R1);
        let (Kind::Stack { frame }, Some(off)) = (pointer.kind, pointer.fixed_offset()) else {
            return false;
        };
        let on_stack = (-STACK_BYTES..0).contains(&off);
        on_stack
            && matches!(
                progress(&self.state, IteratorPlace { frame, slot: slot_of(off) }),
                Some((true, _))
            )
    }
}

/// The name of the function that makes a step.
fn step_name(row: &IteratorRow, step: IteratorStep) -> String {
    let step = match step {
        IteratorStep::New => "new",
        IteratorStep::Next => "next",
        IteratorStep::Destroy => "destroy",
    };
    format!("bpf_iter_{}_{step}", row.name)
}

/// The slots of an iterator, the one with the lowest address first.
fn slots_of(row: &IteratorRow, place: IteratorPlace) -> impl Iterator<Item = usize> {
    // Slots count downwards from the frame pointer.
    let slots = usize::from(row.slots);
    (0..slots).map(move |index| place.slot - index)
}

/// Whether an iterator may give more elements, and how many it gave.
fn progress(state: &State, place: IteratorPlace) -> Option<(bool, u32)> {
    let slot = state.frame(place.frame).stack().get(place.slot)?;
    match slot.value.kind {
        Kind::Iterator { active, turns, .. } if slot.is_iterator() => Some((active, turns)),
        _ => None,
    }
}

fn set_progress(state: &mut State, place: IteratorPlace, is_active: bool, count: u32) {
    let frame = state.frame_mut(place.frame);
    if let Kind::Iterator { active, turns, .. } = &mut frame.slot_mut(place.slot).value.kind {
        *active = is_active;
        *turns = count;
    }
}

/// Whether an iterator that may give more elements gave another number in the two states.
pub(crate) fn turns_differ(old: &State, current: &State) -> bool {
    let pairs = old.frames.iter().zip(&current.frames);
    let mut slots = pairs.flat_map(|(a, b)| a.stack().iter().zip(b.stack().iter()));
    slots.any(|(a, b)| match (a.value.kind, b.value.kind) {
        (
            Kind::Iterator { active: true, turns: old, .. },
            Kind::Iterator { turns: current, .. },
        ) => a.is_iterator() && old != current,
        _ => false,
    })
}
