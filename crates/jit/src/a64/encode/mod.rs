//! aarch64 instructions as words: one function for each group of the encoding index.
//!
//! A function places fields and nothing else (Arm Architecture Reference Manual, C4.1). Operands
//! that do not fit their field are defects of the caller, which debug builds report. Register 31
//! is the zero register or the stack pointer, as the instruction has it.

mod integer;

mod control;

mod memory;

mod vector;

use skep_bpf::op::Width;

pub use control::*;
pub use integer::*;
pub use memory::*;
pub use vector::*;

/// A general register, 0 to 31.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Gpr(u8);

/// The zero register, where the instruction takes one.
pub const ZR: Gpr = Gpr(31);
/// The stack pointer, where the instruction takes one.
pub const SP: Gpr = Gpr(31);
/// The link register.
pub const LR: Gpr = Gpr(30);
/// The frame pointer of the procedure call standard.
pub const FP: Gpr = Gpr(29);

impl Gpr {
    /// The register with a number, of which five bits count.
    #[must_use]
    pub const fn new(number: u8) -> Gpr {
        debug_assert!(number < 32, "a register has five bits");
        Gpr(number & 31)
    }

    /// The number.
    #[must_use]
    pub const fn number(self) -> u8 {
        self.0
    }
}

/// A register by number.
#[must_use]
pub const fn x(number: u8) -> Gpr {
    Gpr::new(number)
}

const fn d(reg: Gpr) -> u32 {
    reg.0 as u32
}

const fn n(reg: Gpr) -> u32 {
    (reg.0 as u32) << 5
}

const fn m(reg: Gpr) -> u32 {
    (reg.0 as u32) << 16
}

const fn a(reg: Gpr) -> u32 {
    (reg.0 as u32) << 10
}

const fn sf(width: Width) -> u32 {
    match width {
        Width::W32 => 0,
        Width::W64 => 1 << 31,
    }
}

/// The low bits of an unsigned field.
const fn field(value: u32, bits: u32) -> u32 {
    debug_assert!(value >> bits == 0, "the operand does not fit its field");
    value & ((1 << bits) - 1)
}

/// The low bits of a signed field.
const fn signed(value: i32, bits: u32) -> u32 {
    let half = 1 << (bits - 1);
    debug_assert!(-half <= value && value < half, "the operand does not fit its field");
    value as u32 & ((1 << bits) - 1)
}
