//! A set of numbers, as bounds and bits: what operations make of it, and what comparisons say.

use skep_bpf::op::{Cond, Width};

use crate::ssa::ir::{Bin, Un};

pub(super) const LOW: u64 = u32::MAX as u64;

/// What is known of a value: unsigned bounds, and a mask of the bits that may be set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Range {
    pub(super) min: u64,
    pub(super) max: u64,
    pub(super) bits: u64,
}

/// All bits up to the highest that is set.
const fn up_to(number: u64) -> u64 {
    if number == 0 { 0 } else { u64::MAX >> number.leading_zeros() }
}

pub(super) const fn of_width(width: Width) -> u64 {
    match width {
        Width::W32 => LOW,
        Width::W64 => u64::MAX,
    }
}

const fn sign_of(width: Width) -> u64 {
    (of_width(width) >> 1) + 1
}

impl Range {
    pub(super) const FULL: Range = Range { min: 0, max: u64::MAX, bits: u64::MAX };

    pub(super) const fn number(number: u64) -> Range {
        Range { min: number, max: number, bits: number }
    }

    pub(super) const fn below(max: u64) -> Range {
        Range { min: 0, max, bits: up_to(max) }
    }

    /// Bounds and bits brought together. What contradicts itself is never executed.
    fn new(min: u64, max: u64, bits: u64) -> Range {
        let bits = bits & up_to(max);
        let max = max.min(bits);
        if min <= max { Range { min, max, bits } } else { Range::FULL }
    }

    pub(super) fn join(self, other: Range) -> Range {
        let (min, max) = (self.min.min(other.min), self.max.max(other.max));
        Range { min, max, bits: self.bits | other.bits }
    }

    pub(super) fn meet(self, other: Range) -> Range {
        let (min, max) = (self.min.max(other.min), self.max.min(other.max));
        if min <= max { Range::new(min, max, self.bits & other.bits) } else { self }
    }

    pub(super) const fn constant(self) -> Option<u64> {
        if self.min == self.max { Some(self.min) } else { None }
    }

    /// The low bits of a width.
    pub(super) fn low(self, width: Width) -> Range {
        let all = of_width(width);
        if self.max <= all { self } else { Range::new(0, all, self.bits & all) }
    }

    /// Whether no number of the range has the sign of a width.
    pub(super) const fn is_positive(self, width: Width) -> bool {
        self.max < sign_of(width)
    }

    pub(super) fn binary(bin: Bin, width: Width, a: Range, b: Range) -> Range {
        let (all, a, b) = (of_width(width), a.low(width), b.low(width));
        let zeros = |bits: u64| if bits == 0 { 64 } else { bits.trailing_zeros() };
        let multiple_of = |zeros: u32| u64::MAX.checked_shl(zeros).unwrap_or(0);
        let both = zeros(a.bits).min(zeros(b.bits));
        let amount = b.constant().map(|amount| (amount & u64::from(width.bits() - 1)) as u32);
        let positive = a.is_positive(width) && b.is_positive(width);
        let any = Range::below(all);
        match bin {
            Bin::Add => match a.max.checked_add(b.max).filter(|max| *max <= all) {
                Some(max) => Range::new(a.min + b.min, max, up_to(max) & multiple_of(both)),
                None => Range::new(0, all, all & multiple_of(both)),
            },
            Bin::Sub if a.min >= b.max => {
                let max = a.max - b.min;
                Range::new(a.min - b.max, max, up_to(max) & multiple_of(both))
            }
            Bin::Sub => Range::new(0, all, all & multiple_of(both)),
            Bin::Mul => {
                let multiple = multiple_of(zeros(a.bits).saturating_add(zeros(b.bits)));
                match a.max.checked_mul(b.max).filter(|max| *max <= all) {
                    Some(max) => Range::new(a.min * b.min, max, up_to(max) & multiple),
                    None => Range::new(0, all, all & multiple),
                }
            }
            Bin::MulHigh => {
                let high = |x: u64, y: u64| (u128::from(x) * u128::from(y)) >> width.bits();
                Range::below(high(a.max, b.max) as u64)
            }
            Bin::And => Range::new(0, a.max.min(b.max), a.bits & b.bits),
            Bin::Or => Range::new(a.min.max(b.min), all, a.bits | b.bits),
            Bin::Xor => Range::new(0, all, a.bits | b.bits),
            Bin::Lsh => match amount {
                Some(amount) if a.max <= all >> amount => {
                    Range::new(a.min << amount, a.max << amount, a.bits << amount)
                }
                Some(amount) => Range::new(0, all, (a.bits << amount) & all),
                None => any,
            },
            Bin::Rsh => match amount {
                Some(amount) => Range::new(a.min >> amount, a.max >> amount, a.bits >> amount),
                None => Range::below(a.max),
            },
            Bin::Arsh if a.is_positive(width) => Range::binary(Bin::Rsh, width, a, b),
            Bin::Div if b.min > 0 => Range::below(a.max / b.min),
            Bin::Div => Range::below(a.max),
            Bin::Mod if b.min > 0 => Range::below(a.max.min(b.max - 1)),
            Bin::Mod => Range::below(a.max),
            Bin::Sdiv if positive => Range::binary(Bin::Div, width, a, b),
            Bin::Smod if positive => Range::binary(Bin::Mod, width, a, b),
            Bin::Arsh | Bin::Sdiv | Bin::Smod | Bin::Rotl => any,
        }
    }

    pub(super) fn unary(un: Un, width: Width, a: Range) -> Range {
        let any = Range::below(of_width(width));
        let extended = |sign: u64| if a.max < sign { a } else { any };
        match un {
            Un::Zext => a.low(Width::W32),
            Un::Sext8 => extended(0x80),
            Un::Sext16 => extended(0x8000),
            Un::Sext32 if a.max < 0x8000_0000 => a,
            Un::Sext32 => Range::FULL,
            Un::Swap16 => Range::below(0xffff),
            Un::Popcnt | Un::Lzcnt | Un::Tzcnt => Range::below(width.bits().into()),
            Un::Neg | Un::Swap => any,
        }
    }

    /// What is left of two values for which a comparison holds.
    pub(super) fn compared(cond: Cond, width: Width, a: Range, b: Range) -> (Range, Range) {
        let all = of_width(width);
        if a.max > all || b.max > all {
            return (a, b);
        }
        let positive = a.is_positive(width) && b.is_positive(width);
        let at_least = |r: Range, min: Option<u64>| match min {
            Some(min) if min <= r.max => Range::new(r.min.max(min), r.max, r.bits),
            _ => r,
        };
        let at_most = |r: Range, max: Option<u64>| match max {
            Some(max) if max >= r.min => Range::new(r.min, r.max.min(max), r.bits),
            _ => r,
        };
        match cond {
            Cond::Eq => (a.meet(b), b.meet(a)),
            Cond::Ne => match (a.constant(), b.constant()) {
                (_, Some(number)) if number == a.min => (at_least(a, number.checked_add(1)), b),
                (_, Some(number)) if number == a.max => (at_most(a, number.checked_sub(1)), b),
                _ => (a, b),
            },
            Cond::Lt => (at_most(a, b.max.checked_sub(1)), at_least(b, a.min.checked_add(1))),
            Cond::Le => (at_most(a, Some(b.max)), at_least(b, Some(a.min))),
            Cond::Gt => (at_least(a, b.min.checked_add(1)), at_most(b, a.max.checked_sub(1))),
            Cond::Ge => (at_least(a, Some(b.min)), at_most(b, Some(a.max))),
            Cond::Slt if positive => Range::compared(Cond::Lt, width, a, b),
            Cond::Sle if positive => Range::compared(Cond::Le, width, a, b),
            Cond::Sgt if positive => Range::compared(Cond::Gt, width, a, b),
            Cond::Sge if positive => Range::compared(Cond::Ge, width, a, b),
            Cond::Sgt | Cond::Sge if b.is_positive(width) => {
                let a = at_most(a, Some(sign_of(width) - 1));
                (if cond == Cond::Sgt { at_least(a, Some(b.min + 1)) } else { a }, b)
            }
            Cond::Slt | Cond::Sle | Cond::Sgt | Cond::Sge | Cond::Set => (a, b),
        }
    }

    /// Whether a comparison holds, if that is the same for all numbers.
    pub(super) fn decides(cond: Cond, width: Width, a: Range, b: Range) -> Option<bool> {
        let (a, b) = (a.low(width), b.low(width));
        let positive = a.is_positive(width) && b.is_positive(width);
        let unsigned = |cond| Range::decides(cond, width, a, b);
        match cond {
            Cond::Eq if a.max < b.min || b.max < a.min => Some(false),
            Cond::Eq if a.min & !b.bits != 0 && a.constant().is_some() => Some(false),
            Cond::Eq if b.min & !a.bits != 0 && b.constant().is_some() => Some(false),
            Cond::Eq => {
                let (a, b) = (a.constant()?, b.constant()?);
                Some(a == b)
            }
            Cond::Ne => unsigned(Cond::Eq).map(|holds| !holds),
            Cond::Lt if a.max < b.min => Some(true),
            Cond::Lt if a.min >= b.max => Some(false),
            Cond::Le if a.max <= b.min => Some(true),
            Cond::Le if a.min > b.max => Some(false),
            Cond::Gt => unsigned(Cond::Le).map(|holds| !holds),
            Cond::Ge => unsigned(Cond::Lt).map(|holds| !holds),
            Cond::Set if a.bits & b.bits == 0 => Some(false),
            Cond::Slt if positive => unsigned(Cond::Lt),
            Cond::Sle if positive => unsigned(Cond::Le),
            Cond::Sgt if positive => unsigned(Cond::Gt),
            Cond::Sge if positive => unsigned(Cond::Ge),
            _ => None,
        }
    }
}
