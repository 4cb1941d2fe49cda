//! Bit counting, atomics, 128-bit moves, and padding.

use super::encode::{Instruction, Map, Op, Prefix};
use super::{Alu, Asm, Bits, Gpr, Mem, Rm};

/// Operations that count bits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum Count {
    /// The bits that are set.
    Popcnt = 0xb8,
    /// The zeros below the lowest set bit.
    Tzcnt = 0xbc,
    /// The zeros above the highest set bit.
    Lzcnt = 0xbd,
}

impl Count {
    /// All of them.
    pub const ALL: [Count; 3] = [Count::Popcnt, Count::Tzcnt, Count::Lzcnt];
}

/// A vector register by number, 0 to 15.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Xmm(pub u8);

impl Asm {
    /// `popcnt`, `tzcnt` or `lzcnt dst, src`, of 16 to 64 bits.
    #[inline]
    pub fn count(&mut self, op: Count, bits: Bits, dst: Gpr, src: impl Into<Rm>) {
        let op = Op::new(Map::X0f, op as u8, bits).with(Prefix::F3);
        self.put(Instruction::rm(op, dst.number(), src.into()));
    }

    /// `andn dst, not, src` (BMI1): the bits of the source that the other operand does not have.
    #[inline]
    pub fn andn(&mut self, bits: Bits, dst: Gpr, not: Gpr, src: impl Into<Rm>) {
        let op = Op::new(Map::X0f38, 0xf2, bits);
        self.put(Instruction::vex(op, dst.number(), not.number(), src.into()));
    }

    /// `blsr dst, src` (BMI1): clears the lowest set bit.
    #[inline]
    pub fn blsr(&mut self, bits: Bits, dst: Gpr, src: impl Into<Rm>) {
        let op = Op::new(Map::X0f38, 0xf3, bits);
        self.put(Instruction::vex(op, 1, dst.number(), src.into()));
    }

    /// `lock op dst, src`.
    #[inline]
    pub fn lock_alu(&mut self, op: Alu, bits: Bits, dst: Mem, src: Gpr) {
        let op = Op { lock: true, ..Op::sized(Map::One, (op as u8) << 3, bits) };
        self.put(Instruction::rm(op, src.number(), dst.into()));
    }

    /// `lock xadd dst, src`.
    #[inline]
    pub fn lock_xadd(&mut self, bits: Bits, dst: Mem, src: Gpr) {
        let op = Op { lock: true, ..Op::sized(Map::X0f, 0xc0, bits) };
        self.put(Instruction::rm(op, src.number(), dst.into()));
    }

    /// `lock cmpxchg dst, src`.
    #[inline]
    pub fn lock_cmpxchg(&mut self, bits: Bits, dst: Mem, src: Gpr) {
        let op = Op { lock: true, ..Op::sized(Map::X0f, 0xb0, bits) };
        self.put(Instruction::rm(op, src.number(), dst.into()));
    }

    /// `xchg dst, src`; atomic if the destination is memory.
    #[inline]
    pub fn xchg(&mut self, bits: Bits, dst: impl Into<Rm>, src: Gpr) {
        let op = Op::sized(Map::One, 0x86, bits);
        self.put(Instruction::rm(op, src.number(), dst.into()));
    }

    /// `mfence`.
    pub fn mfence(&mut self) {
        self.put(Instruction::of(0x0f).then(0xae).then(0xf0));
    }

    /// `movups dst, src`: 16 bytes of any alignment.
    #[inline]
    pub fn load128(&mut self, dst: Xmm, src: Mem) {
        self.put(Instruction::rm(Op::new(Map::X0f, 0x10, Bits::B32), dst.0, src.into()));
    }

    /// `movups dst, src`: 16 bytes of any alignment.
    #[inline]
    pub fn store128(&mut self, dst: Mem, src: Xmm) {
        self.put(Instruction::rm(Op::new(Map::X0f, 0x11, Bits::B32), src.0, dst.into()));
    }

    /// `xorps reg, reg`: sets a vector register to 0.
    #[inline]
    pub fn zero128(&mut self, reg: Xmm) {
        let rm = Rm::Reg(Gpr::ALL[usize::from(reg.0 & 15)]);
        self.put(Instruction::rm(Op::new(Map::X0f, 0x57, Bits::B32), reg.0, rm));
    }

    /// Fills with instructions that do nothing up to a multiple of a power of two.
    pub fn align(&mut self, to: usize) {
        self.align_after(0, to);
    }

    /// Fills with instructions that do nothing so that what comes so many bytes later is at a
    /// multiple of a power of two.
    pub fn align_after(&mut self, bytes: usize, to: usize) {
        let at = self.len + bytes;
        let mut missing = at.next_multiple_of(to) - at;
        while missing > 0 {
            let now = missing.min(9);
            self.nop(now);
            missing -= now;
        }
    }

    /// One instruction of 1 to 9 bytes that does nothing (the manual's recommended forms).
    pub fn nop(&mut self, len: usize) {
        let (head, head_len): (&[u8], usize) = match len {
            0 => return,
            1 => (&[0x90], 0),
            2 => (&[0x66, 0x90], 0),
            3 => (&[0x0f, 0x1f, 0x00], 0),
            4 => (&[0x0f, 0x1f, 0x40], 1),
            5 => (&[0x0f, 0x1f, 0x44, 0x00], 1),
            6 => (&[0x66, 0x0f, 0x1f, 0x44, 0x00], 1),
            7 => (&[0x0f, 0x1f, 0x80], 4),
            8 => (&[0x0f, 0x1f, 0x84, 0x00], 4),
            _ => (&[0x66, 0x0f, 0x1f, 0x84, 0x00], 4),
        };
        let mut instruction = Instruction::EMPTY;
        for byte in head {
            instruction = instruction.then(*byte);
        }
        instruction.tail_len = head_len as u32;
        self.put(instruction);
    }
}
