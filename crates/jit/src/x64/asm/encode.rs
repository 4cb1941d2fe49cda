//! How an instruction is put together: prefixes, opcode, operands; then displacement and
//! immediate.

use super::{Bits, Gpr, Mem, Rm, Scale};

/// An instruction's bytes: at most eight before the displacement, at most eight from there on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Instruction {
    pub(super) head: u64,
    pub(super) head_len: u32,
    pub(super) tail: u64,
    pub(super) tail_len: u32,
}

/// A prefix that selects among operations with the same opcode.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Prefix {
    None = 0,
    P66 = 1,
    F3 = 2,
    F2 = 3,
}

impl Prefix {
    const fn byte(self) -> u8 {
        match self {
            Prefix::None => 0,
            Prefix::P66 => 0x66,
            Prefix::F3 => 0xf3,
            Prefix::F2 => 0xf2,
        }
    }
}

/// The opcode map, which is the escape bytes before the opcode.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Map {
    One = 0,
    X0f = 1,
    X0f38 = 2,
    X0f3a = 3,
}

/// An operation: everything but the operands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Op {
    pub(super) prefix: Prefix,
    pub(super) map: Map,
    pub(super) opcode: u8,
    /// The size of the operands: 16 bits is a prefix, 64 bits a bit.
    pub(super) bits: Bits,
    /// Whether the register field is a byte register, which may need an empty REX prefix.
    pub(super) byte_reg: bool,
    /// The same of the register or memory operand.
    pub(super) byte_rm: bool,
    pub(super) lock: bool,
}

impl Op {
    pub(super) const fn new(map: Map, opcode: u8, bits: Bits) -> Op {
        let prefix = Prefix::None;
        Op { prefix, map, opcode, bits, byte_reg: false, byte_rm: false, lock: false }
    }

    /// An operation whose opcode's lowest bit says that operands are larger than a byte.
    pub(super) const fn sized(map: Map, opcode: u8, bits: Bits) -> Op {
        let byte = matches!(bits, Bits::B8);
        let opcode = if byte { opcode } else { opcode | 1 };
        Op { byte_reg: byte, byte_rm: byte, ..Op::new(map, opcode, bits) }
    }

    pub(super) const fn with(self, prefix: Prefix) -> Op {
        Op { prefix, ..self }
    }
}

const REX: u8 = 0x40;
const REX_W: u8 = 8;

impl Instruction {
    pub(super) const EMPTY: Instruction =
        Instruction { head: 0, head_len: 0, tail: 0, tail_len: 0 };

    pub(super) const fn of(byte: u8) -> Instruction {
        Instruction { head: byte as u64, head_len: 1, tail: 0, tail_len: 0 }
    }

    /// One more byte before the displacement.
    #[inline(always)]
    pub(super) const fn then(mut self, byte: u8) -> Instruction {
        self.head |= (byte as u64) << (self.head_len * 8);
        self.head_len += 1;
        self
    }

    /// One more byte before the displacement if a condition holds, without a branch.
    #[inline(always)]
    const fn then_if(mut self, byte: u8, condition: bool) -> Instruction {
        let byte = byte & (condition as u8).wrapping_neg();
        self.head |= (byte as u64) << (self.head_len * 8);
        self.head_len += condition as u32;
        self
    }

    #[inline(always)]
    pub(super) const fn imm8(mut self, imm: u8) -> Instruction {
        self.tail |= (imm as u64) << (self.tail_len * 8);
        self.tail_len += 1;
        self
    }

    #[inline(always)]
    pub(super) const fn imm16(mut self, imm: u16) -> Instruction {
        self.tail |= (imm as u64) << (self.tail_len * 8);
        self.tail_len += 2;
        self
    }

    #[inline(always)]
    pub(super) const fn imm32(mut self, imm: i32) -> Instruction {
        self.tail |= (imm as u32 as u64) << (self.tail_len * 8);
        self.tail_len += 4;
        self
    }

    /// An immediate of the operands' size, at most 32 bits.
    #[inline(always)]
    pub(super) const fn imm(self, bits: Bits, imm: i32) -> Instruction {
        match bits {
            Bits::B8 => self.imm8(imm as u8),
            Bits::B16 => self.imm16(imm as u16),
            Bits::B32 | Bits::B64 => self.imm32(imm),
        }
    }

    pub(super) const fn imm64(mut self, imm: u64) -> Instruction {
        self.tail = imm;
        self.tail_len = 8;
        self
    }

    /// An operation with a register (or the number of an operation of a group) and a register or
    /// memory operand.
    #[inline(always)]
    pub(super) fn rm(op: Op, reg: u8, rm: Rm) -> Instruction {
        let wide = if op.bits == Bits::B64 { REX_W } else { 0 };
        let rex = wide | (reg >> 3) << 2 | high_bits(rm);
        let byte_rm = op.byte_rm & matches!(rm, Rm::Reg(reg) if reg.number() >= 4);
        let needs_rex = (rex != 0) | byte_rm | (op.byte_reg & (reg >= 4));
        let instruction = Instruction::EMPTY
            .then_if(0xf0, op.lock)
            .then_if(0x66, op.bits == Bits::B16)
            .then_if(op.prefix.byte(), op.prefix != Prefix::None)
            .then_if(REX | rex, needs_rex);
        let instruction = match op.map {
            Map::One => instruction,
            Map::X0f => instruction.then(0x0f),
            Map::X0f38 => instruction.then(0x0f).then(0x38),
            Map::X0f3a => instruction.then(0x0f).then(0x3a),
        };
        instruction.then(op.opcode).operands(reg, rm)
    }

    /// The same with a third operand, in a VEX prefix of three bytes.
    #[inline(always)]
    pub(super) fn vex(op: Op, reg: u8, third: u8, rm: Rm) -> Instruction {
        let rxb = (reg >> 3) << 2 | high_bits(rm);
        let wide = if op.bits == Bits::B64 { 0x80 } else { 0 };
        Instruction::of(0xc4)
            .then((rxb ^ 7) << 5 | op.map as u8)
            .then(wide | (third ^ 15) << 3 | op.prefix as u8)
            .then(op.opcode)
            .operands(reg, rm)
    }

    /// ModRM, SIB and displacement.
    #[inline(always)]
    fn operands(self, reg: u8, rm: Rm) -> Instruction {
        let reg = (reg & 7) << 3;
        match rm {
            Rm::Reg(rm) => self.then(0xc0 | reg | rm.number() & 7),
            Rm::Mem(mem) => self.memory(reg, mem),
        }
    }

    /// Which bytes there are depends on the operand: they are chosen without branches, which would
    /// be hard to predict.
    #[inline(always)]
    fn memory(self, reg: u8, mem: Mem) -> Instruction {
        const SIB: u8 = 0b100;
        let Some(base) = mem.base else {
            // Without a base the displacement always has 32 bits.
            let sib = sib(mem.index, 0b101);
            return self.then(reg | SIB).then(sib).imm32(mem.disp);
        };
        let low = base.number() & 7;
        // With rbp or r13 as base, no displacement means no base.
        let is_none = (mem.disp == 0) & (low != 0b101);
        let is_byte = mem.disp == mem.disp as i8 as i32;
        // 0, 1 or 2: of no, of 8, of 32 bits.
        let class = 2 - u32::from(is_byte) - u32::from(is_none);
        let has_sib = mem.index.is_some() | (low == SIB);
        let rm = if has_sib { SIB } else { low };
        self.then((class as u8) << 6 | reg | rm)
            .then_if(sib(mem.index, low), has_sib)
            .disp(mem.disp, class)
    }

    /// A displacement of no, 8 or 32 bits, by class.
    #[inline(always)]
    const fn disp(mut self, disp: i32, class: u32) -> Instruction {
        let len = class + (class & 2);
        self.tail |= (disp as u32 as u64) & ((1 << (len * 8)) - 1);
        self.tail_len += len;
        self
    }
}

#[inline(always)]
fn sib(index: Option<(Gpr, Scale)>, base: u8) -> u8 {
    const NO_INDEX: u8 = 0b100;
    match index {
        None => NO_INDEX << 3 | base,
        Some((index, scale)) => {
            debug_assert!(index != Gpr::Rsp, "rsp is no index");
            (scale as u8) << 6 | (index.number() & 7) << 3 | base
        }
    }
}

/// The bits of REX and VEX that extend the numbers of base and index.
#[inline(always)]
fn high_bits(rm: Rm) -> u8 {
    match rm {
        Rm::Reg(reg) => reg.number() >> 3,
        Rm::Mem(mem) => {
            let base = mem.base.map_or(0, |base| base.number() >> 3);
            let index = mem.index.map_or(0, |(index, _)| index.number() >> 3);
            index << 1 | base
        }
    }
}
