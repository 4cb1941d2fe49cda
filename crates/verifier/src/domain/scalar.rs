//! The product of the five components, and how they learn from each other.
//!
//! A scalar that can be held is consistent: no interval is empty. Conclusions that contradict each
//! other (the path is impossible, or the operands were) show as an empty interval inside this
//! module and leave it as `None`, or with all intervals forgotten, which is what Linux does.

use super::bits::Bits;
use super::bounds::Bounds;
use super::tnum::TnumOf;

/// What is known about a 64-bit number.
pub type Scalar = ScalarOf<64, 32>;

/// What is known about a number of `W` bits and its low half of `H` bits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ScalarOf<const W: u32, const H: u32> {
    tnum: TnumOf<W>,
    umin: u64,
    umax: u64,
    smin: i64,
    smax: i64,
    umin_low: u32,
    umax_low: u32,
    smin_low: i32,
    smax_low: i32,
}

/// The components while conclusions are drawn: an interval may be empty.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Parts<const W: u32, const H: u32> {
    pub(super) tnum: TnumOf<W>,
    pub(super) wide: Bounds<W>,
    pub(super) low: Bounds<H>,
}

impl<const W: u32, const H: u32> ScalarOf<W, H> {
    /// The number of which nothing is known.
    pub const UNKNOWN: Self =
        Parts { tnum: TnumOf::UNKNOWN, wide: Bounds::FULL, low: Bounds::FULL }.pack();

    /// A known number.
    #[inline(always)]
    #[must_use]
    pub const fn constant(x: u64) -> Self {
        Parts { tnum: TnumOf::constant(x), wide: Bounds::point(x), low: Bounds::point(x) }.pack()
    }

    /// Components as given, without letting them learn from each other: `None` if an interval is
    /// empty. The 32-bit bounds are those of the low half.
    #[must_use]
    pub fn from_parts(tnum: TnumOf<W>, wide: Bounds<W>, low: Bounds<H>) -> Option<Self> {
        Parts { tnum, wide, low }.consistent()
    }

    /// The numbers of an unsigned interval.
    #[must_use]
    pub fn range(umin: u64, umax: u64) -> Option<Self> {
        let wide = Bounds::from_ends(Some((umin, umax)), None);
        Parts { tnum: TnumOf::UNKNOWN, wide, low: Bounds::FULL }.sync().consistent()
    }

    /// The numbers of a signed interval.
    #[must_use]
    pub fn signed_range(smin: i64, smax: i64) -> Option<Self> {
        let wide = Bounds::from_ends(None, Some((smin, smax)));
        Parts { tnum: TnumOf::UNKNOWN, wide, low: Bounds::FULL }.sync().consistent()
    }

    /// The numbers that also lie in a signed interval; `None` if there is none.
    #[must_use]
    pub fn clamp_signed(self, smin: i64, smax: i64) -> Option<Self> {
        let mut parts = self.parts();
        parts.wide.meet_signed(smin, smax);
        parts.sync().consistent()
    }

    /// The known bits.
    #[inline(always)]
    #[must_use]
    pub const fn tnum(&self) -> TnumOf<W> {
        self.tnum
    }

    /// The intervals of the whole number.
    #[inline(always)]
    #[must_use]
    pub const fn wide(&self) -> Bounds<W> {
        Bounds { umin: self.umin, umax: self.umax, smin: self.smin, smax: self.smax }
    }

    /// The intervals of the low half.
    #[inline(always)]
    #[must_use]
    pub const fn low(&self) -> Bounds<H> {
        Bounds {
            umin: self.umin_low as u64,
            umax: self.umax_low as u64,
            smin: self.smin_low as i64,
            smax: self.smax_low as i64,
        }
    }

    /// The number, if all bits are known.
    #[inline(always)]
    #[must_use]
    pub const fn as_constant(&self) -> Option<u64> {
        self.tnum.as_constant()
    }

    /// The low half, if all its bits are known.
    #[inline(always)]
    #[must_use]
    pub const fn as_low_constant(&self) -> Option<u64> {
        self.tnum.narrow::<H>().as_constant()
    }

    /// Whether nothing is known.
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        *self == Self::UNKNOWN
    }

    /// Whether a number is a member of all five components.
    #[inline(always)]
    #[must_use]
    pub const fn contains(&self, x: u64) -> bool {
        self.tnum.contains(x) && self.wide().contains(x) && self.low().contains(x)
    }

    /// Whether each component lies in that of `other`: what was proved for `other` holds for
    /// `self` (the kernel's `range_within` and `tnum_in`).
    #[inline]
    #[must_use]
    pub const fn within(&self, other: &Self) -> bool {
        self.wide().within(&other.wide())
            && self.low().within(&other.low())
            && self.tnum.within(other.tnum)
    }

    /// The least scalar whose components hold those of both.
    #[must_use]
    pub fn join(self, other: Self) -> Self {
        Parts {
            tnum: self.tnum.join(other.tnum),
            wide: self.wide().join(other.wide()),
            low: self.low().join(other.low()),
        }
        .pack()
    }

    /// The same with the components made to learn from each other, as after every operation;
    /// `None` if they contradict each other.
    #[must_use]
    pub fn sync(self) -> Option<Self> {
        self.parts().sync().consistent()
    }

    #[inline(always)]
    pub(super) const fn parts(self) -> Parts<W, H> {
        Parts { tnum: self.tnum, wide: self.wide(), low: self.low() }
    }
}

impl<const W: u32, const H: u32> Parts<W, H> {
    /// The scalar, if no interval is empty.
    #[inline(always)]
    pub(super) const fn consistent(self) -> Option<ScalarOf<W, H>> {
        if self.wide.is_consistent() && self.low.is_consistent() { Some(self.pack()) } else { None }
    }

    /// The scalar; if an interval is empty, all intervals are forgotten, as Linux does.
    #[inline(always)]
    pub(super) fn settle(self) -> ScalarOf<W, H> {
        self.consistent().unwrap_or_else(|| {
            Parts { tnum: self.tnum, wide: Bounds::FULL, low: Bounds::FULL }.pack()
        })
    }

    #[inline(always)]
    const fn pack(self) -> ScalarOf<W, H> {
        ScalarOf {
            tnum: self.tnum,
            umin: self.wide.umin,
            umax: self.wide.umax,
            smin: self.wide.smin,
            smax: self.wide.smax,
            umin_low: self.low.umin as u32,
            umax_low: self.low.umax as u32,
            smin_low: self.low.smin as i32,
            smax_low: self.low.smax as i32,
        }
    }

    /// The low half of the known bits.
    #[inline(always)]
    pub(super) const fn low_tnum(&self) -> TnumOf<H> {
        self.tnum.narrow()
    }

    /// Lets the components learn from each other: intervals from bits, intervals from intervals in
    /// three rounds, bits from intervals, and intervals from bits once more. Order and number of
    /// the steps are Linux 6.18's; a round that changes nothing would be repeated in vain.
    #[inline(always)]
    pub(super) fn sync(self) -> Self {
        if self.knows_nothing_more() {
            debug_assert!(self.sync_in_full() == self);
            return self;
        }
        self.sync_in_full()
    }

    /// Whether nothing is known of the whole number, or of the low half of one whose upper half is
    /// zero: the components have nothing to learn, and in hashes most numbers are such.
    #[inline(always)]
    fn knows_nothing_more(&self) -> bool {
        let (max, signed_max) = (Bits::<H>::MAX, Bits::<H>::MAX as i64);
        let wide = if self.tnum.is_unknown() {
            Bounds::FULL
        } else if self.tnum == TnumOf::UNKNOWN.low(H) {
            Bounds { umin: 0, umax: max, smin: 0, smax: signed_max }
        } else {
            return false;
        };
        self.low == Bounds::FULL && self.wide == wide
    }

    #[inline(always)]
    fn sync_in_full(mut self) -> Self {
        self.learn_from_tnum();
        if let Some(x) = self.tnum.as_constant()
            && self.wide.is_point()
            && self.low.is_point()
        {
            debug_assert!(!self.wide.is_consistent() || self.wide.contains(x));
            return self;
        }
        for _ in 0..3 {
            let before = self;
            self.exchange();
            if self == before {
                break;
            }
        }
        self.learn_bits();
        self.learn_from_tnum();
        self
    }

    /// The intervals from the bits. If the unsigned interval and the bits have one number in
    /// common, it is that.
    #[inline(always)]
    pub(super) fn learn_from_tnum(&mut self) {
        self.low.learn_from(self.low_tnum());
        self.wide.learn_from(self.tnum);
        if let Some(x) = self.only_member() {
            *self =
                Parts { tnum: TnumOf::constant(x), wide: Bounds::point(x), low: Bounds::point(x) };
        }
    }

    /// The number that the bits and the unsigned interval alone have in common.
    #[inline(always)]
    fn only_member(&self) -> Option<u64> {
        let Bounds { umin, umax, .. } = self.wide;
        let next = self.tnum.step(umin);
        if self.tnum.contains(umin) {
            return (next > umax).then_some(umin);
        }
        let only = next == self.tnum.max() || next <= umax && self.tnum.step(next) > umax;
        only.then_some(next)
    }

    /// One round of exchange between the intervals.
    #[inline(always)]
    fn exchange(&mut self) {
        self.low_from_wide();
        self.low.exchange();
        self.wide.exchange();
        self.wide_from_low();
    }

    /// The low half's intervals from the whole number's.
    #[inline(always)]
    fn low_from_wide(&mut self) {
        let Bounds { umin, umax, smin, smax } = self.wide;
        let signed_ends = (Bits::<W>::unsigned(smin), Bits::<W>::unsigned(smax));
        // With one upper half throughout, the low halves form an interval.
        if umin >> H == umax >> H {
            self.low.meet_unsigned(Bits::<H>::trim(umin), Bits::<H>::trim(umax));
            self.meet_low_signed(umin, umax);
        }
        if signed_ends.0 >> H == signed_ends.1 >> H {
            let (min, max) = (Bits::<H>::trim(signed_ends.0), Bits::<H>::trim(signed_ends.1));
            if min <= max {
                self.low.meet_unsigned(min, max);
            }
            self.meet_low_signed(signed_ends.0, signed_ends.1);
        }
        // With two successive upper halves, an interval from a low half that is negative to one
        // that is not passes through 0 once: a signed interval.
        for (min, max) in [(umin, umax), signed_ends] {
            let successive = Bits::<H>::trim((min >> H).wrapping_add(1)) == max >> H;
            if successive && Bits::<H>::signed(min) < 0 && Bits::<H>::signed(max) >= 0 {
                self.low.meet_signed(Bits::<H>::signed(min), Bits::<H>::signed(max));
            }
        }
    }

    #[inline(always)]
    fn meet_low_signed(&mut self, min: u64, max: u64) {
        let (min, max) = (Bits::<H>::signed(min), Bits::<H>::signed(max));
        if min <= max {
            self.low.meet_signed(min, max);
        }
    }

    /// The whole number's intervals from the low half's: an end keeps its upper half and takes the
    /// low half's end.
    #[inline(always)]
    fn wide_from_low(&mut self) {
        self.replace_low_ends(self.low.umin, self.low.umax);
        let signed = (Bits::<H>::unsigned(self.low.smin), Bits::<H>::unsigned(self.low.smax));
        if signed.0 <= signed.1 {
            self.replace_low_ends(signed.0, signed.1);
        }
        // A sign-extended low half (whole number in the half's signed range) that is not negative
        // is the whole number. Linux replaces the intervals by the half's, even where they were
        // tighter, and so do we.
        let half = Bounds::<H>::FULL;
        if self.low.smin >= 0 && self.wide.smin >= half.smin && self.wide.smax <= half.smax {
            let (min, max) = (self.low.smin, self.low.smax);
            let unsigned = (Bits::<W>::unsigned(min), Bits::<W>::unsigned(max));
            self.wide = Bounds { umin: unsigned.0, umax: unsigned.1, smin: min, smax: max };
            self.tnum = self.tnum.meet(TnumOf::range(unsigned.0, unsigned.1));
        }
    }

    #[inline(always)]
    fn replace_low_ends(&mut self, min: u64, max: u64) {
        let upper = !Bits::<H>::MAX;
        let Bounds { umin, umax, smin, smax } = self.wide;
        self.wide.meet_unsigned((umin & upper) | min, (umax & upper) | max);
        let signed = ((smin as u64 & upper) | min, (smax as u64 & upper) | max);
        self.wide.meet_signed(signed.0 as i64, signed.1 as i64);
    }

    /// The bits from the unsigned intervals.
    #[inline(always)]
    fn learn_bits(&mut self) {
        let tnum = self.tnum.meet(TnumOf::range(self.wide.umin, self.wide.umax));
        let low = tnum.low(H).meet(TnumOf::range(self.low.umin, self.low.umax));
        self.tnum = tnum.with_low(H, low);
    }
}
