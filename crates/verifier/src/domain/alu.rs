//! Transfer functions of arithmetic.
//!
//! Bits and intervals are computed each by itself, then learn from each other. A 32-bit operation
//! works on the low halves; its result is zero-extended. Shifts move bits between the halves, so
//! that one half's intervals are forgotten and found again from the bits. Division, remainder and
//! shifts by an amount that is not known give an unknown number, at either width, as in Linux 6.18.

use super::bits::Bits;
use super::bounds::Bounds;
use super::scalar::{Parts, ScalarOf};
use super::tnum::TnumOf;
use skep_bpf::op::{AluOp, Width};

/// A shift.
#[derive(Clone, Copy)]
enum Shift {
    Left,
    Right,
    RightSigned,
}

impl<const W: u32, const H: u32> ScalarOf<W, H> {
    /// The result of `op` with `self` as destination and `src` as source. (Immediates are passed
    /// as constants, sign-extended to 64 bits.)
    #[inline]
    #[must_use]
    pub fn alu(self, op: AluOp, width: Width, src: Self) -> Self {
        match op {
            AluOp::Mov => match width {
                Width::W32 => src.zero_extend(),
                Width::W64 => src,
            },
            AluOp::Add => self.arithmetic(width, src, Bounds::add, Bounds::add, TnumOf::add),
            AluOp::Sub => self.arithmetic(width, src, Bounds::sub, Bounds::sub, TnumOf::sub),
            AluOp::Mul => self.arithmetic(width, src, Bounds::mul, Bounds::mul, TnumOf::mul),
            AluOp::And => {
                let tnum = self.tnum().and(src.tnum());
                self.bitwise(width, src, tnum, Bounds::and, Bounds::and)
            }
            AluOp::Or => {
                let tnum = self.tnum().or(src.tnum());
                self.bitwise(width, src, tnum, Bounds::or, Bounds::or)
            }
            AluOp::Xor => {
                let tnum = self.tnum().xor(src.tnum());
                self.bitwise(width, src, tnum, |_, _, t| Bounds::xor(t), |_, _, t| Bounds::xor(t))
            }
            AluOp::Lsh => self.shift(Shift::Left, width, src),
            AluOp::Rsh => self.shift(Shift::Right, width, src),
            AluOp::Arsh => self.shift(Shift::RightSigned, width, src),
            AluOp::Div | AluOp::Sdiv | AluOp::Mod | AluOp::Smod => Self::UNKNOWN,
        }
    }

    /// Negation.
    #[must_use]
    pub fn neg(self, width: Width) -> Self {
        Self::constant(0).alu(AluOp::Sub, width, self)
    }

    /// For a number that is 0 or -1 at a width (the outcome of an arithmetic shift by all but one
    /// bit): the two cases, -1 first. Linux explores them apart before `and` and `or` with a
    /// constant.
    #[must_use]
    pub fn split_sign_mask(self) -> Option<(Self, Self)> {
        if (self.wide().smin, self.wide().smax) == (-1, 0) {
            return Some((Self::constant(u64::MAX), Self::constant(0)));
        }
        if (self.low().smin, self.low().smax) != (-1, 0) {
            return None;
        }
        let case = |low| {
            let tnum = self.tnum().with_low(H, TnumOf::constant(low));
            Parts { tnum, wide: self.wide(), low: Bounds::point(low) }.settle()
        };
        Some((case(u64::MAX), case(0)))
    }

    /// Addition, subtraction, multiplication.
    #[inline(always)]
    fn arithmetic(
        self,
        width: Width,
        src: Self,
        wide: impl Fn(Bounds<W>, Bounds<W>) -> Bounds<W>,
        low: impl Fn(Bounds<H>, Bounds<H>) -> Bounds<H>,
        bits: impl Fn(TnumOf<W>, TnumOf<W>) -> TnumOf<W>,
    ) -> Self {
        let tnum = bits(self.tnum(), src.tnum());
        if self.is_point() && src.is_point() {
            return Self::constant(at_width::<W, H>(width, tnum.value()));
        }
        let low = low(self.low(), src.low());
        let parts = match width {
            Width::W32 => Parts { tnum, wide: Bounds::FULL, low }.zero_extended(),
            Width::W64 => Parts { tnum, wide: wide(self.wide(), src.wide()), low },
        };
        parts.sync().settle()
    }

    /// And, or, exclusive or: the intervals follow from those of the operands and the result's
    /// bits.
    #[inline(always)]
    fn bitwise(
        self,
        width: Width,
        src: Self,
        tnum: TnumOf<W>,
        wide: impl Fn(Bounds<W>, Bounds<W>, TnumOf<W>) -> Bounds<W>,
        low: impl Fn(Bounds<H>, Bounds<H>, TnumOf<H>) -> Bounds<H>,
    ) -> Self {
        if self.tnum().is_constant() && src.tnum().is_constant() {
            return Self::constant(at_width::<W, H>(width, tnum.value()));
        }
        let low = if self.as_low_constant().is_some() && src.as_low_constant().is_some() {
            Bounds::point(tnum.value())
        } else {
            low(self.low(), src.low(), tnum.narrow())
        };
        let mut parts = Parts { tnum, wide: wide(self.wide(), src.wide(), tnum), low };
        parts.learn_from_tnum();
        if width == Width::W32 {
            parts = parts.zero_extended();
        }
        parts.sync().settle()
    }

    fn shift(self, shift: Shift, width: Width, src: Self) -> Self {
        let (bits, known) = match width {
            Width::W32 => (H, src.as_low_constant().is_some() && src.low().is_point()),
            Width::W64 => (W, src.tnum().is_constant() && src.wide().is_point()),
        };
        // Linux asks for the whole source to be below the width, even of a 32-bit shift.
        let by = match u32::try_from(src.wide().umax) {
            Ok(by) if known && by < bits => by,
            _ => return Self::UNKNOWN,
        };
        let parts = match width {
            Width::W32 => self.parts().shift_low(shift, by).zero_extended(),
            Width::W64 => self.parts().shift_wide(shift, by),
        };
        parts.sync().settle()
    }

    #[inline(always)]
    fn is_point(&self) -> bool {
        self.tnum().is_constant() && self.wide().is_point() && self.low().is_point()
    }
}

/// A known result at its width.
#[inline(always)]
const fn at_width<const W: u32, const H: u32>(width: Width, x: u64) -> u64 {
    match width {
        Width::W32 => Bits::<H>::trim(x),
        Width::W64 => x,
    }
}

impl<const W: u32, const H: u32> Parts<W, H> {
    /// The upper half cleared, the whole number's intervals taken from the low half's.
    #[inline(always)]
    pub(super) fn zero_extended(self) -> Self {
        let Bounds { umin, umax, smin, smax } = self.low;
        let signed = if smin >= 0 && smax >= 0 { (smin, smax) } else { (0, Bits::<H>::MAX as i64) };
        Parts {
            tnum: self.tnum.low(H),
            wide: Bounds { umin, umax, smin: signed.0, smax: signed.1 },
            low: self.low,
        }
    }

    fn shift_low(self, shift: Shift, by: u32) -> Self {
        let half = self.low_tnum();
        let (tnum, low) = match shift {
            Shift::Left => (half.shl(by), self.low.shl(by)),
            Shift::Right => (half.shr(by), self.low.shr(by)),
            Shift::RightSigned => (half.sar(by), self.low.sar(by)),
        };
        let mut low = low;
        low.learn_from(tnum);
        Parts { tnum: TnumOf::new(tnum.value(), tnum.mask()), wide: Bounds::FULL, low }
    }

    fn shift_wide(self, shift: Shift, by: u32) -> Self {
        let (tnum, wide, low) = match shift {
            Shift::Left => {
                let mut wide = self.wide.shl(by);
                // Half of the pattern that sign-extends a low half: its signed interval is kept.
                if by == H {
                    (wide.smin, wide.smax) = (self.low.smin << H, self.low.smax << H);
                }
                let low = if by < H { self.low.shl(by) } else { Bounds::FULL };
                (self.tnum.shl(by), wide, low)
            }
            Shift::Right => (self.tnum.shr(by), self.wide.shr(by), Bounds::FULL),
            Shift::RightSigned => (self.tnum.sar(by), self.wide.sar(by), Bounds::FULL),
        };
        let mut parts = Parts { tnum, wide, low };
        parts.learn_from_tnum();
        parts
    }
}

impl<const N: u32> Bounds<N> {
    /// Left shift by less than `N`: nothing is known if a set bit may be shifted out (Linux counts
    /// as such all but the power of two that just fits).
    fn shl(self, by: u32) -> Self {
        let fits = self.umax <= 1 << (N - 1 - by);
        Self::from_ends(fits.then(|| (self.umin << by, self.umax << by)), None)
    }

    /// Logical right shift; the signed interval is left to be found from the unsigned one.
    fn shr(self, by: u32) -> Self {
        Self::from_ends(Some((self.umin >> by, self.umax >> by)), None)
    }

    /// Arithmetic right shift; the unsigned interval is left to be found from the signed one.
    fn sar(self, by: u32) -> Self {
        Self::from_ends(None, Some((self.smin >> by, self.smax >> by)))
    }
}
