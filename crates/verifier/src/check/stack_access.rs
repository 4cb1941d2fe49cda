//! Loads from and stores to the stack, and its use by helpers.
//!
//! Registers that are stored whole, and numbers of any size at the start of a slot, are kept and
//! come back when they are loaded. Bytes that were never written may be read: the loader is
//! privileged.

use crate::check::memory::{Place, Stored};
use crate::explore::Walk;
use crate::rejection::{Check, Rule, fault};
use crate::state::stack::{Byte, SLOT_BYTES, STACK_BYTES, Slot, byte_of, slot_of};
use crate::state::value::{Kind, MAX_VAR_OFF, Value};
use skep_bpf::insn::{Extend, Reg};
use skep_bpf::platform::Access;

/// The bytes of the stack that an access may touch: from `first` up to, not including, `end`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StackRange {
    pub(crate) frame: u8,
    pub(crate) first: i64,
    pub(crate) end: i64,
    pub(crate) fixed: bool,
}

impl Walk<'_> {
    /// The bytes of an access at `off` from the pointer, inside the stack.
    pub(crate) fn stack_range(
        &mut self,
        reg: Reg,
        off: i64,
        bytes: i64,
        access: Access,
    ) -> Check<StackRange> {
        let pointer = self.state.as_written(reg);
        let number = reg.index();
        let Kind::Stack { frame } = pointer.kind else {
            return fault(Rule::Stack, format!("R{number} does not point to the stack"));
        };
        let what = match access {
            Access::Read => "read from",
            Access::Write => "write to",
        };
        let tnum = pointer.scalar.tnum();
        let bounds = pointer.scalar.wide();
        let fixed = tnum.as_constant().map(|x| x as i64);
        let (first, last) = match fixed {
            Some(x) => (x.wrapping_add(off), x.wrapping_add(off)),
            None => {
                if bounds.smax >= MAX_VAR_OFF || bounds.smin <= -MAX_VAR_OFF {
                    return fault(
                        Rule::Unbounded,
                        format!("invalid unbounded variable-offset {what} stack R{number}"),
                    );
                }
                (bounds.smin + off, bounds.smax + off)
            }
        };
        let end = last.saturating_add(bytes);
        if !(-STACK_BYTES..=-1).contains(&first) || end > 0 || bytes < 0 {
            let message = match fixed {
                Some(_) => format!("invalid {what} stack R{number} off={off} size={bytes}"),
                None => format!(
                    "invalid variable-offset {what} stack R{number} var_off={tnum} off={off} size={bytes}"
                ),
            };
            return fault(Rule::Stack, message);
        }
        self.grow_stack(frame, first);
        Ok(StackRange { frame, first, end, fixed: fixed.is_some() })
    }

    /// Makes the stack of a frame reach down to an offset.
    fn grow_stack(&mut self, frame: u8, lowest: i64) {
        let slots = slot_of(lowest) + 1;
        self.state.frame_mut(frame).grow_stack(slots);
        let function = self.state.frame(frame).function;
        // At most 64 slots.
        let bytes = (slots * SLOT_BYTES) as u32;
        self.stack_bytes[function] = self.stack_bytes[function].max(bytes);
    }

    /// A load from the stack.
    pub(crate) fn load_stack(
        &mut self,
        place: Place,
        extend: Extend,
        discard: bool,
    ) -> Check<Value> {
        let pointer = self.state.as_written(place.base);
        let off = i64::from(pointer.off) + i64::from(place.off);
        let range = self.stack_range(place.base, off, place.bytes(), Access::Read)?;
        if discard && !range.fixed {
            return fault(
                Rule::Stack,
                format!(
                    "variable offset stack pointer cannot be passed into helper function; var_off={} off={off} size={}",
                    self.state.as_written(place.base).scalar.tnum(),
                    place.bytes()
                ),
            );
        }
        self.check_plain((!range.fixed).then_some(place.base), range)?;
        self.liveness.read(range.frame, slot_of(range.end - 1), slot_of(range.first));
        let mut value = if range.fixed {
            self.fill(range, discard)?
        } else {
            self.check_initialised(place.base, off, place.bytes(), false, Access::Read)?;
            self.contents(range)
        };
        if value.is_scalar() {
            // Linux 6.18 takes the number for a copy of what was stored, although it is another one
            // where its sign is set: what is learned of one would be believed of the other.
            let sign = 1_u64 << (8 * place.bytes() - 1);
            if extend == Extend::Sign && value.scalar.wide().umax >= sign {
                value.clear_id();
            }
            value.scalar = value.scalar.extended(place.size, extend);
        }
        Ok(value)
    }

    /// Nothing in a range is part of an object that only calls may touch. The kernel names the
    /// register only where the range is not fixed, and for helpers.
    fn check_plain(&self, reg: Option<Reg>, range: StackRange) -> Check {
        let stack = self.state.frame(range.frame).stack();
        let has_objects = |slot| stack.get(slot).is_some_and(Slot::has_object_bytes);
        if !(slot_of(range.end - 1)..=slot_of(range.first)).any(has_objects) {
            return Ok(());
        }
        let is_object = |off: &i64| {
            stack.get(slot_of(*off)).is_some_and(|slot| {
                matches!(
                    slot.bytes[byte_of(*off)],
                    Byte::Iterator | Byte::Dynptr | Byte::Interrupts
                )
            })
        };
        match (range.first..range.end).find(is_object) {
            None => Ok(()),
            Some(off) => fault(
                Rule::Stack,
                format!(
                    "invalid read from stack {}off {}+{} size {}",
                    reg.map_or(String::new(), |reg| format!("R{} ", reg.index())),
                    range.first,
                    off - range.first,
                    range.end - range.first
                ),
            ),
        }
    }

    /// A load at a fixed offset: a spilled register, or bytes.
    fn fill(&mut self, range: StackRange, discard: bool) -> Check<Value> {
        let size = (range.end - range.first) as usize;
        let slot = self.state.frame(range.frame).slot(slot_of(range.first));
        let Some(slot) = slot.filter(Slot::is_spilled) else {
            return Ok(self.contents(range));
        };
        self.note_history();
        let spilled = slot.spill_size();
        if size == SLOT_BYTES && spilled == SLOT_BYTES {
            return Ok(slot.value);
        }
        if !slot.value.is_scalar() {
            return fault(Rule::Stack, "invalid size of register fill");
        }
        if discard {
            return Ok(Value::UNKNOWN);
        }
        if size <= spilled && byte_of(range.first) == 0 {
            let mut value = slot.value;
            // A part of a number is no copy of it.
            if width_of(&value) > size * 8 {
                value.clear_id();
            }
            return Ok(value);
        }
        let start = byte_of(range.first);
        let bytes = &slot.bytes[start..start + size];
        if bytes.iter().all(|byte| *byte == Byte::Spill) && slot.value.is_zero() {
            return Ok(Value { node: slot.value.node, ..Value::constant(0) });
        }
        if bytes.iter().all(|byte| *byte == Byte::Zero) {
            return Ok(Value::constant(0));
        }
        Ok(Value::UNKNOWN)
    }

    /// What bytes are together: zero, or a number of which nothing is known.
    fn contents(&self, range: StackRange) -> Value {
        let stack = self.state.frame(range.frame).stack();
        let is_zero = |off: i64| {
            stack.get(slot_of(off)).is_some_and(|slot| slot.bytes[byte_of(off)] == Byte::Zero)
        };
        if (range.first..range.end).all(is_zero) { Value::constant(0) } else { Value::UNKNOWN }
    }

    /// A store to the stack.
    pub(crate) fn store_stack(&mut self, place: Place, stored: Stored) -> Check {
        let off = i64::from(self.state.as_written(place.base).off) + i64::from(place.off);
        let range = self.stack_range(place.base, off, place.bytes(), Access::Write)?;
        if range.fixed {
            self.store_fixed(range, stored)
        } else {
            self.store_variable(range, stored)
        }
    }

    fn store_fixed(&mut self, range: StackRange, stored: Stored) -> Check {
        let size = (range.end - range.first) as usize;
        let place = slot_of(range.first);
        self.overwrite_dynptr(range.frame, place)?;
        if size == SLOT_BYTES {
            self.liveness.write(range.frame, place);
        }
        let at_start = byte_of(range.first) == 0;
        let spilled = match stored {
            Stored::Reg(reg) => {
                let value = self.state.reg(reg);
                if value.is_scalar() && at_start {
                    Some(self.spilled_number(reg, size))
                } else if value.kind.is_pointer() && value.kind != Kind::TracepointBuffer {
                    self.check_pointer_spill(range, size, &value)?;
                    Some(value)
                } else {
                    None
                }
            }
            Stored::Imm(imm) if at_start => Some(Value::constant(i64::from(imm) as u64)),
            Stored::Imm(_) | Stored::Unknown => None,
        };
        if let Some(value) = spilled {
            self.note_history();
            self.state.frame_mut(range.frame).slot_mut(place).spill(value, size);
            return Ok(());
        }
        let zero = self.is_stored_zero(stored);
        let byte = if zero { Byte::Zero } else { Byte::Misc };
        let slot = self.state.frame_mut(range.frame).slot_mut(place);
        slot.scrub();
        let start = byte_of(range.first);
        slot.bytes[start..start + size].fill(byte);
        if let (true, Stored::Reg(reg)) = (zero, stored) {
            let value = self.state.reg(reg);
            self.mark_precise(&value);
        }
        Ok(())
    }

    /// The number that a register spills as, in its low `size` bytes.
    fn spilled_number(&mut self, reg: Reg, size: usize) -> Value {
        let value = self.state.reg(reg);
        if width_of(&value) <= size * 8 {
            return self.share_id(reg);
        }
        // A part of a number is no copy of it.
        Value { id: 0, ..value }
    }

    fn check_pointer_spill(&self, range: StackRange, size: usize, value: &Value) -> Check {
        if size != SLOT_BYTES {
            return fault(Rule::Stack, "invalid size of register spill");
        }
        let own = usize::from(range.frame) == self.state.depth();
        if !own && matches!(value.kind, Kind::Stack { .. }) {
            return fault(
                Rule::Stack,
                "cannot spill pointers to stack into stack frame of the caller",
            );
        }
        Ok(())
    }

    fn is_stored_zero(&self, stored: Stored) -> bool {
        match stored {
            Stored::Reg(reg) => self.state.as_written(reg).is_zero(),
            Stored::Imm(imm) => imm == 0,
            Stored::Unknown => false,
        }
    }

    /// A store somewhere in a range: whatever was there may be overwritten.
    fn store_variable(&mut self, range: StackRange, stored: Stored) -> Check {
        let zero = self.is_stored_zero(stored);
        let mut zero_used = false;
        for place in slot_of(range.end - 1)..=slot_of(range.first) {
            self.overwrite_dynptr(range.frame, place)?;
        }
        let frame = self.state.frame_mut(range.frame);
        for off in range.first..range.end {
            let slot = frame.slot_mut(slot_of(off));
            let index = byte_of(off);
            if zero
                && slot.bytes[index] == Byte::Spill
                && slot.is_spilled_scalar()
                && slot.value.is_zero()
            {
                zero_used = true;
                continue;
            }
            slot.scrub();
            if zero && slot.bytes[index] == Byte::Zero {
                zero_used = true;
            } else {
                slot.bytes[index] = Byte::Misc;
            }
        }
        if let (true, Stored::Reg(reg)) = (zero_used, stored) {
            let value = self.state.reg(reg);
            self.mark_precise(&value);
        }
        Ok(())
    }

    /// Memory on the stack that a helper fills: it holds something from then on.
    pub(crate) fn fill_stack(&mut self, reg: Reg, off: i64, bytes: i64) -> Check {
        self.check_stack_memory(reg, off, bytes, true, Access::Write, true)
    }

    /// Memory on the stack that is read, by a load or a helper. What a helper may write to holds
    /// something from then on.
    pub(crate) fn check_initialised(
        &mut self,
        reg: Reg,
        off: i64,
        bytes: i64,
        zero_allowed: bool,
        access: Access,
    ) -> Check {
        self.check_stack_memory(reg, off, bytes, zero_allowed, access, false)
    }

    fn check_stack_memory(
        &mut self,
        reg: Reg,
        off: i64,
        bytes: i64,
        zero_allowed: bool,
        access: Access,
        fills: bool,
    ) -> Check {
        if bytes == 0 && !zero_allowed {
            return fault(Rule::HelperArgument, "invalid zero-sized read");
        }
        let range = self.stack_range(reg, off, bytes, access)?;
        self.check_plain(Some(reg), range)?;
        if !fills && range.first < range.end {
            self.liveness.read(range.frame, slot_of(range.end - 1), slot_of(range.first));
        }
        if access == Access::Read {
            return Ok(());
        }
        let frame = self.state.frame_mut(range.frame);
        for off in range.first..range.end {
            let slot = frame.slot_mut(slot_of(off));
            if slot.is_spilled() {
                slot.scrub_bytes();
            }
            slot.bytes[byte_of(off)] = Byte::Misc;
        }
        Ok(())
    }
}

/// The number of bits that a number needs.
fn width_of(value: &Value) -> usize {
    (64 - value.scalar.wide().umax.leading_zeros()) as usize
}
