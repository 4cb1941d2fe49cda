//! Division by a constant: multiplication by its reciprocal and shifts.
//!
//! For a dividend below `2^bits` the quotient is the upper part of a product if the factor, the
//! reciprocal times a power of two, is rounded up and the error stays below one step (Granlund and
//! Montgomery, "Division by invariant integers using multiplication"). A dividend of 32 bits fits
//! with its factor in one 64-bit product, or one of 128 bits where the factor has 33.

use skep_bpf::op::Width;

use super::ir::{Bin, Op, Un, Val};
use super::number::Numbering;
use super::simplify::Simpler;

/// A factor and the shift that follows: the quotient is `dividend * factor >> shift`.
struct Reciprocal {
    factor: u128,
    shift: u32,
}

/// The reciprocal with the least shift for dividends below `2^bits`. The divisor is not 0 and no
/// power of two, so a factor of at most `bits + 1` bits exists.
fn reciprocal(divisor: u64, bits: u32) -> Option<Reciprocal> {
    let divisor = u128::from(divisor);
    for extra in 0..=bits {
        let shift = bits + extra;
        let power = 1_u128.checked_shl(shift)?;
        let factor = power.div_ceil(divisor);
        // The error of the factor, times the largest dividend, must stay below one step.
        if factor * divisor - power <= 1 << extra {
            return Some(Reciprocal { factor, shift });
        }
    }
    None
}

/// Division or remainder by a constant that is neither 0 nor a power of two.
pub(super) fn by_constant(
    n: &mut Numbering<'_>,
    bin: Bin,
    width: Width,
    a: Val,
    divisor: u64,
) -> Simpler {
    if divisor < 3 || divisor.is_power_of_two() {
        return Simpler::No;
    }
    // A dividend that has 32 bits is divided as such.
    if width == Width::W64 && n.width(a) <= 32 && u32::try_from(divisor).is_ok() {
        let b = n.number(divisor);
        return Simpler::Op(Op::Binary(bin, Width::W32, a, b));
    }
    let quotient = match width {
        Width::W32 => narrow_quotient(n, a, divisor),
        Width::W64 => wide_quotient(n, a, divisor),
    };
    let Some(quotient) = quotient else { return Simpler::No };
    if bin == Bin::Div {
        return Simpler::Value(quotient);
    }
    let b = n.number(divisor);
    let product = n.emit(Op::Binary(Bin::Mul, width, quotient, b));
    Simpler::Op(Op::Binary(Bin::Sub, width, a, product))
}

fn narrow_quotient(n: &mut Numbering<'_>, a: Val, divisor: u64) -> Option<Val> {
    let Reciprocal { factor, shift } = reciprocal(divisor, 32)?;
    let a = n.emit(Op::Unary(Un::Zext, Width::W32, a));
    let factor = u64::try_from(factor).ok()?;
    if factor <= u64::from(u32::MAX) {
        let factor = n.number(factor);
        let product = n.emit(Op::Binary(Bin::Mul, Width::W64, a, factor));
        let shift = n.number(shift.into());
        return Some(n.emit(Op::Binary(Bin::Rsh, Width::W64, product, shift)));
    }
    // The product with a factor of 33 bits has 65; moved up, its upper half is the quotient.
    let factor = n.number(factor << (64 - shift));
    Some(n.emit(Op::Binary(Bin::MulHigh, Width::W64, a, factor)))
}

fn wide_quotient(n: &mut Numbering<'_>, a: Val, divisor: u64) -> Option<Val> {
    let Reciprocal { factor, shift } = reciprocal(divisor, 64)?;
    let after = n.number(u64::from(shift) - 64);
    if let Ok(factor) = u64::try_from(factor) {
        let factor = n.number(factor);
        let high = n.emit(Op::Binary(Bin::MulHigh, Width::W64, a, factor));
        return Some(n.emit(Op::Binary(Bin::Rsh, Width::W64, high, after)));
    }
    let zeros = divisor.trailing_zeros();
    if zeros > 0 {
        // The dividend without the divisor's factors of two has fewer bits.
        let Reciprocal { factor, shift } = reciprocal(divisor >> zeros, 64 - zeros)?;
        let factor = u64::try_from(factor).ok()?;
        let zeros_value = n.number(zeros.into());
        let less = n.emit(Op::Binary(Bin::Rsh, Width::W64, a, zeros_value));
        let factor = n.number(factor.checked_shl(64_u32.saturating_sub(shift))?);
        let high = n.emit(Op::Binary(Bin::MulHigh, Width::W64, less, factor));
        let after = n.number(u64::from(shift.saturating_sub(64)));
        return Some(n.emit(Op::Binary(Bin::Rsh, Width::W64, high, after)));
    }
    // The factor has 65 bits: its lowest 64 give `high`, and the quotient is
    // `(a + high) >> (shift - 64)` without the overflow.
    let factor = n.number((factor - (1 << 64)) as u64);
    let high = n.emit(Op::Binary(Bin::MulHigh, Width::W64, a, factor));
    let rest = n.emit(Op::Binary(Bin::Sub, Width::W64, a, high));
    let one = n.number(1);
    let half = n.emit(Op::Binary(Bin::Rsh, Width::W64, rest, one));
    let sum = n.emit(Op::Binary(Bin::Add, Width::W64, half, high));
    let less = n.number(u64::from(shift) - 65);
    Some(n.emit(Op::Binary(Bin::Rsh, Width::W64, sum, less)))
}

/// Signed division or remainder by a constant that is not 0: by its size, toward 0.
pub(super) fn signed(
    n: &mut Numbering<'_>,
    bin: Bin,
    width: Width,
    a: Val,
    number: u64,
) -> Simpler {
    let divisor = match width {
        Width::W32 => i64::from(number as u32 as i32),
        Width::W64 => number as i64,
    };
    let size = divisor.unsigned_abs();
    if size == 1 {
        return Simpler::Op(match bin {
            Bin::Sdiv => Op::Unary(Un::Neg, width, a),
            _ => Op::Const(0),
        });
    }
    let quotient = if size.is_power_of_two() {
        shifted_quotient(n, width, a, size.trailing_zeros())
    } else {
        match signed_quotient(n, width, a, size) {
            Some(quotient) => quotient,
            None => return Simpler::No,
        }
    };
    match bin {
        Bin::Sdiv if divisor < 0 => Simpler::Op(Op::Unary(Un::Neg, width, quotient)),
        Bin::Sdiv => Simpler::Value(quotient),
        // The remainder has the dividend's sign, whatever that of the divisor.
        _ => {
            let size = n.number(size);
            let product = n.emit(Op::Binary(Bin::Mul, width, quotient, size));
            Simpler::Op(Op::Binary(Bin::Sub, width, a, product))
        }
    }
}

/// -1 for negative numbers, else 0.
fn sign(n: &mut Numbering<'_>, width: Width, a: Val) -> Val {
    let most = n.number(u64::from(width.bits() - 1));
    n.emit(Op::Binary(Bin::Arsh, width, a, most))
}

/// The quotient by a power of two: what a shift loses of a negative number is made up before.
fn shifted_quotient(n: &mut Numbering<'_>, width: Width, a: Val, shift: u32) -> Val {
    let sign = sign(n, width, a);
    let rest = n.number(u64::from(width.bits() - shift));
    let lost = n.emit(Op::Binary(Bin::Rsh, width, sign, rest));
    let sum = n.emit(Op::Binary(Bin::Add, width, a, lost));
    let shift = n.number(shift.into());
    n.emit(Op::Binary(Bin::Arsh, width, sum, shift))
}

/// The quotient by another number of at least 3. A product with the reciprocal rounded up, shifted
/// down, is the quotient of a number that is not negative and one less than that of one that is,
/// if the reciprocal's error times the largest dividend stays within one step.
fn signed_quotient(n: &mut Numbering<'_>, width: Width, a: Val, divisor: u64) -> Option<Val> {
    let bits = width.bits();
    let shift = bits - 1 + divisor.next_power_of_two().trailing_zeros();
    let factor = 1_u128.checked_shl(shift)?.div_ceil(divisor.into());
    let factor = n.number(u64::try_from(factor).ok()?);
    let sign = sign(n, width, a);
    let less = match width {
        Width::W32 => {
            let a = n.emit(Op::Unary(Un::Sext32, Width::W64, a));
            let product = n.emit(Op::Binary(Bin::Mul, Width::W64, a, factor));
            let shift = n.number(shift.into());
            n.emit(Op::Binary(Bin::Arsh, Width::W64, product, shift))
        }
        Width::W64 => {
            // The upper half of a product with a negative number is less by the other factor.
            let high = n.emit(Op::Binary(Bin::MulHigh, Width::W64, a, factor));
            let over = n.emit(Op::Binary(Bin::And, Width::W64, sign, factor));
            let high = n.emit(Op::Binary(Bin::Sub, Width::W64, high, over));
            let shift = n.number(u64::from(shift - 64));
            n.emit(Op::Binary(Bin::Arsh, Width::W64, high, shift))
        }
    };
    Some(n.emit(Op::Binary(Bin::Sub, width, less, sign)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reciprocals_divide() {
        let mut divisors: Vec<u64> = (3..2000).collect();
        divisors.extend([u64::from(u32::MAX), 1_000_000_007, 0xffff_fffb, 641, 6_700_417]);
        for divisor in divisors.into_iter().filter(|divisor| !divisor.is_power_of_two()) {
            let Reciprocal { factor, shift } = reciprocal(divisor, 32).unwrap();
            let near = [0, 1, divisor - 1, divisor, divisor + 1, 0x8000_0000, 0xffff_ffff];
            let multiples = (0..50).flat_map(|times| {
                let product = (0xffff_ffff / divisor - times.min(0xffff_ffff / divisor)) * divisor;
                [product, product.wrapping_sub(1)]
            });
            for dividend in near.into_iter().chain(multiples).map(|number| number as u32) {
                let quotient = (u128::from(dividend) * factor) >> shift;
                assert_eq!(
                    quotient as u64,
                    u64::from(dividend) / divisor,
                    "{dividend} / {divisor}"
                );
            }
        }
    }
}
