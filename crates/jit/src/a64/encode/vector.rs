//! The few vector instructions that count the ones of a number.

use skep_bpf::op::Width;

use super::{Gpr, d, field, n};

/// A vector register, 0 to 31; 0 to 7 and 16 to 31 belong to the callee.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Vector(pub u8);

/// Moves 64 bits to the low half of a vector register, clearing the rest.
#[must_use]
pub const fn fmov_to(vd: Vector, rn: Gpr) -> u32 {
    0x9e67_0000 | n(rn) | field(vd.0 as u32, 5)
}

/// Moves the low 32 or 64 bits of a vector register.
#[must_use]
pub const fn fmov_from(width: Width, rd: Gpr, vn: Vector) -> u32 {
    let base = match width {
        Width::W32 => 0x1e26_0000,
        Width::W64 => 0x9e66_0000,
    };
    base | field(vn.0 as u32, 5) << 5 | d(rd)
}

/// Counts the ones in each of the low eight bytes.
#[must_use]
pub const fn cnt(vd: Vector, vn: Vector) -> u32 {
    0x0e20_5800 | field(vn.0 as u32, 5) << 5 | field(vd.0 as u32, 5)
}

/// Adds the low eight bytes into one, clearing the rest.
#[must_use]
pub const fn addv(vd: Vector, vn: Vector) -> u32 {
    0x0e31_b800 | field(vn.0 as u32, 5) << 5 | field(vd.0 as u32, 5)
}
