//! Two intervals of one number: as unsigned and as signed.
//!
//! **Lattice.** [umin, umax] and [smin, smax]; gamma = the numbers that lie in both. **Order.**
//! Containment of both intervals. **Transfer.** Each interval by itself: where an end may wrap and
//! the other not, the interval becomes full; if both ends wrap, every sum in between does too, and
//! the wrapped interval is exact. Signed intervals that wrap become full.
//!
//! An interval may become empty (min > max) while several conclusions are drawn; see
//! [`Bounds::is_consistent`]. A finished [`Scalar`](super::Scalar) has none that is.

use super::bits::Bits;
use super::tnum::TnumOf;

/// The intervals of a number of `N` bits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Bounds<const N: u32> {
    /// The least value, unsigned.
    pub umin: u64,
    /// The greatest value, unsigned.
    pub umax: u64,
    /// The least value, signed.
    pub smin: i64,
    /// The greatest value, signed.
    pub smax: i64,
}

impl<const N: u32> Bounds<N> {
    /// The intervals that hold every number.
    pub const FULL: Self =
        Self { umin: 0, umax: Bits::<N>::MAX, smin: Bits::<N>::SMIN, smax: Bits::<N>::SMAX };

    /// One number.
    #[inline(always)]
    #[must_use]
    pub const fn point(x: u64) -> Self {
        let (u, s) = (Bits::<N>::trim(x), Bits::<N>::signed(x));
        Self { umin: u, umax: u, smin: s, smax: s }
    }

    /// Whether neither interval is empty. (The two may still have no number in common.)
    #[inline(always)]
    #[must_use]
    pub const fn is_consistent(&self) -> bool {
        self.umin <= self.umax && self.smin <= self.smax
    }

    /// Whether both intervals hold one number only.
    #[inline(always)]
    #[must_use]
    pub const fn is_point(&self) -> bool {
        self.umin == self.umax && self.smin == self.smax
    }

    /// Whether a number lies in both intervals.
    #[inline(always)]
    #[must_use]
    pub const fn contains(&self, x: u64) -> bool {
        let (u, s) = (Bits::<N>::trim(x), Bits::<N>::signed(x));
        self.umin <= u && u <= self.umax && self.smin <= s && s <= self.smax
    }

    /// Whether both intervals lie in those of `other`.
    #[inline(always)]
    #[must_use]
    pub const fn within(&self, other: &Self) -> bool {
        other.umin <= self.umin
            && self.umax <= other.umax
            && other.smin <= self.smin
            && self.smax <= other.smax
    }

    /// The least intervals that hold those of both.
    #[inline(always)]
    #[must_use]
    pub fn join(self, other: Self) -> Self {
        Self {
            umin: self.umin.min(other.umin),
            umax: self.umax.max(other.umax),
            smin: self.smin.min(other.smin),
            smax: self.smax.max(other.smax),
        }
    }

    /// The intersections.
    #[inline(always)]
    #[must_use]
    pub fn meet(mut self, other: Self) -> Self {
        self.meet_unsigned(other.umin, other.umax);
        self.meet_signed(other.smin, other.smax);
        self
    }

    #[inline(always)]
    pub(super) fn meet_unsigned(&mut self, min: u64, max: u64) {
        self.umin = self.umin.max(min);
        self.umax = self.umax.min(max);
    }

    #[inline(always)]
    pub(super) fn meet_signed(&mut self, min: i64, max: i64) {
        self.smin = self.smin.max(min);
        self.smax = self.smax.min(max);
    }

    /// Tightens both intervals to the extreme members of a tristate number.
    #[inline(always)]
    pub(super) fn learn_from(&mut self, tnum: TnumOf<N>) {
        self.meet_unsigned(tnum.value(), tnum.max());
        self.meet_signed(tnum.signed_min(), tnum.signed_max());
    }

    /// Lets the two intervals learn from each other.
    ///
    /// An interval that does not cross the boundary of the other's order (0x7f..f to 0x80..0 for
    /// unsigned, -1 to 0 for signed) is one interval in that order as well. A signed interval that
    /// crosses is, seen unsigned, two pieces at the two ends; if the unsigned interval misses one
    /// piece, only the other remains.
    #[inline(always)]
    pub(super) fn exchange(&mut self) {
        let as_signed = (Bits::<N>::signed(self.umin), Bits::<N>::signed(self.umax));
        if as_signed.0 <= as_signed.1 {
            self.meet_signed(as_signed.0, as_signed.1);
        }
        let (low, high) = (Bits::<N>::unsigned(self.smin), Bits::<N>::unsigned(self.smax));
        if low <= high {
            self.meet_unsigned(low, high);
        } else if self.umax < low {
            // Only the piece 0..=smax remains.
            self.smin = Bits::<N>::signed(self.umin);
            self.umax = self.umax.min(high);
        } else if high < self.umin {
            // Only the piece smin..=-1 remains.
            self.smax = Bits::<N>::signed(self.umax);
            self.umin = self.umin.max(low);
        }
    }

    /// Sum.
    #[inline(always)]
    pub(super) fn add(self, other: Self) -> Self {
        let (umin, min_wraps) = Bits::<N>::add(self.umin, other.umin);
        let (umax, max_wraps) = Bits::<N>::add(self.umax, other.umax);
        let smin = Bits::<N>::signed_add(self.smin, other.smin);
        let smax = Bits::<N>::signed_add(self.smax, other.smax);
        // The greatest sum is the first to wrap.
        let split = max_wraps && !min_wraps;
        Self::from_ends((!split).then_some((umin, umax)), smin.zip(smax))
    }

    /// Difference.
    #[inline(always)]
    pub(super) fn sub(self, other: Self) -> Self {
        let (umin, min_wraps) = Bits::<N>::sub(self.umin, other.umax);
        let (umax, max_wraps) = Bits::<N>::sub(self.umax, other.umin);
        let smin = Bits::<N>::signed_sub(self.smin, other.smax);
        let smax = Bits::<N>::signed_sub(self.smax, other.smin);
        // The least difference is the first to wrap.
        let split = min_wraps && !max_wraps;
        Self::from_ends((!split).then_some((umin, umax)), smin.zip(smax))
    }

    /// Product: of signed intervals an extreme product is one of the ends'.
    #[inline(always)]
    pub(super) fn mul(self, other: Self) -> Self {
        let unsigned =
            Bits::<N>::mul(self.umin, other.umin).zip(Bits::<N>::mul(self.umax, other.umax));
        let ends = (
            Bits::<N>::signed_mul(self.smin, other.smin),
            Bits::<N>::signed_mul(self.smin, other.smax),
            Bits::<N>::signed_mul(self.smax, other.smin),
            Bits::<N>::signed_mul(self.smax, other.smax),
        );
        let signed = match ends {
            (Some(a), Some(b), Some(c), Some(d)) => {
                Some((a.min(b).min(c).min(d), a.max(b).max(c).max(d)))
            }
            _ => None,
        };
        Self::from_ends(unsigned, signed)
    }

    /// Bitwise and, given the result's bits: it is at most the lesser operand.
    #[inline(always)]
    pub(super) fn and(self, other: Self, result: TnumOf<N>) -> Self {
        Self::from_unsigned(result.value(), self.umax.min(other.umax))
    }

    /// Bitwise or, given the result's bits: it is at least the greater operand.
    #[inline(always)]
    pub(super) fn or(self, other: Self, result: TnumOf<N>) -> Self {
        Self::from_unsigned(self.umin.max(other.umin), result.max())
    }

    /// Bitwise exclusive or, given the result's bits, of which alone it follows.
    #[inline(always)]
    pub(super) fn xor(result: TnumOf<N>) -> Self {
        Self::from_unsigned(result.value(), result.max())
    }

    /// An unsigned interval; the signed one is the same if it can be, else full.
    #[inline(always)]
    pub(super) fn from_unsigned(umin: u64, umax: u64) -> Self {
        let signed = (Bits::<N>::signed(umin), Bits::<N>::signed(umax));
        Self::from_ends(Some((umin, umax)), (signed.0 <= signed.1).then_some(signed))
    }

    /// The given intervals, full where there is none.
    #[inline(always)]
    pub(super) fn from_ends(unsigned: Option<(u64, u64)>, signed: Option<(i64, i64)>) -> Self {
        let (umin, umax) = unsigned.unwrap_or((Self::FULL.umin, Self::FULL.umax));
        let (smin, smax) = signed.unwrap_or((Self::FULL.smin, Self::FULL.smax));
        Self { umin, umax, smin, smax }
    }
}
