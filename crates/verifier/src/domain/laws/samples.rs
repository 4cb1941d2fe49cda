//! The real widths: random scalars, members of them, and what operations do to the members.

use super::super::{Scalar, Tnum, is_branch_taken, refine};
use super::*;
use skep_bpf::eval;
use skep_bpf::insn::Extend;
use skep_bpf::op::{AluOp, Cond, Endian, Movsx, Size, SwapBits, Width};

const ROUNDS: u64 = 6_000;

impl Random {
    /// Numbers of all sizes, and near powers of two.
    fn number(&mut self) -> u64 {
        let near = self.below(5).wrapping_sub(2);
        match self.below(5) {
            0 => near,
            1 => (1u64 << self.below(64)).wrapping_add(near),
            2 => u64::MAX << self.below(64),
            3 => self.next() >> self.below(64),
            _ => (self.next() as i64 >> self.below(64)) as u64,
        }
    }

    /// A scalar that holds a number, and members of it, that number first.
    fn scalar(&mut self) -> (Scalar, Vec<u64>) {
        let x = self.number();
        let mut unknown = self.number() | self.number();
        if self.below(3) == 0 {
            unknown = u64::MAX;
        }
        let tnum = Tnum::new(x, unknown);
        let (mut wide, mut low) = (Bounds::FULL, Bounds::FULL);
        for _ in 0..self.below(4) {
            let (below, above) = (self.number() >> 1, self.number() >> 1);
            match self.below(4) {
                0 => {
                    wide.meet_unsigned(x.saturating_sub(below), x.saturating_add(above));
                }
                1 => {
                    let s = x as i64;
                    wide.meet_signed(
                        s.saturating_sub_unsigned(below),
                        s.saturating_add_unsigned(above),
                    );
                }
                2 => {
                    let (x, below, above) = (x as u32, below as u32, above as u32);
                    low.meet_unsigned(
                        x.saturating_sub(below).into(),
                        x.saturating_add(above).into(),
                    );
                }
                _ => {
                    let (s, below, above) = (x as i32, below as u32, above as u32);
                    low.meet_signed(
                        s.saturating_sub_unsigned(below).into(),
                        s.saturating_add_unsigned(above).into(),
                    );
                }
            }
        }
        let before = Scalar::from_parts(tnum, wide, low).expect("x lies in each interval");
        let scalar = before.sync().expect("x is a member");
        let mut members = vec![x];
        let ends = [wide.umin, wide.umax, wide.smin as u64, wide.smax as u64];
        for _ in 0..6 {
            let near = match self.below(3) {
                0 => ends[self.below(4) as usize].wrapping_add(self.below(3)).wrapping_sub(1),
                1 => x ^ (self.number() & unknown),
                _ => (self.next() & unknown) | tnum.value(),
            };
            members.extend(before.contains(near).then_some(near));
        }
        (scalar, members)
    }
}

#[test]
fn synchronising_keeps_every_member() {
    let mut random = Random(1);
    for _ in 0..ROUNDS {
        let (scalar, members) = random.scalar();
        assert!(members.iter().all(|x| scalar.contains(*x)), "{scalar:?} {members:x?}");
    }
}

#[test]
fn arithmetic_is_sound() {
    let mut random = Random(2);
    for round in 0..ROUNDS {
        let ((a, xs), (mut b, mut ys)) = (random.scalar(), random.scalar());
        if round % 3 == 0 {
            // Shifts say nothing of amounts that are not known.
            ys = vec![random.below(64)];
            b = Scalar::constant(ys[0]);
        }
        for op in AluOp::ALL {
            for width in Width::ALL {
                let result = a.alu(*op, *width, b);
                for x in &xs {
                    for y in &ys {
                        let z = op.eval(*width, *x, *y);
                        assert!(
                            result.contains(z),
                            "{op:?} {width:?} {x:#x} {y:#x} = {z:#x}\n  {a:?}\n  {b:?}\n= {result:?}"
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn operations_on_one_number_are_sound() {
    let mut random = Random(3);
    for _ in 0..ROUNDS {
        let (a, xs) = random.scalar();
        let check = |name: &dyn core::fmt::Debug, result: Scalar, f: &dyn Fn(u64) -> u64| {
            for x in &xs {
                assert!(
                    result.contains(f(*x)),
                    "{name:?} {x:#x} = {:#x}\n  {a:?}\n= {result:?}",
                    f(*x)
                );
            }
        };
        for width in Width::ALL {
            check(&"neg", a.neg(*width), &|x| eval::neg(*width, x));
        }
        for op in Movsx::ALL {
            check(op, a.movsx(*op), &|x| op.eval(x));
        }
        for op in Endian::ALL {
            for bits in SwapBits::ALL {
                check(&(op, bits), a.swap_bytes(*op, *bits), &|x| op.eval(*bits, x));
            }
        }
        for size in Size::ALL {
            for extend in [Extend::Zero, Extend::Sign] {
                check(&(size, extend), a.extended(*size, extend), &|x| size.extend(extend, x));
                check(&"load", Scalar::loaded(*size, extend), &|x| size.extend(extend, x));
            }
        }
        if let Some((minus_one, zero)) = a.split_sign_mask() {
            assert!(xs.iter().all(|x| minus_one.contains(*x) || zero.contains(*x)), "{a:?}");
        }
    }
}

#[test]
fn branches_are_sound() {
    let mut random = Random(4);
    for _ in 0..ROUNDS {
        let ((a, xs), (b, mut ys)) = (random.scalar(), random.scalar());
        ys.extend(xs.iter().filter(|x| b.contains(**x)));
        for cond in Cond::ALL {
            for width in Width::ALL {
                let decided = is_branch_taken(*cond, *width, &a, &b);
                let refined = [false, true].map(|taken| refine(*cond, *width, a, b, taken));
                for x in &xs {
                    for y in &ys {
                        let taken = cond.eval(*width, *x, *y);
                        let after = refined[usize::from(taken)];
                        let kept =
                            after.feasible().is_some_and(|(a, b)| a.contains(*x) && b.contains(*y));
                        assert!(
                            kept && decided.is_none_or(|decided| decided == taken),
                            "{cond:?} {width:?} {x:#x} {y:#x}: {decided:?}\n  {a:?}\n  {b:?}\n= {after:?}"
                        );
                    }
                }
            }
        }
    }
}
