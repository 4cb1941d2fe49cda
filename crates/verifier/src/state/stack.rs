//! The stack of one frame: slots of eight bytes, and what each byte holds.
//!
//! Offsets are negative, from the frame pointer; slot 0 holds -8 to -1. Within a slot, byte 0 has
//! the lowest address. A spilled register occupies the bytes from 0 on; `value` is meaningful
//! while byte 0 is [`Byte::Spill`].

use super::value::{Kind, Value};
use std::rc::Rc;

/// The size of the stack of one function, in bytes.
pub(crate) const STACK_BYTES: i64 = 512;

/// The size of a slot in bytes.
pub(crate) const SLOT_BYTES: usize = 8;

/// What a byte of the stack holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Byte {
    /// Never written.
    Invalid,
    /// Part of a spilled register.
    Spill,
    /// Something.
    Misc,
    /// Zero.
    Zero,
    /// Part of an iterator.
    Iterator,
    /// Part of a dynamic pointer; all of the slot is, then.
    Dynptr,
}

/// Eight bytes of the stack.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Slot {
    pub(crate) bytes: [Byte; SLOT_BYTES],
    pub(crate) value: Value,
}

impl Slot {
    /// Never written.
    pub(crate) const INVALID: Slot =
        Slot { bytes: [Byte::Invalid; SLOT_BYTES], value: Value::INVALID };

    /// Whether it holds a spilled register or part of one.
    pub(crate) fn is_spilled(&self) -> bool {
        self.bytes[0] == Byte::Spill
    }

    /// Whether it begins with part of an iterator.
    pub(crate) fn is_iterator(&self) -> bool {
        self.bytes[0] == Byte::Iterator
    }

    /// Whether all of it is part of an iterator.
    pub(crate) fn is_whole_iterator(&self) -> bool {
        self.bytes.iter().all(|byte| *byte == Byte::Iterator)
    }

    /// Whether it is part of a dynamic pointer.
    pub(crate) fn is_dynptr(&self) -> bool {
        self.bytes[0] == Byte::Dynptr
    }

    /// Whether it holds a spilled number.
    pub(crate) fn is_spilled_scalar(&self) -> bool {
        self.is_spilled() && self.value.kind == Kind::Scalar
    }

    /// Whether it holds a spilled number of eight bytes.
    pub(crate) fn is_spilled_scalar64(&self) -> bool {
        self.is_spilled_scalar() && self.bytes[SLOT_BYTES - 1] == Byte::Spill
    }

    /// Whether it holds nothing that matters: something, or nothing at all.
    #[inline]
    pub(crate) fn is_all_misc(&self) -> bool {
        // Without a branch for each byte: this is asked more often than anything else.
        self.bytes.iter().fold(true, |all, byte| all & matches!(byte, Byte::Misc | Byte::Invalid))
    }

    /// Whether its value means something: a spilled register, or part of an object.
    #[inline]
    pub(crate) fn has_value(&self) -> bool {
        !matches!(self.bytes[0], Byte::Invalid | Byte::Misc | Byte::Zero)
    }

    /// How many bytes of a register are spilled here.
    pub(crate) fn spill_size(&self) -> usize {
        self.bytes.iter().take_while(|byte| **byte == Byte::Spill).count()
    }

    /// Spills the low `size` bytes of a register. Other bytes that held part of a spilled register
    /// hold something now; the rest of the slot keeps what is known to be zero.
    pub(crate) fn spill(&mut self, value: Value, size: usize) {
        self.value = value;
        for (index, byte) in self.bytes.iter_mut().enumerate() {
            if index < size {
                *byte = Byte::Spill;
            } else if !matches!(byte, Byte::Zero | Byte::Invalid) {
                *byte = Byte::Misc;
            }
        }
    }

    /// If it held a spilled register, its bytes hold something from now on.
    pub(crate) fn scrub(&mut self) {
        if !self.is_spilled() {
            return;
        }
        self.scrub_bytes();
    }

    /// All bytes that were written hold something from now on.
    pub(crate) fn scrub_bytes(&mut self) {
        for byte in &mut self.bytes {
            if *byte != Byte::Invalid {
                *byte = Byte::Misc;
            }
        }
        self.value = Value::INVALID;
    }
}

/// So many slots are shared or copied together.
const CHUNK: usize = 4;

type Chunk = [Slot; CHUNK];

/// The slots of a stack, in chunks that are shared until written to.
#[derive(Clone, Default, PartialEq, Debug)]
pub(crate) struct Stack {
    /// Those of the last chunk beyond the length were never written.
    chunks: Vec<Rc<Chunk>>,
    len: usize,
}

impl Stack {
    /// The number of slots.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// A slot, if the stack reaches that far.
    #[inline]
    pub(crate) fn get(&self, slot: usize) -> Option<&Slot> {
        if slot < self.len { Some(&self.chunks[slot / CHUNK][slot % CHUNK]) } else { None }
    }

    /// A slot, which must be there.
    #[inline]
    pub(crate) fn get_mut(&mut self, slot: usize) -> &mut Slot {
        assert!(slot < self.len, "the stack was made to reach this slot");
        &mut Rc::make_mut(&mut self.chunks[slot / CHUNK])[slot % CHUNK]
    }

    /// Whether something holds of all slots of this stack, each given with its number, that of
    /// another one, if that reaches so far, and whether the two are shared.
    #[inline]
    pub(crate) fn all_beside(
        &self,
        other: &Stack,
        mut holds: impl FnMut(usize, &Slot, Option<&Slot>, bool) -> bool,
    ) -> bool {
        // Loops, because chained iterators made this slow: it is done for every comparison.
        for (chunk, own) in self.chunks.iter().enumerate() {
            let theirs = other.chunks.get(chunk);
            let shared = theirs.is_some_and(|theirs| Rc::ptr_eq(own, theirs));
            for (index, slot) in own.iter().enumerate() {
                let number = chunk * CHUNK + index;
                if number >= self.len {
                    break;
                }
                let beside = theirs.filter(|_| number < other.len).map(|theirs| &theirs[index]);
                if !holds(number, slot, beside, shared) {
                    return false;
                }
            }
        }
        true
    }

    /// All slots.
    #[inline]
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Slot> {
        self.chunks.iter().flat_map(|chunk| chunk.iter()).take(self.len)
    }

    /// Adds slots that were never written, up to a number.
    pub(crate) fn grow(&mut self, len: usize) {
        if len > self.len {
            self.len = len;
            let chunks = len.div_ceil(CHUNK);
            self.chunks.resize_with(chunks, || Rc::new([Slot::INVALID; CHUNK]));
        }
    }
}

/// The slot that a byte of the stack is in.
pub(crate) fn slot_of(off: i64) -> usize {
    // Offsets on the stack are -512 to -1.
    ((-off - 1) / SLOT_BYTES as i64) as usize
}

/// The place of a byte of the stack in its slot.
pub(crate) fn byte_of(off: i64) -> usize {
    off.rem_euclid(SLOT_BYTES as i64) as usize
}

#[cfg(test)]
mod tests {
    use super::{Byte, Slot, byte_of, slot_of};
    use crate::state::value::Value;

    #[test]
    fn offsets_find_their_slot_and_byte() {
        assert_eq!((slot_of(-8), byte_of(-8)), (0, 0));
        assert_eq!((slot_of(-1), byte_of(-1)), (0, 7));
        assert_eq!((slot_of(-9), byte_of(-9)), (1, 7));
        assert_eq!((slot_of(-512), byte_of(-512)), (63, 0));
    }

    #[test]
    fn a_narrow_spill_keeps_zeros_beside_it_and_spoils_a_spilled_register() {
        let mut slot = Slot::INVALID;
        slot.bytes = [Byte::Zero; 8];
        slot.spill(Value::constant(5), 4);
        assert_eq!(slot.spill_size(), 4);
        assert_eq!(slot.bytes[4..], [Byte::Zero; 4]);
        slot.spill(Value::UNKNOWN, 8);
        slot.spill(Value::constant(5), 4);
        assert_eq!(slot.bytes[4..], [Byte::Misc; 4]);
    }
}
