//! Transfer functions of moves and loads that change the width, and of byte swaps.

use super::bits::Bits;
use super::bounds::Bounds;
use super::scalar::{Parts, Scalar, ScalarOf};
use super::tnum::TnumOf;
use skep_bpf::insn::Extend;
use skep_bpf::op::{Endian, Movsx, Size, SwapBits, Width};

impl Scalar {
    /// What a load of so many bytes of unknown contents gives.
    #[must_use]
    pub fn loaded(size: Size, extend: Extend) -> Self {
        match (size, extend) {
            (Size::Dw, _) => Self::UNKNOWN,
            (_, Extend::Zero) => Self::of_bits(size.bytes() * 8),
            (_, Extend::Sign) => Self::UNKNOWN.sign_extend(size.bytes() * 8),
        }
    }

    /// The numbers of `bits` bits (at most 32), which is what truncation of one of which nothing is
    /// known comes to.
    fn of_bits(bits: u32) -> Self {
        let max = (1 << bits) - 1;
        let low = if bits < 32 {
            Bounds { umin: 0, umax: max, smin: 0, smax: max as i64 }
        } else {
            Bounds::FULL
        };
        let wide = Bounds { umin: 0, umax: max, smin: 0, smax: max as i64 };
        Parts { tnum: TnumOf::UNKNOWN.low(bits), wide, low }.settle()
    }

    /// The low bytes of a number, extended, as a load reads them from memory.
    #[must_use]
    pub fn extended(self, size: Size, extend: Extend) -> Self {
        match (size, extend) {
            (Size::Dw, _) => self,
            (_, Extend::Zero) if self.is_unknown() => Self::loaded(size, extend),
            (_, Extend::Zero) => self.truncate(size.bytes() * 8),
            (_, Extend::Sign) => self.sign_extend(size.bytes() * 8),
        }
    }

    /// A sign-extending move of `self`.
    #[must_use]
    pub fn movsx(self, op: Movsx) -> Self {
        let bits = u32::from(op.row().from_bits);
        match op.row().width {
            Width::W64 => self.sign_extend(bits),
            Width::W32 => self.sign_extend_low(bits),
        }
    }

    /// A byte swap: bits move with their bytes, intervals follow from them.
    #[must_use]
    pub fn swap_bytes(self, op: Endian, bits: SwapBits) -> Self {
        let bits = u32::from(bits.row().bits);
        let mut parts = self.parts();
        if op != Endian::Le {
            let tnum = self.tnum().swap_bytes(bits);
            parts = Parts { tnum, wide: Bounds::FULL, low: Bounds::FULL };
        }
        if bits < 64 {
            parts = parts.truncated(bits);
        }
        parts.sync().settle()
    }
}

impl<const W: u32, const H: u32> ScalarOf<W, H> {
    /// The low half, zero-extended: a 32-bit move.
    #[must_use]
    pub fn zero_extend(self) -> Self {
        self.parts().zero_extended().sync().settle()
    }

    /// The low `bits` bits (below `W`), zero-extended.
    #[must_use]
    pub fn truncate(self, bits: u32) -> Self {
        self.parts().truncated(bits).settle()
    }

    /// The low `bits` bits (below `W`), sign-extended to the whole number.
    #[must_use]
    pub fn sign_extend(self, bits: u32) -> Self {
        if let Some(x) = self.tnum().as_constant() {
            return Self::constant(sign_extended(x as i64, bits) as u64);
        }
        let Bounds { smin, smax, .. } = self.wide();
        match extended_interval(smin, smax, bits) {
            Some((min, max)) => {
                let ends = (Bits::<W>::unsigned(min), Bits::<W>::unsigned(max));
                Parts {
                    tnum: TnumOf::range(ends.0, ends.1),
                    wide: Bounds { umin: ends.0, umax: ends.1, smin: min, smax: max },
                    low: low_of_same_sign(min, max),
                }
                .settle()
            }
            None => {
                let (min, max) = signed_limits(bits);
                Parts {
                    tnum: TnumOf::UNKNOWN,
                    wide: Bounds::from_ends(None, Some((min, max))),
                    low: Bounds::from_ends(None, Some((min, max))),
                }
                .settle()
            }
        }
    }

    /// The low `bits` bits (below `H`), sign-extended to the low half, the upper half cleared.
    #[must_use]
    pub fn sign_extend_low(self, bits: u32) -> Self {
        let parts = if let Some(x) = self.tnum().as_constant() {
            let x = sign_extended(x as i64, bits) as u64;
            Parts { tnum: TnumOf::constant(x), wide: self.wide(), low: Bounds::point(x) }
        } else {
            let Bounds { smin, smax, .. } = self.low();
            match extended_interval(smin, smax, bits) {
                Some((min, max)) => {
                    let ends = (Bits::<W>::unsigned(min), Bits::<W>::unsigned(max));
                    let low = low_of_same_sign(min, max);
                    Parts { tnum: TnumOf::range(ends.0, ends.1), wide: self.wide(), low }
                }
                None => {
                    let low = Bounds::from_ends(None, Some(signed_limits(bits)));
                    Parts { tnum: TnumOf::UNKNOWN, wide: self.wide(), low }
                }
            }
        };
        parts.zero_extended().sync().settle()
    }
}

impl<const W: u32, const H: u32> Parts<W, H> {
    fn truncated(self, bits: u32) -> Self {
        let mask = (1 << bits) - 1;
        let Bounds { umin, umax, .. } = self.wide;
        let (umin, umax) =
            if umin & !mask == umax & !mask { (umin & mask, umax & mask) } else { (0, mask) };
        Parts {
            tnum: self.tnum.low(bits),
            wide: Bounds { umin, umax, smin: umin as i64, smax: umax as i64 },
            low: if bits < H { Bounds::FULL } else { self.low },
        }
        .sync()
    }
}

/// The low `bits` bits of a number, sign-extended.
const fn sign_extended(x: i64, bits: u32) -> i64 {
    (x << (64 - bits)) >> (64 - bits)
}

/// The signed numbers of `bits` bits.
const fn signed_limits(bits: u32) -> (i64, i64) {
    (i64::MIN >> (64 - bits), i64::MAX >> (64 - bits))
}

/// The interval that sign extension makes of one whose ends agree above the low `bits` bits, if
/// the extended ends have one sign.
fn extended_interval(smin: i64, smax: i64, bits: u32) -> Option<(i64, i64)> {
    if smin >> bits != smax >> bits {
        return None;
    }
    let (a, b) = (sign_extended(smin, bits), sign_extended(smax, bits));
    ((a < 0) == (b < 0)).then(|| (a.min(b), a.max(b)))
}

/// The low half's intervals of a number between two sign-extended ends of one sign.
const fn low_of_same_sign<const H: u32>(min: i64, max: i64) -> Bounds<H> {
    Bounds {
        umin: Bits::<H>::unsigned(min),
        umax: Bits::<H>::unsigned(max),
        smin: Bits::<H>::signed(min as u64),
        smax: Bits::<H>::signed(max as u64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loads_of_unknown_bytes_are_truncations_of_unknown_numbers() {
        for size in Size::ALL.iter().filter(|size| **size != Size::Dw) {
            let truncated = Scalar::UNKNOWN.truncate(size.bytes() * 8);
            assert_eq!(Scalar::loaded(*size, Extend::Zero), truncated, "{size:?}");
        }
    }
}
