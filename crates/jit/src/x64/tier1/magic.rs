//! Division by constants as multiplication by their reciprocals (Granlund and Montgomery,
//! "Division by Invariant Integers using Multiplication", 1994).

use skep_bpf::insn::Reg;
use skep_bpf::op::Width;

use super::Compiler;
use crate::flow::RegSet;
use crate::x64::asm::{Alu, Bits, Gpr, Shift};
use crate::x64::regs::{SCRATCH, gpr};

/// A reciprocal: the quotient of `n` is `n * (multiplier + extra * 2^bits) >> (bits + shift)`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Reciprocal {
    multiplier: u64,
    /// Whether the multiplier has one bit more than a register.
    extra: bool,
    shift: u8,
}

/// The reciprocal of a divisor that is at least 3 and no power of two, for numbers of 32 or 64
/// bits.
fn reciprocal(divisor: u64, bits: u32) -> Reciprocal {
    let divisor = u128::from(divisor);
    let mut shift = 128 - (divisor - 1).leading_zeros();
    // For 64 bits, divisors have at most 31: the sum fits.
    let power = 1_u128 << (bits + shift);
    let mut low = power / divisor;
    let mut high = (power + (1 << shift)) / divisor;
    while low / 2 < high / 2 && shift > 0 {
        (low, high, shift) = (low / 2, high / 2, shift - 1);
    }
    let extra = high >> bits != 0;
    let multiplier = if bits == 32 { high as u32 as u64 } else { high as u64 };
    Reciprocal { multiplier, extra, shift: shift as u8 }
}

/// The second scratch register: the state pointer is reloaded where it is needed.
const SECOND: Gpr = Gpr::R11;

impl Compiler<'_> {
    /// Divides without sign by a number that is at least 3 and no power of two.
    pub(super) fn divide_by_multiplying(
        &mut self,
        at: usize,
        gives_rest: bool,
        width: Width,
        dst: Reg,
        divisor: u32,
    ) -> bool {
        // A quotient of small numbers is the same at either width.
        let size = match width {
            Width::W32 => Bits::B32,
            Width::W64 if self.narrow.has(dst) => Bits::B32,
            Width::W64 => Bits::B64,
        };
        if size == Bits::B64 && (!self.features.bmi2 || i32::try_from(divisor).is_err()) {
            return false;
        }
        self.truncated = RegSet::EMPTY;
        let to = gpr(dst);
        if size == Bits::B32 {
            let found = reciprocal(divisor.into(), 32);
            self.quotient_32(found, dst);
        } else {
            let found = reciprocal(divisor.into(), 64);
            self.quotient_64(at, found, to);
        }
        if gives_rest {
            self.asm.imul_imm(size, SCRATCH, SCRATCH, divisor as i32);
            self.asm.alu(Alu::Sub, size, to, SCRATCH);
        } else {
            self.asm.mov(size, to, SCRATCH);
        }
        true
    }

    /// The quotient of 32 bits, in the scratch register.
    fn quotient_32(&mut self, found: Reciprocal, dst: Reg) {
        let number = if self.narrow.has(dst) {
            gpr(dst)
        } else {
            self.asm.mov(Bits::B32, SECOND, gpr(dst));
            SECOND
        };
        self.asm.mov_imm(SCRATCH, found.multiplier);
        self.asm.imul(Bits::B64, SCRATCH, number);
        if found.extra {
            self.asm.shift_imm(Shift::Shr, Bits::B64, SCRATCH, 32);
            self.add_half_of_rest(Bits::B32, gpr(dst));
            self.shift_right(Bits::B32, found.shift - 1);
        } else {
            self.shift_right(Bits::B64, 32 + found.shift);
        }
    }

    /// The quotient of 64 bits, in the scratch register.
    fn quotient_64(&mut self, at: usize, found: Reciprocal, to: Gpr) {
        let keeps_rdx = to != Gpr::Rdx && self.flow.live_after(at).has(Reg::R3);
        if keeps_rdx {
            self.asm.mov(Bits::B64, SECOND, Gpr::Rdx);
        }
        if to != Gpr::Rdx {
            self.asm.mov(Bits::B64, Gpr::Rdx, to);
        }
        self.asm.mov_imm(SCRATCH, found.multiplier);
        // Both results in one register leave the upper half there.
        self.asm.mulx(Bits::B64, SCRATCH, SCRATCH, SCRATCH);
        if keeps_rdx {
            self.asm.mov(Bits::B64, Gpr::Rdx, SECOND);
        }
        if found.extra {
            self.add_half_of_rest(Bits::B64, to);
            self.shift_right(Bits::B64, found.shift - 1);
        } else {
            self.shift_right(Bits::B64, found.shift);
        }
    }

    /// Adds to the upper half of the product, in the scratch register, half of what the number is
    /// larger: half of the sum of both, which might need one bit more than a register has.
    fn add_half_of_rest(&mut self, size: Bits, number: Gpr) {
        self.asm.mov(size, SECOND, number);
        self.asm.alu(Alu::Sub, size, SECOND, SCRATCH);
        self.asm.shift_imm(Shift::Shr, size, SECOND, 1);
        self.asm.alu(Alu::Add, size, SCRATCH, SECOND);
    }

    fn shift_right(&mut self, size: Bits, count: u8) {
        if count > 0 {
            self.asm.shift_imm(Shift::Shr, size, SCRATCH, count);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn divide(number: u64, divisor: u64, bits: u32) -> u64 {
        let Reciprocal { multiplier, extra, shift } = reciprocal(divisor, bits);
        let upper = ((u128::from(number) * u128::from(multiplier)) >> bits) as u64;
        if extra { (upper + ((number - upper) >> 1)) >> (shift - 1) } else { upper >> shift }
    }

    #[test]
    fn quotients_are_exact() {
        let small = 3..2000_u64;
        let large = (12..32_u32).flat_map(|bit| [-3_i64, -1, 1, 3].map(|by| (1 << bit) + by));
        let divisors = small.chain(large.map(|divisor: i64| divisor as u64));
        for divisor in divisors.chain([1_000_000_007, 0xffff_ffff, 0x8000_0001]) {
            if divisor.is_power_of_two() || divisor > u64::from(u32::MAX) {
                continue;
            }
            for bits in [32, 64] {
                let most = if bits == 32 { u64::from(u32::MAX) } else { u64::MAX };
                let multiples = [1, 2, 3, 5, 1 << 20, most / divisor / 2, most / divisor];
                let near = multiples.into_iter().flat_map(|times| {
                    let number = divisor.wrapping_mul(times) & most;
                    [number.saturating_sub(1), number, number.saturating_add(1).min(most)]
                });
                for number in near.chain([0, 1, most, most - 1, most / 2, most / 3]) {
                    let expected = number / divisor;
                    assert_eq!(divide(number, divisor, bits), expected, "{number} / {divisor}");
                }
            }
        }
    }
}
