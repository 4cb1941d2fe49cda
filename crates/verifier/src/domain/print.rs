//! Scalars and numbers as the kernel's log prints them.
//!
//! A constant is a number; anything else lists the bounds that are not those of an unknown number,
//! bounds of one value sharing it (`smin=umin=5`), and the known bits if there are any. Numbers of
//! up to 16 bits are decimal, others hexadecimal. (Linux 6.18, `kernel/bpf/log.c`,
//! `print_reg_state`.)

use super::bounds::Bounds;
use super::scalar::{Scalar, ScalarOf};
use core::fmt;

/// An unsigned number: decimal up to 65535, else hexadecimal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unsigned(pub u64);

/// A signed number: decimal from -32768 to 32767, else hexadecimal in two's complement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signed(pub i64);

/// The bounds and bits of a register in parentheses, without the parentheses: empty for a number
/// of which nothing is known. Pointers print their variable part in the same way.
#[derive(Clone, Copy, Debug)]
pub struct Ranges<'a>(pub &'a Scalar);

impl fmt::Display for Unsigned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if u16::try_from(self.0).is_ok() {
            write!(f, "{}", self.0)
        } else {
            write!(f, "{:#x}", self.0)
        }
    }
}

impl fmt::Display for Signed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if i16::try_from(self.0).is_ok() {
            write!(f, "{}", self.0)
        } else {
            write!(f, "{:#x}", self.0)
        }
    }
}

/// A bound that is printed.
#[derive(Clone, Copy)]
struct Bound {
    name: &'static str,
    /// The number as compared with others: 32-bit signed bounds are sign-extended only if they are
    /// printed in decimal, where both widths look the same.
    bits: u64,
    signed: bool,
    shown: bool,
}

impl Bound {
    const fn is_negative(&self) -> bool {
        self.signed && (self.bits as i64) < 0
    }

    fn shares_value_of(&self, other: &Bound) -> bool {
        self.shown && self.bits == other.bits && self.is_negative() == other.is_negative()
    }
}

/// The eight bounds in the order of the log: signed and unsigned alternate in pairs.
fn bounds(scalar: &Scalar) -> [Bound; 8] {
    let (wide, low) = (scalar.wide(), scalar.low());
    let (full, half) = (Bounds::<64>::FULL, Bounds::<32>::FULL);
    let unsigned =
        |name, x: u64, default| Bound { name, bits: x, signed: false, shown: x != default };
    let signed =
        |name, x: i64, default| Bound { name, bits: x as u64, signed: true, shown: x != default };
    let signed_low = |name, x: i64, default| {
        let bits = if i16::try_from(x).is_ok() { x as u64 } else { u64::from(x as u32) };
        Bound { name, bits, signed: true, shown: x != default }
    };
    [
        signed("smin", wide.smin, full.smin),
        signed("smax", wide.smax, full.smax),
        unsigned("umin", wide.umin, full.umin),
        unsigned("umax", wide.umax, full.umax),
        signed_low("smin32", low.smin, half.smin),
        signed_low("smax32", low.smax, half.smax),
        unsigned("umin32", low.umin, half.umin),
        unsigned("umax32", low.umax, half.umax),
    ]
}

impl fmt::Display for Ranges<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bounds = bounds(self.0);
        let mut separator = "";
        for i in 0..bounds.len() {
            let bound = bounds[i];
            if !bound.shown {
                continue;
            }
            write!(f, "{separator}{}=", bound.name)?;
            separator = ",";
            // Minima share with minima, maxima with maxima.
            for other in bounds.iter_mut().skip(i + 2).step_by(2) {
                if other.shares_value_of(&bound) {
                    other.shown = false;
                    write!(f, "{}=", other.name)?;
                }
            }
            if bound.signed {
                Signed(bound.bits as i64).fmt(f)?;
            } else {
                Unsigned(bound.bits).fmt(f)?;
            }
        }
        if !self.0.tnum().is_unknown() {
            write!(f, "{separator}var_off={}", self.0.tnum())?;
        }
        Ok(())
    }
}

/// As the kernel's log prints a register without an id: `7`, `scalar()`, `scalar(umax=9)`.
impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.as_constant() {
            Some(x) => Signed(x as i64).fmt(f),
            None => write!(f, "scalar({})", Ranges(self)),
        }
    }
}

/// All components, as they are.
impl<const W: u32, const H: u32> fmt::Debug for ScalarOf<W, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (wide, low) = (self.wide(), self.low());
        write!(
            f,
            "u{W}[{:#x}, {:#x}] s{W}[{}, {}] u{H}[{:#x}, {:#x}] s{H}[{}, {}] bits {}",
            wide.umin,
            wide.umax,
            wide.smin,
            wide.smax,
            low.umin,
            low.umax,
            low.smin,
            low.smax,
            self.tnum()
        )
    }
}

#[cfg(test)]
mod tests {
    use crate::domain::Scalar;
    use skep_bpf::insn::Extend;
    use skep_bpf::op::{AluOp, Size, Width};

    // Lines of the log of Linux 6.18.
    #[test]
    fn printed_as_the_kernel_does() {
        assert_eq!(Scalar::UNKNOWN.to_string(), "scalar()");
        assert_eq!(Scalar::constant(-14_i64 as u64).to_string(), "-14");
        assert_eq!(Scalar::constant(1 << 15).to_string(), "0x8000");
        assert_eq!(
            Scalar::loaded(Size::B, Extend::Zero).to_string(),
            "scalar(smin=smin32=0,smax=umax=smax32=umax32=255,var_off=(0x0; 0xff))"
        );
        let signed = Scalar::loaded(Size::B, Extend::Sign);
        assert_eq!(signed.to_string(), "scalar(smin=smin32=-128,smax=smax32=127)");
        let negated = signed.neg(Width::W64);
        assert_eq!(negated.to_string(), "scalar(smin=smin32=-127,smax=smax32=128)");
        assert_eq!(
            negated.alu(AluOp::Lsh, Width::W64, Scalar::constant(32)).to_string(),
            "scalar(smin=0xffffff8100000000,smax=0x8000000000,umax=0xffffffff00000000,smin32=0,\
             smax32=umax32=0,var_off=(0x0; 0xffffffff00000000))"
        );
    }
}
