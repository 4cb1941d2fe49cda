//! Synchronisation, arithmetic, casts and branches on small scalars.
//!
//! An ordinary run takes every pair of a sample that changes nothing but its density; all pairs
//! (some 15 million, minutes in a release build) are for `--ignored`.

use super::super::{is_branch_taken, refine, refine_same};
use super::*;
use skep_bpf::op::{AluOp, Cond, Width};

/// What an operation computes on 4 bits, or on the low 2 with the upper cleared.
fn eval(op: AluOp, width: Width, x: u64, y: u64) -> u64 {
    let bits = bits(width);
    let mask = (1 << bits) - 1;
    let (x, y) = (x & mask, y & mask);
    let (s, t) = (signed(x, bits), signed(y, bits));
    let by = y & (u64::from(bits) - 1);
    let result = match op {
        AluOp::Add => x.wrapping_add(y),
        AluOp::Sub => x.wrapping_sub(y),
        AluOp::Mul => x.wrapping_mul(y),
        AluOp::Div => x.checked_div(y).unwrap_or(0),
        AluOp::Mod => x.checked_rem(y).unwrap_or(x),
        AluOp::Sdiv => s.checked_div(t).unwrap_or(0) as u64,
        AluOp::Smod => s.checked_rem(t).unwrap_or(s) as u64,
        AluOp::Or => x | y,
        AluOp::And => x & y,
        AluOp::Xor => x ^ y,
        AluOp::Lsh => x << by,
        AluOp::Rsh => x >> by,
        AluOp::Arsh => (s >> by) as u64,
        AluOp::Mov => y,
    };
    result & mask
}

const fn bits(width: Width) -> u32 {
    match width {
        Width::W32 => 2,
        Width::W64 => 4,
    }
}

const fn signed(x: u64, bits: u32) -> i64 {
    ((x << (64 - bits)) as i64) >> (64 - bits)
}

/// The condition on numbers of 4 bits or their low halves.
fn holds(cond: Cond, width: Width, x: u64, y: u64) -> bool {
    let bits = bits(width);
    let spread = |x| signed(x, bits) as u64;
    let low = |x: u64| x & ((1 << bits) - 1);
    match cond {
        Cond::Set => low(x) & low(y) != 0,
        Cond::Sgt | Cond::Sge | Cond::Slt | Cond::Sle => {
            cond.eval(Width::W64, spread(x), spread(y))
        }
        _ => cond.eval(Width::W64, low(x), low(y)),
    }
}

/// For each x and set of y, the set of results.
fn images(f: impl Fn(u64, u64) -> u64) -> Vec<Vec<Set>> {
    let of_x = |x| {
        let mut images = vec![0; 1 << 16];
        for set in 1..1usize << 16 {
            let lowest = u64::from(set.trailing_zeros());
            images[set] = images[set & (set - 1)] | 1 << f(x, lowest);
        }
        images
    };
    (0..16).map(of_x).collect()
}

/// Calls `check` for each `stride`th pair.
fn each_pair(stride: usize, mut check: impl FnMut((Small, Set), (Small, Set))) {
    let scalars = small_scalars();
    let pairs = scalars.len() * scalars.len();
    for pair in (0..pairs).step_by(stride) {
        check(scalars[pair / scalars.len()], scalars[pair % scalars.len()]);
    }
}

fn arithmetic_is_sound(stride: usize) {
    for op in AluOp::ALL {
        for width in Width::ALL {
            let images = images(|x, y| eval(*op, *width, x, y));
            each_pair(stride, |(a, xs), (b, ys)| {
                let result = a.alu(*op, *width, b);
                let exact = members(xs).fold(0, |set, x| set | images[x as usize][usize::from(ys)]);
                let lost = exact & !gamma(&result);
                assert!(
                    lost == 0,
                    "{op:?} {width:?}\n  {a:?}\n  {b:?}\n= {result:?}, not {lost:#b}"
                );
            });
        }
    }
}

fn branches_are_sound(stride: usize) {
    for cond in Cond::ALL {
        for width in Width::ALL {
            let taken: Vec<Set> = (0..16)
                .map(|x| (0..16).fold(0, |set, y| set | Set::from(holds(*cond, *width, x, y)) << y))
                .collect();
            each_pair(stride, |(a, xs), (b, ys)| {
                let what = |text: &dyn core::fmt::Debug| {
                    format!("{cond:?} {width:?}\n  {a:?}\n  {b:?}\n{text:?}")
                };
                for outcome in [true, false] {
                    let satisfying =
                        |x: u64| ys & if outcome { taken[x as usize] } else { !taken[x as usize] };
                    let left = members(xs).filter(|x| satisfying(*x) != 0);
                    let left = left.fold(0, |set: Set, x| set | 1 << x);
                    let right = members(xs).fold(0, |set, x| set | satisfying(x));
                    if let Some(decided) = is_branch_taken(*cond, *width, &a, &b) {
                        assert!(decided == outcome || left == 0, "{}", what(&decided));
                    }
                    let refined = refine(*cond, *width, a, b, outcome);
                    let (a_after, b_after) = refined.as_linux();
                    assert!(left & !gamma(&a_after) == 0, "{}", what(&refined));
                    assert!(right & !gamma(&b_after) == 0, "{}", what(&refined));
                    assert!(refined.feasible().is_some() || left == 0, "{}", what(&refined));
                }
            });
        }
    }
}

#[test]
fn small_arithmetic_is_sound() {
    arithmetic_is_sound(1009);
}

#[test]
#[ignore = "all pairs: minutes, in a release build"]
fn all_small_arithmetic_is_sound() {
    arithmetic_is_sound(1);
}

#[test]
fn small_branches_are_sound() {
    branches_are_sound(2003);
}

#[test]
#[ignore = "all pairs: minutes, in a release build"]
fn all_small_branches_are_sound() {
    branches_are_sound(1);
}

#[test]
fn a_register_compared_with_itself_is_refined_soundly() {
    for (a, xs) in small_scalars() {
        for cond in Cond::ALL {
            for width in Width::ALL {
                for outcome in [true, false] {
                    let left = members(*xs).filter(|x| holds(*cond, *width, *x, *x) == outcome);
                    let left = left.fold(0, |set: Set, x| set | 1 << x);
                    let (after, _) = refine_same(*cond, *width, *a, outcome).as_linux();
                    assert!(left & !gamma(&after) == 0, "{cond:?} {width:?} {a:?} {after:?}");
                }
            }
        }
    }
}

#[test]
fn synchronising_loses_no_member() {
    let lows: Vec<Bounds<2>> = all_bounds().step_by(7).chain([Bounds::FULL]).collect();
    for (number, tnum) in tnums::<4>().enumerate() {
        for wide in all_bounds::<4>().step_by(3) {
            for low in lows.iter().skip(number % lows.len()).step_by(5) {
                let Some(before) = Small::from_parts(tnum, wide, *low) else { continue };
                let members = gamma(&before);
                let Some(after) = before.sync() else {
                    assert_eq!(members, 0, "{before:?}");
                    continue;
                };
                let exact = gamma(&after) == members && after.within(&before);
                // The one rule that replaces intervals instead of tightening them may widen.
                let replaced = after.low().smin >= 0 && after.wide() == low_as_wide(&after);
                let kept = members & !gamma(&after) == 0;
                assert!(members == 0 || exact || replaced && kept, "{before:?} {after:?}");
            }
        }
    }
}

/// The low half's signed interval as that of a number that is not negative.
fn low_as_wide(scalar: &Small) -> Bounds<4> {
    let low = scalar.low();
    Bounds { umin: low.smin as u64, umax: low.smax as u64, smin: low.smin, smax: low.smax }
}

#[test]
fn casts_are_sound() {
    let image =
        |xs: Set, f: &dyn Fn(u64) -> u64| members(xs).fold(0, |set: Set, x| set | 1 << (f(x) & 15));
    for (a, xs) in small_scalars() {
        let check = |name: &str, result: Small, f: &dyn Fn(u64) -> u64| {
            assert!(image(*xs, f) & !gamma(&result) == 0, "{name} {a:?} {result:?}");
        };
        for bits in 1..4 {
            check("truncate", a.truncate(bits), &|x| x & ((1 << bits) - 1));
            check("sign_extend", a.sign_extend(bits), &|x| signed(x, bits) as u64);
        }
        check("sign_extend_low", a.sign_extend_low(1), &|x| signed(x, 1) as u64 & 3);
        check("zero_extend", a.zero_extend(), &|x| x & 3);
        for width in Width::ALL {
            check("neg", a.neg(*width), &|x| eval(AluOp::Sub, *width, 0, x));
        }
        if let Some((minus_one, zero)) = a.split_sign_mask() {
            assert!(xs & !(gamma(&minus_one) | gamma(&zero)) == 0, "split {a:?}");
        }
    }
}

#[test]
fn order_and_join_agree_with_membership() {
    each_pair(503, |(a, xs), (b, ys)| {
        assert!(!a.within(&b) || xs & !ys == 0, "{a:?} {b:?}");
        let join = a.join(b);
        assert!(a.within(&join) && b.within(&join), "{a:?} {b:?} {join:?}");
    });
}
