//! Sections in which interrupts are forbidden: `bpf_local_irq_save` and `bpf_local_irq_restore`.
//!
//! What was saved occupies a slot of the stack that only these calls may touch, and is restored
//! once, the latest first. (Linux 6.18, `process_irq_flag`.)

use crate::check::memory::{Place, Stored};
use crate::explore::Walk;
use crate::rejection::{Check, Rule, fault};
use crate::state::Reference;
use crate::state::stack::{Byte, SLOT_BYTES, STACK_BYTES, Slot, slot_of};
use crate::state::value::{Kind, Value};
use skep_bpf::insn::Reg;
use skep_bpf::op::Size;

impl Walk<'_> {
    /// Forbids interrupts; r1 says where it is saved whether they were allowed.
    pub(crate) fn save_interrupts(&mut self) -> Check {
        let (frame, slot) = self.interrupts_slot()?;
        let stack = self.state.frame(frame).stack();
        if slot.and_then(|slot| stack.get(slot)).is_some_and(Slot::has_interrupts) {
            return fault(Rule::HelperArgument, "expected uninitialized irq flag as arg#0");
        }
        self.store(Place { base: Reg::R1, off: 0, size: Size::Dw }, Stored::Unknown)?;
        let Some(slot) = slot else {
            return fault(Rule::Stack, "irq flags lie on the stack");
        };
        let saved = Reference { id: self.new_id(), insn: self.at };
        self.state.interrupts.push(saved);
        let value = Value { ref_id: saved.id, ..Value::pointer(Kind::Interrupts) };
        *self.state.frame_mut(frame).slot_mut(slot) =
            Slot { bytes: [Byte::Interrupts; SLOT_BYTES], value };
        Ok(())
    }

    /// Restores what r1 points to.
    pub(crate) fn restore_interrupts(&mut self) -> Check {
        let (frame, slot) = self.interrupts_slot()?;
        if let Some(slot) = slot {
            self.liveness.read(frame, slot, slot);
        }
        let stack = self.state.frame(frame).stack();
        let saved = slot.and_then(|slot| Some((slot, *stack.get(slot)?)));
        let is_whole = |saved: &(usize, Slot)| saved.1.bytes == [Byte::Interrupts; SLOT_BYTES];
        let Some((slot, saved)) = saved.filter(is_whole) else {
            return fault(Rule::HelperArgument, "expected an initialized irq flag as arg#0");
        };
        match self.state.interrupts.last() {
            Some(latest) if latest.id == saved.value.ref_id => {}
            Some(latest) => {
                return fault(
                    Rule::Lock,
                    format!(
                        "cannot restore irq state out of order, expected id={} acquired at insn_idx={}",
                        latest.id, latest.insn
                    ),
                );
            }
            None => return fault(Rule::Lock, "cannot restore irq state twice"),
        }
        self.state.interrupts.pop();
        *self.state.frame_mut(frame).slot_mut(slot) = Slot::INVALID;
        Ok(())
    }

    /// The frame and slot that r1 points to; no slot if that is not on the stack.
    fn interrupts_slot(&self) -> Check<(u8, Option<usize>)> {
        let pointer = self.read(Reg::R1)?;
        let Kind::Stack { frame } = pointer.kind else {
            return fault(Rule::HelperArgument, "arg#0 doesn't point to an irq flag on stack");
        };
        let Some(off) = pointer.fixed_offset() else {
            return fault(Rule::HelperArgument, "irq_flag has to be at a constant offset");
        };
        let bytes = SLOT_BYTES as i64;
        if off % bytes != 0 {
            return fault(Rule::Stack, format!("cannot pass in irq_flag at an offset={off}"));
        }
        let on_stack = (-STACK_BYTES..=-bytes).contains(&off);
        Ok((frame, on_stack.then(|| slot_of(off))))
    }
}
