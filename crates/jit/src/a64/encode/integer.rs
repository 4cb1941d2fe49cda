//! Arithmetic, bit operations and selections.

use skep_bpf::op::Width;

use super::{Gpr, ZR, a, d, field, m, n, sf};

/// Addition and subtraction; the forms with `S` set the flags.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "the names are the mnemonics")]
pub enum AddSub {
    Add,
    Adds,
    Sub,
    Subs,
}

/// Bitwise operations; `Ands` sets the flags.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "the names are the mnemonics")]
pub enum Logic {
    And,
    Orr,
    Eor,
    Ands,
}

/// How a register operand is shifted; `Ror` in bitwise operations only.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "the names are the mnemonics")]
pub enum Shift {
    Lsl,
    Lsr,
    Asr,
    Ror,
}

/// How a register operand is extended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "the names are the mnemonics")]
pub enum Extension {
    Uxtb,
    Uxth,
    Uxtw,
    Uxtx,
    Sxtb,
    Sxth,
    Sxtw,
    Sxtx,
}

/// `rd = rn op (imm << 12 if upper)`; `imm` has 12 bits, `rd` and `rn` may be the stack pointer.
#[must_use]
pub const fn add_imm(width: Width, op: AddSub, rd: Gpr, rn: Gpr, imm: u32, upper: bool) -> u32 {
    sf(width)
        | (op as u32) << 29
        | 0b100010 << 23
        | (upper as u32) << 22
        | field(imm, 12) << 10
        | n(rn)
        | d(rd)
}

/// `rd = rn op (rm shifted by amount)`.
#[must_use]
pub const fn add_shifted(
    width: Width,
    op: AddSub,
    rd: Gpr,
    rn: Gpr,
    rm: Gpr,
    (shift, amount): (Shift, u32),
) -> u32 {
    sf(width)
        | (op as u32) << 29
        | 0b01011 << 24
        | (shift as u32) << 22
        | m(rm)
        | field(amount, 6) << 10
        | n(rn)
        | d(rd)
}

/// `rd = rn op (rm extended, shifted left by 0 to 4)`; `rd` and `rn` may be the stack pointer.
#[must_use]
pub const fn add_extended(
    width: Width,
    op: AddSub,
    rd: Gpr,
    rn: Gpr,
    rm: Gpr,
    (extension, amount): (Extension, u32),
) -> u32 {
    sf(width)
        | (op as u32) << 29
        | 0b01011001 << 21
        | m(rm)
        | (extension as u32) << 13
        | field(amount, 3) << 10
        | n(rn)
        | d(rd)
}

/// `rd = rn op rm`.
#[must_use]
pub const fn add(width: Width, op: AddSub, rd: Gpr, rn: Gpr, rm: Gpr) -> u32 {
    add_shifted(width, op, rd, rn, rm, (Shift::Lsl, 0))
}

/// A number that bitwise operations take as an immediate: a run of ones, rotated, in each of
/// several equal parts of the word.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct BitMask(u16);

impl BitMask {
    /// The encoding of a number, if it has one (Arm ARM, `DecodeBitMasks`). Of a 32-bit
    /// operation's immediate the low half counts.
    #[must_use]
    pub const fn new(width: Width, value: u64) -> Option<BitMask> {
        let value = match width {
            Width::W32 => (value & 0xffff_ffff) | value << 32,
            Width::W64 => value,
        };
        if value == 0 || value == u64::MAX {
            return None;
        }
        let mut size = 64;
        while size > 2 && value == value.rotate_right(size / 2) {
            size /= 2;
        }
        let mask = u64::MAX >> (64 - size);
        let part = value & mask;
        let ones = part.count_ones();
        // The run starts after the zeros below it; where it wraps, it starts after the only zeros.
        let start = if part & 1 == 0 {
            part.trailing_zeros()
        } else if ones == part.trailing_ones() {
            0
        } else {
            let zeros = !part & mask;
            zeros.trailing_zeros() + zeros.count_ones()
        };
        let run = u64::MAX >> (64 - ones);
        let turned = if start == 0 { run } else { run << start | run >> (size - start) };
        if turned & mask != part {
            return None;
        }
        let immr = (size - start) % size;
        let imms = ((size as i32).wrapping_neg() << 1) as u32 & 0x3f | (ones - 1);
        Some(BitMask((((size == 64) as u32) << 12 | immr << 6 | imms) as u16))
    }
}

/// `rd = rn op mask`; `rd` may be the stack pointer except of `Ands`.
#[must_use]
pub const fn logic_imm(width: Width, op: Logic, rd: Gpr, rn: Gpr, mask: BitMask) -> u32 {
    sf(width) | (op as u32) << 29 | 0b100100 << 23 | (mask.0 as u32) << 10 | n(rn) | d(rd)
}

/// `rd = rn op (rm shifted)`, or with the complement of `rm` shifted if `invert`.
#[must_use]
pub const fn logic_shifted(
    width: Width,
    op: Logic,
    invert: bool,
    rd: Gpr,
    rn: Gpr,
    rm: Gpr,
    (shift, amount): (Shift, u32),
) -> u32 {
    sf(width)
        | (op as u32) << 29
        | 0b01010 << 24
        | (shift as u32) << 22
        | (invert as u32) << 21
        | m(rm)
        | field(amount, 6) << 10
        | n(rn)
        | d(rd)
}

/// `rd = rn op rm`.
#[must_use]
pub const fn logic(width: Width, op: Logic, rd: Gpr, rn: Gpr, rm: Gpr) -> u32 {
    logic_shifted(width, op, false, rd, rn, rm, (Shift::Lsl, 0))
}

/// `rd = rm`, neither of them the stack pointer.
#[must_use]
pub const fn mov(width: Width, rd: Gpr, rm: Gpr) -> u32 {
    logic(width, Logic::Orr, rd, ZR, rm)
}

/// The moves of 16 bits: of the complement, with zeros around, keeping what is around.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "the names are the mnemonics")]
pub enum MoveWide {
    Movn = 0,
    Movz = 2,
    Movk = 3,
}

/// A move of 16 bits to the part of `rd` with an index.
#[must_use]
pub const fn move_wide(width: Width, op: MoveWide, rd: Gpr, imm: u16, part: u32) -> u32 {
    sf(width)
        | (op as u32) << 29
        | 0b100101 << 23
        | field(part, 2) << 21
        | (imm as u32) << 5
        | d(rd)
}

/// Moves of bit fields: sign-extending, inserting, zero-extending.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "the names are the mnemonics")]
pub enum Bitfield {
    Sbfm,
    Bfm,
    Ubfm,
}

/// A bit field move with its raw operands.
#[must_use]
pub const fn bitfield(width: Width, op: Bitfield, rd: Gpr, rn: Gpr, immr: u32, imms: u32) -> u32 {
    let wide = sf(width) >> 31;
    sf(width)
        | (op as u32) << 29
        | 0b100110 << 23
        | wide << 22
        | field(immr, 6) << 16
        | field(imms, 6) << 10
        | n(rn)
        | d(rd)
}

/// A shift by a constant below the width; `Ror` becomes an extraction.
#[must_use]
pub const fn shift_imm(width: Width, shift: Shift, rd: Gpr, rn: Gpr, amount: u32) -> u32 {
    let bits = width.bits();
    match shift {
        Shift::Lsl => {
            bitfield(width, Bitfield::Ubfm, rd, rn, (bits - amount) % bits, bits - 1 - amount)
        }
        Shift::Lsr => bitfield(width, Bitfield::Ubfm, rd, rn, amount, bits - 1),
        Shift::Asr => bitfield(width, Bitfield::Sbfm, rd, rn, amount, bits - 1),
        Shift::Ror => extract(width, rd, rn, rn, amount),
    }
}

/// `rd` = the bits of `rn` from `lsb` on, zero-extended.
#[must_use]
pub const fn ubfx(width: Width, rd: Gpr, rn: Gpr, lsb: u32, bits: u32) -> u32 {
    bitfield(width, Bitfield::Ubfm, rd, rn, lsb, lsb + bits - 1)
}

/// `rd` = the bits of `rn` from `lsb` on, sign-extended.
#[must_use]
pub const fn sbfx(width: Width, rd: Gpr, rn: Gpr, lsb: u32, bits: u32) -> u32 {
    bitfield(width, Bitfield::Sbfm, rd, rn, lsb, lsb + bits - 1)
}

/// `rd` = the width's bits of `rn:rm` from `lsb` on.
#[must_use]
pub const fn extract(width: Width, rd: Gpr, rn: Gpr, rm: Gpr, lsb: u32) -> u32 {
    let wide = sf(width) >> 31;
    sf(width) | 0b100111 << 23 | wide << 22 | m(rm) | field(lsb, 6) << 10 | n(rn) | d(rd)
}

/// Multiplications with addition and of halves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "the names are the mnemonics")]
pub enum Multiply {
    Madd = 0,
    Msub = 1,
    Smaddl = 2,
    Smsubl = 3,
    Smulh = 4,
    Umaddl = 10,
    Umsubl = 11,
    Umulh = 12,
}

/// `rd = ra op rn * rm`; all but `Madd` and `Msub` are 64 bits wide, `Smulh` and `Umulh` take no
/// `ra` (it must be [`ZR`]).
#[must_use]
pub const fn multiply(width: Width, op: Multiply, rd: Gpr, rn: Gpr, rm: Gpr, ra: Gpr) -> u32 {
    let op = op as u32;
    sf(width) | 0b11011 << 24 | (op >> 1) << 21 | m(rm) | (op & 1) << 15 | a(ra) | n(rn) | d(rd)
}

/// Divisions and shifts by registers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "the names are the mnemonics")]
pub enum Binary {
    Udiv = 2,
    Sdiv = 3,
    Lslv = 8,
    Lsrv = 9,
    Asrv = 10,
    Rorv = 11,
}

/// `rd = rn op rm`; division by zero gives 0, shift amounts are taken modulo the width.
#[must_use]
pub const fn binary(width: Width, op: Binary, rd: Gpr, rn: Gpr, rm: Gpr) -> u32 {
    sf(width) | 0b11010110 << 21 | m(rm) | (op as u32) << 10 | n(rn) | d(rd)
}

/// Operations on one register.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "the names are the mnemonics")]
pub enum Unary {
    Rbit,
    Rev16,
    /// The bytes of each 32-bit part.
    Rev32,
    /// The bytes of 64 bits; 64 bits wide.
    Rev64,
    Clz,
    Cls,
}

/// `rd = op rn`.
#[must_use]
pub const fn unary(width: Width, op: Unary, rd: Gpr, rn: Gpr) -> u32 {
    sf(width) | 1 << 30 | 0b11010110 << 21 | (op as u32) << 10 | n(rn) | d(rd)
}

/// Conditions on the flags.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "the names are the mnemonics")]
pub enum Condition {
    Eq,
    Ne,
    Hs,
    Lo,
    Mi,
    Pl,
    Vs,
    Vc,
    Hi,
    Ls,
    Ge,
    Lt,
    Gt,
    Le,
}

impl Condition {
    /// All conditions, in the order of their codes.
    pub const ALL: [Condition; 14] = [
        Condition::Eq,
        Condition::Ne,
        Condition::Hs,
        Condition::Lo,
        Condition::Mi,
        Condition::Pl,
        Condition::Vs,
        Condition::Vc,
        Condition::Hi,
        Condition::Ls,
        Condition::Ge,
        Condition::Lt,
        Condition::Gt,
        Condition::Le,
    ];

    /// The condition that holds where this one does not.
    #[must_use]
    pub const fn inverted(self) -> Condition {
        Condition::ALL[self as usize ^ 1]
    }
}

/// What a selection does to its second operand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "the names are the mnemonics")]
pub enum Select {
    Csel,
    Csinc,
    Csinv,
    Csneg,
}

/// `rd = rn` if the condition holds, else `op rm`.
#[must_use]
pub const fn select(
    width: Width,
    op: Select,
    rd: Gpr,
    rn: Gpr,
    rm: Gpr,
    condition: Condition,
) -> u32 {
    let op = op as u32;
    sf(width)
        | (op >> 1) << 30
        | 0b11010100 << 21
        | m(rm)
        | (condition as u32) << 12
        | (op & 1) << 10
        | n(rn)
        | d(rd)
}

/// `rd` = whether the condition holds.
#[must_use]
pub const fn set_if(width: Width, rd: Gpr, condition: Condition) -> u32 {
    select(width, Select::Csinc, rd, ZR, ZR, condition.inverted())
}

/// Compares `rn` with `rm` if the condition holds, else sets the flags to `nzcv`.
#[must_use]
pub const fn compare_if(width: Width, rn: Gpr, rm: Gpr, nzcv: u32, condition: Condition) -> u32 {
    sf(width) | 0b11_1101_0010 << 21 | m(rm) | (condition as u32) << 12 | n(rn) | field(nzcv, 4)
}

/// Compares `rn` with 0 to 31 if the condition holds, else sets the flags to `nzcv`.
#[must_use]
pub const fn compare_imm_if(
    width: Width,
    rn: Gpr,
    imm: u32,
    nzcv: u32,
    condition: Condition,
) -> u32 {
    sf(width)
        | 0b11_1101_0010 << 21
        | field(imm, 5) << 16
        | (condition as u32) << 12
        | 1 << 11
        | n(rn)
        | field(nzcv, 4)
}
