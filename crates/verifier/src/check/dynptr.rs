//! Dynamic pointers on the stack: two slots that only calls may touch.
//!
//! The first slot, that with the lower address, says what the pointer points to; its id names it
//! in the memory that it gave. One to a record of a ring buffer holds a reference, which its
//! copies share. Writing over any byte of another one ends it, and the memory it gave with it.
//! (Linux 6.18, `process_dynptr_func`.)

use crate::check::helper_arg::Arguments;
use crate::check::memory::{Place, Stored};
use crate::check::stack_access::StackRange;
use crate::explore::Walk;
use crate::rejection::{Check, Rule, detailed, fault};
use crate::state::Reference;
use crate::state::stack::{Byte, SLOT_BYTES, STACK_BYTES, Slot, byte_of, slot_of};
use crate::state::value::{Kind, Slice, Value};
use skep_bpf::insn::Reg;
use skep_bpf::op::Size;
use skep_bpf::platform::dynptr::DynptrClass;
use skep_bpf::platform::helper::DynptrUse;

/// The first slot of a dynamic pointer, and its frame. The second one is the slot before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DynptrPlace {
    pub(crate) frame: u8,
    pub(crate) slot: usize,
}

/// What is known of a dynamic pointer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DynptrFacts {
    pub(crate) class: DynptrClass,
    pub(crate) id: u32,
    pub(crate) ref_id: u32,
}

impl Walk<'_> {
    /// A dynamic pointer that a helper takes.
    pub(crate) fn dynptr_argument(
        &mut self,
        reg: Reg,
        uses: DynptrUse,
        arguments: &mut Arguments,
    ) -> Check {
        match uses {
            DynptrUse::NewLocal => self.new_dynptr(reg, DynptrClass::Local, None),
            DynptrUse::NewRingbuf => self.new_dynptr(reg, DynptrClass::Ringbuf, None),
            DynptrUse::Existing => {
                arguments.dynptr = Some(self.existing_dynptr(reg)?);
                Ok(())
            }
            DynptrUse::ReleaseRingbuf => {
                let place = self.released_dynptr(reg)?;
                arguments.released_dynptr = Some(place);
                Ok(())
            }
        }
    }

    fn released_dynptr(&mut self, reg: Reg) -> Check<DynptrPlace> {
        let value = self.state.reg(reg);
        if value.kind == Kind::ConstDynptr {
            return fault(Rule::Dynptr, "cannot release unowned const bpf_dynptr");
        }
        let place = dynptr_place(&value).ok().flatten();
        let stack = |place: &DynptrPlace| self.state.frame(place.frame).stack().get(place.slot);
        let held = |place: &DynptrPlace| stack(place).is_some_and(|slot| slot.value.ref_id != 0);
        let Some(place) = place.filter(held) else {
            return fault(
                Rule::Reference,
                format!("arg {} is an unacquired reference", reg.index()),
            );
        };
        let facts = self.existing_dynptr(reg)?;
        if facts.class != DynptrClass::Ringbuf {
            return fault(
                Rule::Dynptr,
                format!("Expected a dynptr of type ringbuf as arg #{}", reg.index() - 1),
            );
        }
        Ok(place)
    }

    /// A dynamic pointer that was made before, which the call reads.
    pub(crate) fn existing_dynptr(&mut self, reg: Reg) -> Check<DynptrFacts> {
        let value = self.state.reg(reg);
        if value.kind == Kind::ConstDynptr {
            // What callbacks and global functions are given counts as memory of the program.
            let class = DynptrClass::Local;
            return Ok(DynptrFacts { class, id: value.id, ref_id: value.ref_id });
        }
        let number = reg.index() - 1;
        if !matches!(value.kind, Kind::Stack { .. }) {
            return fault(
                Rule::Dynptr,
                format!("arg#{number} expected pointer to stack or const struct bpf_dynptr"),
            );
        }
        let sentence = || format!("Expected an initialized dynptr as arg #{number}");
        let place = match dynptr_place(&value) {
            Ok(place) => place,
            Err(detail) => return detailed(Rule::Dynptr, [detail], sentence()),
        };
        let found = place.and_then(|place| Some((place, self.dynptr_at(place)?)));
        let Some((place, facts)) = found else { return fault(Rule::Dynptr, sentence()) };
        self.liveness.read(place.frame, place.slot - 1, place.slot);
        Ok(facts)
    }

    /// The dynamic pointer whose first slot this is.
    fn dynptr_at(&self, place: DynptrPlace) -> Option<DynptrFacts> {
        let stack = self.state.frame(place.frame).stack();
        let (first, second) = (stack.get(place.slot)?, stack.get(place.slot.checked_sub(1)?)?);
        let whole = |slot: &Slot| slot.bytes.iter().all(|byte| *byte == Byte::Dynptr);
        match first.value.kind {
            Kind::Dynptr { class, first: true } if whole(first) && whole(second) => {
                Some(DynptrFacts { class, id: first.value.id, ref_id: first.value.ref_id })
            }
            _ => None,
        }
    }

    /// Makes a dynamic pointer where a register points to. A copy of a counted one shares the
    /// reference `shared`.
    pub(crate) fn new_dynptr(
        &mut self,
        reg: Reg,
        class: DynptrClass,
        shared: Option<u32>,
    ) -> Check {
        let value = self.state.reg(reg);
        let sentence = "Dynptr has to be an uninitialized dynptr";
        let Kind::Stack { frame } = value.kind else {
            if value.kind == Kind::ConstDynptr {
                return fault(Rule::Dynptr, sentence);
            }
            return fault(
                Rule::Dynptr,
                format!(
                    "arg#{} expected pointer to stack or const struct bpf_dynptr",
                    reg.index() - 1
                ),
            );
        };
        let place = match dynptr_place(&value) {
            Ok(place) => place,
            Err(detail) => return detailed(Rule::Dynptr, [detail], sentence),
        };
        for off in [0, SLOT_BYTES as i32] {
            self.store(Place { base: reg, off, size: Size::Dw }, Stored::Unknown)?;
        }
        let Some(place) = place else { return fault(Rule::Dynptr, sentence) };
        let id = self.new_id();
        let ref_id = match shared {
            _ if !class.is_counted() => 0,
            Some(ref_id) => ref_id,
            None => {
                let reference = Reference { id: self.new_id(), insn: self.at };
                self.state.references.push(reference);
                reference.id
            }
        };
        let stack = self.state.frame_mut(frame);
        for (slot, first) in [(place.slot, true), (place.slot - 1, false)] {
            let value = Value { id, ref_id, ..Value::pointer(Kind::Dynptr { class, first }) };
            *stack.slot_mut(slot) = Slot { bytes: [Byte::Dynptr; SLOT_BYTES], value };
        }
        Ok(())
    }

    /// Gives back the reference of a dynamic pointer: it ends, with its copies and the memory they
    /// gave.
    pub(crate) fn release_dynptr(&mut self, place: DynptrPlace) {
        let slot = self.state.frame(place.frame).stack().get(place.slot);
        let ref_id = slot.map_or(0, |slot| slot.value.ref_id);
        self.state.release(ref_id);
        for frame in 0..self.state.frames.len() {
            // Frames are at most eight.
            let frame = frame as u8;
            let is_copy = |slot: &Slot| slot.is_dynptr() && slot.value.ref_id == ref_id;
            for slot in 0..self.state.frame(frame).stack().len() {
                if self.state.frame(frame).stack().get(slot).is_some_and(is_copy) {
                    self.liveness.write(frame, slot);
                    *self.state.frame_mut(frame).slot_mut(slot) = Slot::INVALID;
                }
            }
        }
    }

    /// Before a store to a slot: a dynamic pointer there ends, unless it holds a reference.
    pub(crate) fn overwrite_dynptr(&mut self, frame: u8, slot: usize) -> Check {
        let stack = self.state.frame(frame).stack();
        let Some(written) = stack.get(slot).filter(|slot| slot.is_dynptr()) else {
            return Ok(());
        };
        let Kind::Dynptr { class, first } = written.value.kind else { return Ok(()) };
        if class.is_counted() {
            return fault(Rule::Dynptr, "cannot overwrite referenced dynptr");
        }
        let id = written.value.id;
        let other = if first { slot - 1 } else { slot + 1 };
        for slot in [slot, other] {
            self.liveness.write(frame, slot);
            *self.state.frame_mut(frame).slot_mut(slot) = Slot::INVALID;
        }
        let gave = |value: &Value| matches!(value.kind, Kind::Slice(Slice { dynptr, class: None, .. }) if dynptr == id);
        self.state.update(gave, |value| *value = Value::UNKNOWN);
        Ok(())
    }

    /// A helper does not fill stack that holds a dynamic pointer.
    pub(crate) fn check_no_dynptr(&self, range: StackRange) -> Check {
        let stack = self.state.frame(range.frame).stack();
        let is_dynptr = |off: &i64| {
            stack.get(slot_of(*off)).is_some_and(|slot| slot.bytes[byte_of(*off)] == Byte::Dynptr)
        };
        match (range.first..range.end).find(is_dynptr) {
            None => Ok(()),
            Some(off) => {
                fault(Rule::Dynptr, format!("potential write to dynptr at off={off} disallowed"))
            }
        }
    }
}

/// Where the dynamic pointer lies that a pointer to the stack points to; `None` below the stack.
/// The error is the kernel's sentence for a place where none can be.
fn dynptr_place(value: &Value) -> Result<Option<DynptrPlace>, String> {
    let Kind::Stack { frame } = value.kind else { return Ok(None) };
    let Some(off) = value.fixed_offset() else {
        return Err("dynptr has to be at a constant offset".to_owned());
    };
    let bytes = 2 * SLOT_BYTES as i64;
    if off % SLOT_BYTES as i64 != 0 || off > -bytes {
        return Err(format!("cannot pass in dynptr at an offset={off}"));
    }
    if off < -STACK_BYTES {
        return Ok(None);
    }
    Ok(Some(DynptrPlace { frame, slot: slot_of(off) }))
}
