//! Branches, barriers and landing pads.

use skep_bpf::op::Width;

use super::{Condition, Gpr, d, field, n, sf, signed};

/// `b`, or `bl` if `link`, by a number of words.
#[must_use]
pub const fn b(link: bool, words: i32) -> u32 {
    (link as u32) << 31 | 0b101 << 26 | signed(words, 26)
}

/// `b.cond` by a number of words.
#[must_use]
pub const fn b_cond(condition: Condition, words: i32) -> u32 {
    0x5400_0000 | signed(words, 19) << 5 | condition as u32
}

/// `cbz`, or `cbnz` if `nonzero`, by a number of words.
#[must_use]
pub const fn cbz(width: Width, nonzero: bool, rt: Gpr, words: i32) -> u32 {
    sf(width) | 0b011010 << 25 | (nonzero as u32) << 24 | signed(words, 19) << 5 | d(rt)
}

/// `tbz`, or `tbnz` if `nonzero`, of a bit, by a number of words.
#[must_use]
pub const fn tbz(nonzero: bool, rt: Gpr, bit: u32, words: i32) -> u32 {
    (field(bit, 6) >> 5) << 31
        | 0b011011 << 25
        | (nonzero as u32) << 24
        | (bit & 31) << 19
        | signed(words, 14) << 5
        | d(rt)
}

/// Jumps through a register.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "the names are the mnemonics")]
pub enum Indirect {
    Br,
    Blr,
    Ret,
}

/// A jump through a register.
#[must_use]
pub const fn indirect(op: Indirect, rn: Gpr) -> u32 {
    0xd61f_0000 | (op as u32) << 21 | n(rn)
}

/// `rd` = the instruction's address plus a number of bytes, within 1 MiB.
#[must_use]
pub const fn adr(rd: Gpr, bytes: i32) -> u32 {
    let bytes = signed(bytes, 21);
    (bytes & 3) << 29 | 0b10000 << 24 | (bytes >> 2) << 5 | d(rd)
}

/// No operation.
pub const NOP: u32 = 0xd503_201f;
/// Landing pad of calls.
pub const BTI_C: u32 = 0xd503_245f;
/// Landing pad of jumps.
pub const BTI_J: u32 = 0xd503_249f;
/// Landing pad of calls and jumps.
pub const BTI_JC: u32 = 0xd503_24df;
/// Full barrier, inner shareable.
pub const DMB_ISH: u32 = 0xd503_3bbf;
/// Barrier for what follows loads, inner shareable.
pub const DMB_ISHLD: u32 = 0xd503_39bf;
/// Barrier between stores, inner shareable.
pub const DMB_ISHST: u32 = 0xd503_3abf;

/// A breakpoint with a number.
#[must_use]
pub const fn brk(number: u16) -> u32 {
    0xd420_0000 | (number as u32) << 5
}
