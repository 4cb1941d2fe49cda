//! What an operation computes: the only statement of BPF arithmetic.
//!
//! Interpreters, constant folding and test oracles call these functions. All are total: division
//! by zero and shifts beyond the width have the results that RFC 9669 gives them.

use crate::insn::Extend;
use crate::op::{AluOp, AtomicOp, Cond, Endian, Movsx, Size, SwapBits, Width};

impl AluOp {
    /// The value that the destination takes. A 32-bit result is zero-extended.
    ///
    /// Immediates are passed sign-extended to 64 bits; a 32-bit operation reads the low halves of
    /// its operands.
    ///
    /// ```
    /// use skep_bpf::op::{AluOp, Width};
    /// // RFC 9669, 4.1: division by zero gives zero.
    /// assert_eq!(AluOp::Div.eval(Width::W64, 7, 0), 0);
    /// ```
    #[inline(always)]
    #[must_use]
    pub const fn eval(self, width: Width, dst: u64, src: u64) -> u64 {
        match width {
            Width::W32 => self.eval32(dst as u32, src as u32) as u64,
            Width::W64 => self.eval64(dst, src),
        }
    }

    #[inline(always)]
    const fn eval32(self, dst: u32, src: u32) -> u32 {
        match self {
            AluOp::Add => dst.wrapping_add(src),
            AluOp::Sub => dst.wrapping_sub(src),
            AluOp::Mul => dst.wrapping_mul(src),
            // RFC 9669, 4.1: division by zero gives zero, modulo by zero leaves the destination,
            // whose upper half a 32-bit operation clears all the same.
            AluOp::Div => match dst.checked_div(src) {
                Some(quotient) => quotient,
                None => 0,
            },
            AluOp::Mod => match dst.checked_rem(src) {
                Some(remainder) => remainder,
                None => dst,
            },
            // The least number divided by -1 wraps to itself, with remainder 0.
            AluOp::Sdiv if src == 0 => 0,
            AluOp::Sdiv => (dst as i32).wrapping_div(src as i32) as u32,
            AluOp::Smod if src == 0 => dst,
            AluOp::Smod => (dst as i32).wrapping_rem(src as i32) as u32,
            AluOp::Or => dst | src,
            AluOp::And => dst & src,
            AluOp::Xor => dst ^ src,
            // RFC 9669, 4.1: shift amounts are masked to the width.
            AluOp::Lsh => dst.wrapping_shl(src),
            AluOp::Rsh => dst.wrapping_shr(src),
            AluOp::Arsh => (dst as i32).wrapping_shr(src) as u32,
            AluOp::Mov => src,
        }
    }

    #[inline(always)]
    const fn eval64(self, dst: u64, src: u64) -> u64 {
        match self {
            AluOp::Add => dst.wrapping_add(src),
            AluOp::Sub => dst.wrapping_sub(src),
            AluOp::Mul => dst.wrapping_mul(src),
            AluOp::Div => match dst.checked_div(src) {
                Some(quotient) => quotient,
                None => 0,
            },
            AluOp::Mod => match dst.checked_rem(src) {
                Some(remainder) => remainder,
                None => dst,
            },
            AluOp::Sdiv if src == 0 => 0,
            AluOp::Sdiv => (dst as i64).wrapping_div(src as i64) as u64,
            AluOp::Smod if src == 0 => dst,
            AluOp::Smod => (dst as i64).wrapping_rem(src as i64) as u64,
            AluOp::Or => dst | src,
            AluOp::And => dst & src,
            AluOp::Xor => dst ^ src,
            AluOp::Lsh => dst.wrapping_shl(src as u32),
            AluOp::Rsh => dst.wrapping_shr(src as u32),
            AluOp::Arsh => (dst as i64).wrapping_shr(src as u32) as u64,
            AluOp::Mov => src,
        }
    }
}

/// The value that negation gives (RFC 9669, section 4.1).
#[inline(always)]
#[must_use]
pub const fn neg(width: Width, dst: u64) -> u64 {
    match width {
        Width::W32 => (dst as u32).wrapping_neg() as u64,
        Width::W64 => dst.wrapping_neg(),
    }
}

impl Movsx {
    /// The value that the destination takes.
    #[inline(always)]
    #[must_use]
    pub const fn eval(self, src: u64) -> u64 {
        match self {
            Movsx::W32From8 => src as i8 as i32 as u32 as u64,
            Movsx::W32From16 => src as i16 as i32 as u32 as u64,
            Movsx::W64From8 => src as i8 as i64 as u64,
            Movsx::W64From16 => src as i16 as i64 as u64,
            Movsx::W64From32 => src as i32 as i64 as u64,
        }
    }
}

impl Endian {
    /// The value that the destination takes. The machine that BPF code sees is little endian, as
    /// its objects are, on every host.
    #[inline(always)]
    #[must_use]
    pub const fn eval(self, bits: SwapBits, dst: u64) -> u64 {
        match (self, bits) {
            (Endian::Le, SwapBits::B16) => dst as u16 as u64,
            (Endian::Le, SwapBits::B32) => dst as u32 as u64,
            (Endian::Le, SwapBits::B64) => dst,
            (Endian::Be | Endian::Bswap, SwapBits::B16) => (dst as u16).swap_bytes() as u64,
            (Endian::Be | Endian::Bswap, SwapBits::B32) => (dst as u32).swap_bytes() as u64,
            (Endian::Be | Endian::Bswap, SwapBits::B64) => dst.swap_bytes(),
        }
    }
}

impl Cond {
    /// Whether the jump is taken. Immediates are passed sign-extended to 64 bits.
    #[inline(always)]
    #[must_use]
    pub const fn eval(self, width: Width, dst: u64, src: u64) -> bool {
        match width {
            Width::W32 => self.holds(
                dst as u32 as u64,
                src as u32 as u64,
                dst as i32 as i64,
                src as i32 as i64,
            ),
            Width::W64 => self.holds(dst, src, dst as i64, src as i64),
        }
    }

    #[inline(always)]
    const fn holds(self, dst: u64, src: u64, signed_dst: i64, signed_src: i64) -> bool {
        match self {
            Cond::Eq => dst == src,
            Cond::Ne => dst != src,
            Cond::Gt => dst > src,
            Cond::Ge => dst >= src,
            Cond::Lt => dst < src,
            Cond::Le => dst <= src,
            Cond::Set => dst & src != 0,
            Cond::Sgt => signed_dst > signed_src,
            Cond::Sge => signed_dst >= signed_src,
            Cond::Slt => signed_dst < signed_src,
            Cond::Sle => signed_dst <= signed_src,
        }
    }
}

impl AtomicOp {
    /// The value that memory takes; `expected` is `r0`, which only `cmpxchg` reads. Operands and
    /// result have the operation's width: of a 32-bit operation the low halves count.
    #[inline(always)]
    #[must_use]
    pub const fn eval(self, width: Width, old: u64, src: u64, expected: u64) -> u64 {
        let new = match self {
            AtomicOp::Add | AtomicOp::FetchAdd => old.wrapping_add(src),
            AtomicOp::Or | AtomicOp::FetchOr => old | src,
            AtomicOp::And | AtomicOp::FetchAnd => old & src,
            AtomicOp::Xor | AtomicOp::FetchXor => old ^ src,
            AtomicOp::Xchg => src,
            AtomicOp::Cmpxchg => {
                let equal = match width {
                    Width::W32 => old as u32 == expected as u32,
                    Width::W64 => old == expected,
                };
                if equal { src } else { old }
            }
        };
        match width {
            Width::W32 => new as u32 as u64,
            Width::W64 => new,
        }
    }
}

impl Size {
    /// The register's value after a load of these low bits.
    #[inline(always)]
    #[must_use]
    pub const fn extend(self, extend: Extend, bits: u64) -> u64 {
        match (self, extend) {
            (Size::B, Extend::Zero) => bits as u8 as u64,
            (Size::H, Extend::Zero) => bits as u16 as u64,
            (Size::W, Extend::Zero) => bits as u32 as u64,
            (Size::B, Extend::Sign) => bits as i8 as i64 as u64,
            (Size::H, Extend::Sign) => bits as i16 as i64 as u64,
            (Size::W, Extend::Sign) => bits as i32 as i64 as u64,
            (Size::Dw, _) => bits,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn corners_of_division() {
        let least = i64::MIN as u64;
        assert_eq!(AluOp::Sdiv.eval(Width::W64, least, u64::MAX), least);
        assert_eq!(AluOp::Smod.eval(Width::W64, least, u64::MAX), 0);
        assert_eq!(AluOp::Sdiv.eval(Width::W32, 0x8000_0000, u64::MAX), 0x8000_0000);
        assert_eq!(AluOp::Mod.eval(Width::W32, 0xffff_ffff_0000_0007, 0), 7);
        assert_eq!(AluOp::Mod.eval(Width::W64, 0xffff_ffff_0000_0007, 0), 0xffff_ffff_0000_0007);
        assert_eq!(AluOp::Smod.eval(Width::W64, -13_i64 as u64, 4), -1_i64 as u64);
        assert_eq!(AluOp::Sdiv.eval(Width::W64, -13_i64 as u64, 4), -3_i64 as u64);
    }

    #[test]
    fn shifts_mask_their_amount() {
        assert_eq!(AluOp::Lsh.eval(Width::W32, 1, 33), 2);
        assert_eq!(AluOp::Rsh.eval(Width::W64, 2, 65), 1);
        assert_eq!(AluOp::Arsh.eval(Width::W32, 0x8000_0000, 31), 0xffff_ffff);
    }

    #[test]
    fn narrow_comparisons_ignore_upper_halves() {
        assert!(Cond::Eq.eval(Width::W32, 0xdead_0000_0001, 1));
        assert!(Cond::Slt.eval(Width::W32, 0xffff_ffff, 0));
        assert!(!Cond::Slt.eval(Width::W64, 0xffff_ffff, 0));
    }
}
