//! Tristate numbers: every bit is 0, 1 or unknown.
//!
//! **Lattice.** A pair (value, mask): a set bit of the mask is unknown, any other has the value's.
//! gamma(t) = { x : x & !mask == value }; value and mask have no bit in common, so that equal sets
//! have one representation. **Order.** `a.within(b)`: what b knows, a knows too.
//! **Transfer.** Addition and subtraction are optimal: a result bit is unknown exactly if an
//! operand's bit or a carry into it is, and the carries that can differ are those in which the sums
//! of the least and of the greatest operands differ (Vishwanathan et al., "Sound, Precise, and Fast
//! Abstract Interpretation with Tristate Numbers", CGO 2022). Multiplication adds shifted operands,
//! taking the union of adding and not adding where the multiplier's bit is unknown.

use super::bits::Bits;
use super::print::Unsigned;
use core::fmt;

/// A tristate number of 64 bits.
pub type Tnum = TnumOf<64>;

/// A tristate number of `N` bits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TnumOf<const N: u32> {
    value: u64,
    mask: u64,
}

impl<const N: u32> TnumOf<N> {
    /// The number of which nothing is known.
    pub const UNKNOWN: Self = Self { value: 0, mask: Bits::<N>::MAX };

    /// The number with these known ones and unknown bits; a bit in both counts as unknown.
    #[inline(always)]
    #[must_use]
    pub const fn new(value: u64, mask: u64) -> Self {
        let mask = Bits::<N>::trim(mask);
        Self { value: Bits::<N>::trim(value) & !mask, mask }
    }

    /// A known number.
    #[inline(always)]
    #[must_use]
    pub const fn constant(value: u64) -> Self {
        Self { value: Bits::<N>::trim(value), mask: 0 }
    }

    /// The least that holds all of `min..=max`: what both ends agree on from the top is known.
    #[inline(always)]
    #[must_use]
    pub const fn range(min: u64, max: u64) -> Self {
        let differ = Bits::<N>::trim(min ^ max);
        let unknown = match differ.checked_ilog2() {
            Some(top) => u64::MAX >> (63 - top),
            None => 0,
        };
        Self::new(min, unknown)
    }

    /// The bits known to be 1.
    #[inline(always)]
    #[must_use]
    pub const fn value(self) -> u64 {
        self.value
    }

    /// The bits that are not known.
    #[inline(always)]
    #[must_use]
    pub const fn mask(self) -> u64 {
        self.mask
    }

    /// The greatest member, unsigned; the least is [`value`](Self::value).
    #[inline(always)]
    #[must_use]
    pub const fn max(self) -> u64 {
        self.value | self.mask
    }

    /// The least member, signed: the sign bit set if it may be, all other unknown bits clear.
    #[inline(always)]
    #[must_use]
    pub const fn signed_min(self) -> i64 {
        Bits::<N>::signed(self.value | (self.mask & Bits::<N>::SIGN))
    }

    /// The greatest member, signed.
    #[inline(always)]
    #[must_use]
    pub const fn signed_max(self) -> i64 {
        Bits::<N>::signed(self.value | (self.mask & !Bits::<N>::SIGN))
    }

    /// The number, if all bits are known.
    #[inline(always)]
    #[must_use]
    pub const fn as_constant(self) -> Option<u64> {
        if self.mask == 0 { Some(self.value) } else { None }
    }

    /// Whether all bits are known.
    #[inline(always)]
    #[must_use]
    pub const fn is_constant(self) -> bool {
        self.mask == 0
    }

    /// Whether no bit is known.
    #[inline(always)]
    #[must_use]
    pub const fn is_unknown(self) -> bool {
        self.mask == Bits::<N>::MAX
    }

    /// Whether a number is a member.
    #[inline(always)]
    #[must_use]
    pub const fn contains(self, x: u64) -> bool {
        Bits::<N>::trim(x) & !self.mask == self.value
    }

    /// Whether every member is one of `other`.
    #[inline(always)]
    #[must_use]
    pub const fn within(self, other: Self) -> bool {
        self.mask & !other.mask == 0 && self.value & !other.mask == other.value
    }

    /// Whether some number is a member of both: no bit known as 0 here and as 1 there.
    #[inline(always)]
    #[must_use]
    pub const fn overlaps(self, other: Self) -> bool {
        let known = !(self.mask | other.mask);
        (self.value ^ other.value) & known == 0
    }

    /// Whether every member is a multiple of a power of two.
    #[inline(always)]
    #[must_use]
    pub const fn is_aligned(self, power_of_two: u64) -> bool {
        self.max() & power_of_two.wrapping_sub(1) == 0 || power_of_two == 0
    }

    /// Sum.
    #[inline(always)]
    #[must_use]
    pub const fn add(self, other: Self) -> Self {
        let least = self.value.wrapping_add(other.value);
        let greatest = self.max().wrapping_add(other.max());
        Self::new(least, (least ^ greatest) | self.mask | other.mask)
    }

    /// Difference.
    #[inline(always)]
    #[must_use]
    pub const fn sub(self, other: Self) -> Self {
        let greatest = self.max().wrapping_sub(other.value);
        let least = self.value.wrapping_sub(other.max());
        let unknown = (least ^ greatest) | self.mask | other.mask;
        Self::new(self.value.wrapping_sub(other.value), unknown)
    }

    /// Negation.
    #[inline(always)]
    #[must_use]
    pub const fn neg(self) -> Self {
        Self::constant(0).sub(self)
    }

    /// Bitwise and.
    #[inline(always)]
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        let value = self.value & other.value;
        Self { value, mask: self.max() & other.max() & !value }
    }

    /// Bitwise or.
    #[inline(always)]
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        let value = self.value | other.value;
        Self { value, mask: (self.mask | other.mask) & !value }
    }

    /// Bitwise exclusive or.
    #[inline(always)]
    #[must_use]
    pub const fn xor(self, other: Self) -> Self {
        Self::new(self.value ^ other.value, self.mask | other.mask)
    }

    /// Product.
    #[must_use]
    pub const fn mul(self, other: Self) -> Self {
        let mut sum = Self::constant(0);
        let mut bits = self.max();
        while bits != 0 {
            let bit = bits.trailing_zeros();
            let added = sum.add(other.shl(bit));
            sum = if self.value >> bit & 1 == 1 { added } else { sum.join(added) };
            bits &= bits - 1;
        }
        sum
    }

    /// Left shift by a known amount below `N`.
    #[inline(always)]
    #[must_use]
    pub const fn shl(self, by: u32) -> Self {
        Self::new(self.value << by, self.mask << by)
    }

    /// Logical right shift by a known amount below `N`.
    #[inline(always)]
    #[must_use]
    pub const fn shr(self, by: u32) -> Self {
        Self { value: self.value >> by, mask: self.mask >> by }
    }

    /// Arithmetic right shift by a known amount below `N`: an unknown sign is repeated as unknown.
    #[inline(always)]
    #[must_use]
    pub const fn sar(self, by: u32) -> Self {
        let value = Bits::<N>::signed(self.value) >> by;
        let mask = Bits::<N>::signed(self.mask) >> by;
        Self::new(value as u64, mask as u64)
    }

    /// What both know together. If they contradict each other, a bit known as 0 by one and as 1 by
    /// the other comes out as 1: the result says nothing, see [`overlaps`](Self::overlaps).
    #[inline(always)]
    #[must_use]
    pub const fn meet(self, other: Self) -> Self {
        Self::new(self.value | other.value, self.mask & other.mask)
    }

    /// The least number that holds the members of both.
    #[inline(always)]
    #[must_use]
    pub const fn join(self, other: Self) -> Self {
        let differ = self.value ^ other.value;
        Self::new(self.value & other.value, differ | self.mask | other.mask)
    }

    /// The least member greater than `x`, if `x` lies between the least and the greatest; below,
    /// the least; from the greatest on, the greatest.
    #[inline(always)]
    #[must_use]
    pub const fn step(self, x: u64) -> u64 {
        if x < self.value {
            self.value
        } else if x >= self.max() {
            self.max()
        } else {
            match (self.value ^ x) & !self.mask {
                0 => self.step_member(x),
                differ => self.step_stranger(x, differ),
            }
        }
    }

    /// The next member after one that is not the greatest: adding 1 with the known bits set lets
    /// the carry run through them.
    #[inline(always)]
    const fn step_member(self, x: u64) -> u64 {
        ((x | !self.mask).wrapping_add(1) & self.mask) | self.value
    }

    /// The next member after a number that differs from all members in these known bits. It agrees
    /// with x above the highest of them.
    const fn step_stranger(self, x: u64, differ: u64) -> u64 {
        let top = 63 - differ.leading_zeros();
        let above = u64::MAX << top;
        let member = (x & self.mask & above) | self.value;
        if x >> top & 1 == 0 {
            // The members have a 1 where x has a 0: the least of those that agree above.
            return member;
        }
        // They have a 0: what agrees above is less than x, so that an unknown 0 there must rise.
        let raised = (x | !self.mask | !above).wrapping_add(1);
        (raised & self.mask & above) | self.value
    }

    /// The bytes of the low `bits` (16, 32 or 64) in reverse order, with zeros above.
    #[must_use]
    pub const fn swap_bytes(self, bits: u32) -> Self {
        let (value, mask) = (self.value.swap_bytes(), self.mask.swap_bytes());
        Self { value: value >> (64 - bits), mask: mask >> (64 - bits) }
    }

    /// The low `bits` bits, with zeros above.
    #[inline(always)]
    #[must_use]
    pub const fn low(self, bits: u32) -> Self {
        let keep = if bits >= 64 { u64::MAX } else { (1 << bits) - 1 };
        Self { value: self.value & keep, mask: self.mask & keep }
    }

    /// The low `bits` bits (below `N`) replaced by those of `low`.
    #[inline(always)]
    #[must_use]
    pub const fn with_low(self, bits: u32, low: Self) -> Self {
        let high = u64::MAX << bits;
        let low = low.low(bits);
        Self { value: (self.value & high) | low.value, mask: (self.mask & high) | low.mask }
    }

    /// The low `M` bits as a number of their own.
    #[inline(always)]
    #[must_use]
    pub const fn narrow<const M: u32>(self) -> TnumOf<M> {
        TnumOf { value: Bits::<M>::trim(self.value), mask: Bits::<M>::trim(self.mask) }
    }
}

/// As the kernel's log prints it: `255`, `0x10000`, `(0x0; 0xff)`.
impl<const N: u32> fmt::Display for TnumOf<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.as_constant() {
            Some(value) => Unsigned(value).fmt(f),
            None => write!(f, "({:#x}; {:#x})", self.value, self.mask),
        }
    }
}

impl<const N: u32> fmt::Debug for TnumOf<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn printed_as_the_kernel_does() {
        assert_eq!(Tnum::new(0, 0xff).to_string(), "(0x0; 0xff)");
        assert_eq!(Tnum::constant(65535).to_string(), "65535");
        assert_eq!(Tnum::constant(65536).to_string(), "0x10000");
    }

    #[test]
    fn ranges_know_their_common_top() {
        assert_eq!(Tnum::range(4, 7), Tnum::new(4, 3));
        assert_eq!(Tnum::range(5, 5), Tnum::constant(5));
        assert_eq!(Tnum::range(0, u64::MAX), Tnum::UNKNOWN);
        assert_eq!(Tnum::range(7, 8), Tnum::new(0, 15));
    }

    #[test]
    fn products_keep_common_factors() {
        // A multiple of four times six is a multiple of eight.
        let product = Tnum::new(0, 0xfc).mul(Tnum::constant(6));
        assert_eq!(product.max() & 7, 0);
        assert_eq!(
            Tnum::constant(u64::MAX).mul(Tnum::constant(3)),
            Tnum::constant(3u64.wrapping_neg())
        );
    }
}
