//! Arithmetic modulo 2^N on numbers kept in 64-bit words.
//!
//! Unsigned numbers are kept zero-extended, signed ones sign-extended. For N = 64 every adjustment
//! is the identity and vanishes in compilation; small N exist for exhaustive tests.

/// The numbers of `N` bits, 1 to 64.
pub(crate) struct Bits<const N: u32>;

impl<const N: u32> Bits<N> {
    /// The largest unsigned number; also the mask of the `N` bits.
    pub(crate) const MAX: u64 = u64::MAX >> (64 - N);
    /// The sign bit.
    pub(crate) const SIGN: u64 = 1 << (N - 1);
    /// The smallest signed number.
    pub(crate) const SMIN: i64 = i64::MIN >> (64 - N);
    /// The largest signed number.
    pub(crate) const SMAX: i64 = i64::MAX >> (64 - N);

    /// The low `N` bits.
    #[inline(always)]
    pub(crate) const fn trim(x: u64) -> u64 {
        x & Self::MAX
    }

    /// The low `N` bits as a signed number.
    #[inline(always)]
    pub(crate) const fn signed(x: u64) -> i64 {
        ((x << (64 - N)) as i64) >> (64 - N)
    }

    /// A signed number's bits.
    #[inline(always)]
    pub(crate) const fn unsigned(x: i64) -> u64 {
        Self::trim(x as u64)
    }

    /// Sum, and whether it left the unsigned range.
    #[inline(always)]
    pub(crate) const fn add(a: u64, b: u64) -> (u64, bool) {
        let (sum, carry) = a.overflowing_add(b);
        (Self::trim(sum), carry || Self::trim(sum) != sum)
    }

    /// Difference, and whether it left the unsigned range.
    #[inline(always)]
    pub(crate) const fn sub(a: u64, b: u64) -> (u64, bool) {
        (Self::trim(a.wrapping_sub(b)), a < b)
    }

    /// Product, or `None` if it leaves the unsigned range.
    #[inline(always)]
    pub(crate) const fn mul(a: u64, b: u64) -> Option<u64> {
        match a.checked_mul(b) {
            Some(product) if product <= Self::MAX => Some(product),
            _ => None,
        }
    }

    /// Signed sum, or `None` if it leaves the signed range.
    #[inline(always)]
    pub(crate) const fn signed_add(a: i64, b: i64) -> Option<i64> {
        Self::in_range(a.checked_add(b))
    }

    /// Signed difference, or `None` if it leaves the signed range.
    #[inline(always)]
    pub(crate) const fn signed_sub(a: i64, b: i64) -> Option<i64> {
        Self::in_range(a.checked_sub(b))
    }

    /// Signed product, or `None` if it leaves the signed range.
    #[inline(always)]
    pub(crate) const fn signed_mul(a: i64, b: i64) -> Option<i64> {
        Self::in_range(a.checked_mul(b))
    }

    #[inline(always)]
    const fn in_range(x: Option<i64>) -> Option<i64> {
        match x {
            Some(x) if x >= Self::SMIN && x <= Self::SMAX => Some(x),
            _ => None,
        }
    }
}
