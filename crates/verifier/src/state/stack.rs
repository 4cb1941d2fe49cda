//! The stack of one frame: slots of eight bytes, and what each byte holds.
//!
//! Offsets are negative, from the frame pointer; slot 0 holds -8 to -1. Within a slot, byte 0 has
//! the lowest address. A spilled register occupies the bytes from 0 on; `value` is meaningful
//! while byte 0 is [`Byte::Spill`].

use super::value::Value;
use std::rc::Rc;

/// The size of the stack of one function, in bytes.
pub(crate) const STACK_BYTES: i64 = 512;

/// The size of a slot in bytes.
pub(crate) const SLOT_BYTES: usize = 8;

/// What a byte of the stack holds. The order is one that words of bytes can be asked about: of the
/// first two nothing is known, the last two are what only calls may touch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Byte {
    /// Never written.
    Invalid,
    /// Something.
    Misc,
    /// Part of a spilled register.
    Spill,
    /// Zero.
    Zero,
    /// Part of an iterator.
    Iterator,
    /// Part of a dynamic pointer; all of the slot is, then.
    Dynptr,
    /// Part of what `bpf_local_irq_save` saved.
    Interrupts,
}

/// A word of bytes that are [`Byte::Misc`].
const UNKNOWN_BYTES: u64 = u64::from_le_bytes([Byte::Misc as u8; SLOT_BYTES]);

/// The bit that of all bytes [`Byte::Iterator`] and [`Byte::Dynptr`] have, in each byte of a word.
const OBJECT_BYTES: u64 =
    u64::from_le_bytes([Byte::Iterator as u8 & Byte::Dynptr as u8; SLOT_BYTES]);

/// The top bit of each byte of a word.
const TOP_BITS: u64 = u64::from_le_bytes([0x80; SLOT_BYTES]);

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
    #[inline]
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

    /// Whether any of it is part of saved interrupts.
    pub(crate) fn has_interrupts(&self) -> bool {
        self.bytes.contains(&Byte::Interrupts)
    }

    /// Whether it is part of a dynamic pointer.
    pub(crate) fn is_dynptr(&self) -> bool {
        self.bytes[0] == Byte::Dynptr
    }

    /// Whether it holds a spilled number.
    #[inline]
    pub(crate) fn is_spilled_scalar(&self) -> bool {
        self.is_spilled() && self.value.is_scalar()
    }

    /// Whether it holds a spilled number of eight bytes.
    #[inline]
    pub(crate) fn is_spilled_scalar64(&self) -> bool {
        self.is_spilled_scalar() && self.bytes[SLOT_BYTES - 1] == Byte::Spill
    }

    /// Whether it holds nothing that matters: something, or nothing at all.
    #[inline]
    pub(crate) fn is_all_misc(&self) -> bool {
        self.word() & !UNKNOWN_BYTES == 0
    }

    /// All bytes in one word, the first one lowest: slots are compared more often than anything
    /// else is done.
    #[inline]
    pub(crate) fn word(&self) -> u64 {
        // Spelled out, because that becomes a single load wherever it is inlined.
        let [a, b, c, d, e, f, g, h] = self.bytes;
        let bytes = [a as u8, b as u8, c as u8, d as u8, e as u8, f as u8, g as u8, h as u8];
        u64::from_le_bytes(bytes)
    }

    /// Whether a byte is part of an object that only calls may touch.
    #[inline]
    pub(crate) fn has_object_bytes(&self) -> bool {
        self.word() & OBJECT_BYTES != 0
    }

    /// The bytes of the word of which something is known, all bits of each set.
    #[inline]
    pub(crate) fn known_bytes(&self) -> u64 {
        // A carry into the top bit of each byte that is not one of the first two.
        let known = (self.word() & !UNKNOWN_BYTES) + (TOP_BITS - UNKNOWN_BYTES);
        (known & TOP_BITS) / 0x80 * 0xff
    }

    /// Whether its value means something: a spilled register, or part of an object.
    #[inline]
    pub(crate) fn has_value(&self) -> bool {
        matches!(self.bytes[0], Byte::Spill | Byte::Iterator | Byte::Dynptr)
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
    /// As many as the length needs; the slots of the last one beyond it were never written.
    chunks: [Option<Rc<Chunk>>; STACK_BYTES as usize / SLOT_BYTES / CHUNK],
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
        let chunk = self.chunks.get(slot / CHUNK)?.as_deref()?;
        (slot < self.len).then(|| &chunk[slot % CHUNK])
    }

    /// A slot, which must be there.
    #[inline]
    pub(crate) fn get_mut(&mut self, slot: usize) -> &mut Slot {
        assert!(slot < self.len, "the stack was made to reach this slot");
        let chunk = self.chunks[slot / CHUNK].as_mut();
        let chunk = chunk.expect("the stack was made to reach this slot");
        &mut Rc::make_mut(chunk)[slot % CHUNK]
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
        for (chunk, (own, theirs)) in self.chunks.iter().zip(&other.chunks).enumerate() {
            let Some(own) = own else { break };
            let theirs = theirs.as_ref();
            let shared = theirs.is_some_and(|theirs| Rc::ptr_eq(own, theirs));
            let first = chunk * CHUNK;
            for (index, slot) in own.iter().take(self.len - first).enumerate() {
                let number = first + index;
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
        self.chunks.iter().flatten().flat_map(|chunk| chunk.iter()).take(self.len)
    }

    /// Adds slots that were never written, up to a number.
    pub(crate) fn grow(&mut self, len: usize) {
        if len > self.len {
            self.len = len;
            for chunk in self.chunks.iter_mut().take(len.div_ceil(CHUNK)) {
                chunk.get_or_insert_with(|| Rc::new([Slot::INVALID; CHUNK]));
            }
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
