//! Tristate numbers and pairs of intervals, each by itself.

use super::*;

type T = TnumOf<5>;

fn list(tnum: T) -> Vec<u64> {
    (0..32).filter(|x| tnum.contains(*x)).collect()
}

/// The least tristate number that holds some numbers.
fn best(numbers: impl Iterator<Item = u64>) -> Option<T> {
    numbers.map(T::constant).reduce(|a, b| {
        let unknown = a.mask() | (a.value() ^ b.value());
        T::new(a.value(), unknown)
    })
}

type Operator = (&'static str, fn(T, T) -> T, fn(u64, u64) -> u64);

const OPERATORS: [Operator; 6] = [
    ("add", T::add, u64::wrapping_add),
    ("sub", T::sub, u64::wrapping_sub),
    ("mul", T::mul, u64::wrapping_mul),
    ("and", T::and, |a, b| a & b),
    ("or", T::or, |a, b| a | b),
    ("xor", T::xor, |a, b| a ^ b),
];

#[test]
fn operators_are_sound_and_all_but_multiplication_optimal() {
    for (name, operator, eval) in OPERATORS {
        for a in tnums::<5>() {
            for b in tnums::<5>() {
                let result = operator(a, b);
                let (xs, ys) = (list(a), list(b));
                let exact = xs.iter().flat_map(|x| ys.iter().map(|y| eval(*x, *y) & 31));
                let exact = best(exact).expect("no tristate number is empty");
                assert!(exact.within(result), "{a} {name} {b}: {result} lacks some of {exact}");
                assert!(name == "mul" || exact == result, "{a} {name} {b}: {result}, not {exact}");
            }
        }
    }
}

#[test]
fn operators_are_monotone() {
    for (name, operator, _) in OPERATORS {
        for a in tnums::<5>() {
            // One bit less known is enough: the rest follows by repetition.
            for bit in (0..5).map(|bit| 1 << bit).filter(|bit| a.mask() & bit == 0) {
                let wider = T::new(a.value(), a.mask() | bit);
                for b in tnums::<5>() {
                    let ok = operator(a, b).within(operator(wider, b))
                        && operator(b, a).within(operator(b, wider));
                    assert!(ok, "{name} of {a} or {wider}, and {b}");
                }
            }
        }
    }
}

#[test]
fn shifts_casts_and_steps_are_exact() {
    for t in tnums::<5>() {
        let xs = list(t);
        let map = |f: &dyn Fn(u64) -> u64| best(xs.iter().map(|x| f(*x) & 31));
        for by in 0..5 {
            assert_eq!(Some(t.shl(by)), map(&|x| x << by));
            assert_eq!(Some(t.shr(by)), map(&|x| x >> by));
            assert_eq!(Some(t.sar(by)), map(&|x| ((((x << 59) as i64) >> 59) >> by) as u64));
            assert_eq!(Some(t.low(by)), map(&|x| x & ((1 << by) - 1)));
            assert_eq!(list(t.with_low(by, T::UNKNOWN)), {
                let kept: Vec<_> = xs.iter().map(|x| x >> by).collect();
                (0..32).filter(|x| kept.contains(&(x >> by))).collect::<Vec<_>>()
            });
        }
        assert_eq!(Some(t.neg()), map(&u64::wrapping_neg));
        assert_eq!(t.signed_min(), xs.iter().map(|x| ((x << 59) as i64) >> 59).min().expect("one"));
        assert_eq!(t.signed_max(), xs.iter().map(|x| ((x << 59) as i64) >> 59).max().expect("one"));
        for x in 0..32 {
            let next = if x < t.value() { t.value() } else { t.max() };
            let next = xs.iter().copied().find(|y| *y > x).unwrap_or(next);
            assert_eq!(t.step(x), next, "{t} after {x}");
        }
    }
    for (min, max) in intervals(0, 31) {
        assert_eq!(Some(T::range(min as u64, max as u64)), best((min as u64)..=max as u64));
    }
}

#[test]
fn meets_and_joins_are_what_they_are_called() {
    for a in tnums::<5>() {
        for b in tnums::<5>() {
            let common: Vec<_> = list(a).into_iter().filter(|x| b.contains(*x)).collect();
            assert_eq!(a.overlaps(b), !common.is_empty());
            assert_eq!(a.within(b), common.len() == list(a).len());
            if a.overlaps(b) {
                assert_eq!(list(a.meet(b)), common);
            }
            assert_eq!(Some(a.join(b)), best(list(a).into_iter().chain(list(b))));
        }
    }
}

#[test]
fn intervals_are_sound() {
    let s = |x: u64| ((x << 60) as i64) >> 60;
    let full = Bounds::<4>::FULL;
    let unsigned: Vec<_> = intervals(0, 15).collect();
    let signed: Vec<_> = intervals(-8, 7).collect();
    type Operator = (fn(Bounds<4>, Bounds<4>) -> Bounds<4>, fn(u64, u64) -> u64);
    let operators: [Operator; 3] = [
        (Bounds::add, u64::wrapping_add),
        (Bounds::sub, u64::wrapping_sub),
        (Bounds::mul, u64::wrapping_mul),
    ];
    for (operator, eval) in operators {
        for a in &unsigned {
            for b in &unsigned {
                let of = |(umin, umax): (i64, i64)| Bounds {
                    umin: umin as u64,
                    umax: umax as u64,
                    ..full
                };
                let result = operator(of(*a), of(*b));
                for x in a.0..=a.1 {
                    for y in b.0..=b.1 {
                        let z = eval(x as u64, y as u64) & 15;
                        assert!(result.umin <= z && z <= result.umax, "{a:?} {b:?} {result:?}");
                    }
                }
            }
        }
        for a in &signed {
            for b in &signed {
                let of = |(smin, smax): (i64, i64)| Bounds { smin, smax, ..full };
                let result = operator(of(*a), of(*b));
                for x in a.0..=a.1 {
                    for y in b.0..=b.1 {
                        let z = s(eval(x as u64, y as u64));
                        assert!(result.smin <= z && z <= result.smax, "{a:?} {b:?} {result:?}");
                    }
                }
            }
        }
    }
}

#[test]
fn exchange_between_intervals_loses_nothing() {
    for before in all_bounds::<4>() {
        let mut after = before;
        after.exchange();
        let (set, after_set) = (gamma_bounds(&before), gamma_bounds(&after));
        // Intervals without a common number may come out as anything.
        assert!(set == 0 || after_set == set && after.within(&before), "{before:?} {after:?}");
    }
}
