//! The laws of the domain, checked on all values of small widths and on samples of the real ones.
//!
//! A set of 4-bit numbers is 16 bits, so that gamma, images and pre-images are words, and "sound"
//! is a subset test. The small scalars are all that `sync` makes of any known bits and any
//! intervals, of the number (4 bits) and its low half (2 bits).

mod bits;
mod operators;
mod samples;

use super::{Bounds, ScalarOf, TnumOf};
use std::collections::HashSet;
use std::sync::OnceLock;

/// A scalar of 4 bits with a low half of 2.
type Small = ScalarOf<4, 2>;
/// A set of 4-bit numbers.
type Set = u16;

/// A generator of pseudo-random numbers (splitmix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}

/// Every tristate number of `N` bits.
fn tnums<const N: u32>() -> impl Iterator<Item = TnumOf<N>> {
    let all = 1u64 << N;
    (0..all).flat_map(move |mask| {
        (0..all).filter(move |value| value & mask == 0).map(move |value| TnumOf::new(value, mask))
    })
}

/// Every interval of `min..=max`.
fn intervals(min: i64, max: i64) -> impl Iterator<Item = (i64, i64)> {
    (min..=max).flat_map(move |low| (low..=max).map(move |high| (low, high)))
}

/// Every pair of intervals of `N` bits.
fn all_bounds<const N: u32>() -> impl Iterator<Item = Bounds<N>> {
    let full = Bounds::<N>::FULL;
    intervals(0, full.umax as i64).flat_map(move |(umin, umax)| {
        intervals(full.smin, full.smax).map(move |(smin, smax)| Bounds {
            umin: umin as u64,
            umax: umax as u64,
            smin,
            smax,
        })
    })
}

/// The members of both intervals.
fn gamma_bounds<const N: u32>(bounds: &Bounds<N>) -> Set {
    (0..1u64 << N).filter(|x| bounds.contains(*x)).fold(0, |set, x| set | 1 << x)
}

fn gamma_tnum<const N: u32>(tnum: TnumOf<N>) -> Set {
    (0..1u64 << N).filter(|x| tnum.contains(*x)).fold(0, |set, x| set | 1 << x)
}

/// The 4-bit numbers whose low half is in a set.
fn with_low_half_in(low: Set) -> Set {
    low | low << 4 | low << 8 | low << 12
}

fn gamma(scalar: &Small) -> Set {
    gamma_tnum(scalar.tnum())
        & gamma_bounds(&scalar.wide())
        & with_low_half_in(gamma_bounds(&scalar.low()))
}

/// The members of a set, in order.
fn members(set: Set) -> impl Iterator<Item = u64> {
    (0..16).filter(move |x| set >> x & 1 == 1)
}

/// Every small scalar that operations can meet, with its members: what `sync` makes of all known
/// bits and intervals. Intervals of the low half are taken with every 101st of the others.
fn small_scalars() -> &'static [(Small, Set)] {
    static SCALARS: OnceLock<Vec<(Small, Set)>> = OnceLock::new();
    SCALARS.get_or_init(|| find_small_scalars(101))
}

fn find_small_scalars(stride: usize) -> Vec<(Small, Set)> {
    let lows: Vec<Bounds<2>> =
        all_bounds().filter(|low| gamma_bounds(low) != 0 && *low != Bounds::FULL).collect();
    let mut met = HashSet::new();
    let mut number = 0usize;
    for tnum in tnums::<4>() {
        for wide in all_bounds::<4>() {
            number += 1;
            met.extend(Small::from_parts(tnum, wide, Bounds::FULL).and_then(Small::sync));
            for low in lows.iter().filter(|_| number.is_multiple_of(stride)) {
                met.extend(Small::from_parts(tnum, wide, *low).and_then(Small::sync));
            }
        }
    }
    let mut met: Vec<_> = met.into_iter().map(|scalar| (scalar, gamma(&scalar))).collect();
    // Values that contradict themselves arise nowhere but from contradictory operands.
    met.retain(|(_, members)| *members != 0);
    met.sort_by_key(|(scalar, _)| format!("{scalar:?}"));
    met
}
