//! Members of ranges stay members: of every operation's result, and after comparisons.

use skep_bpf::op::{Cond, Width};

use super::range::Range;
use crate::ssa::ir::{Bin, Un};
use crate::ssa::tests::Random;

const BINARY: [Bin; 16] = [
    Bin::Add,
    Bin::Sub,
    Bin::Mul,
    Bin::MulHigh,
    Bin::Div,
    Bin::Sdiv,
    Bin::Mod,
    Bin::Smod,
    Bin::Or,
    Bin::And,
    Bin::Xor,
    Bin::Lsh,
    Bin::Rsh,
    Bin::Arsh,
    Bin::Rotl,
    Bin::Add,
];

const UNARY: [Un; 10] = [
    Un::Neg,
    Un::Zext,
    Un::Sext8,
    Un::Sext16,
    Un::Sext32,
    Un::Swap16,
    Un::Swap,
    Un::Popcnt,
    Un::Lzcnt,
    Un::Tzcnt,
];

/// A number near an edge, or any.
fn number(random: &mut Random) -> u64 {
    let near = random.below(5) as u64;
    match random.below(6) {
        0 => near,
        1 => near.wrapping_neg(),
        2 => (1_u64 << random.below(64)).wrapping_sub(2).wrapping_add(near),
        3 => u64::from(u32::MAX) - 2 + near,
        4 => u64::from(random.bits() as u32 >> random.below(32)),
        _ => random.bits() >> random.below(64),
    }
}

/// Some numbers and the range of them.
fn range(random: &mut Random) -> (Vec<u64>, Range) {
    let count = 1 + random.below(3);
    let numbers: Vec<u64> = (0..count).map(|_| number(random)).collect();
    let ranges = numbers.iter().map(|number| Range::number(*number));
    let range = ranges.reduce(Range::join).unwrap();
    (numbers, range)
}

fn has(range: Range, number: u64) -> bool {
    range.min <= number && number <= range.max && number & !range.bits == 0
}

#[test]
fn results_are_in_their_ranges() {
    let mut random = Random(7);
    for _ in 0..60_000 {
        let width = random.of(Width::ALL);
        let ((xs, a), (ys, b)) = (range(&mut random), range(&mut random));
        let (bin, un, cond) = (random.of(&BINARY), random.of(&UNARY), random.of(Cond::ALL));
        let (sum, one) = (Range::binary(bin, width, a, b), Range::unary(un, width, a));
        let decided = Range::decides(cond, width, a, b);
        let (left, right) = Range::compared(cond, width, a, b);
        for &x in &xs {
            assert!(has(a, x) && has(a.low(Width::W32), u64::from(x as u32)), "{x:#x} in {a:?}");
            let value = un.eval(width, x);
            assert!(has(one, value), "{un:?} {width:?} {x:#x} = {value:#x} not in {one:?}");
            for &y in &ys {
                let value = bin.eval(width, x, y);
                assert!(
                    has(sum, value),
                    "{bin:?} {width:?} {x:#x} {y:#x} = {value:#x} not in {sum:?}"
                );
                let holds = cond.eval(width, x, y);
                let text = || format!("{x:#x} {cond:?} {width:?} {y:#x}: {a:?} {b:?}");
                assert!(decided.is_none_or(|decided| decided == holds), "{}", text());
                assert!(!holds || (has(left, x) && has(right, y)), "{}", text());
            }
        }
    }
}
