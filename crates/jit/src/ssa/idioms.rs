//! Operations that processors have and BPF lacks: counting bits.
//!
//! Compilers for BPF count the bits that are set by adding up neighbours, first single bits, then
//! pairs, then groups of four, and the bytes by a multiplication ("Hacker's Delight", section
//! 5-1). The zeros above the highest bit are counted as the bits that are set in the complement
//! of the value smeared downward, those below the lowest as the bits of `!x & (x - 1)`.

use skep_bpf::op::Width;

use super::ir::{Bin, BlockId, Func, Op, Un, Val};

/// What the target counts by an instruction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Counts {
    /// Bits that are set.
    pub ones: bool,
    /// Zeros above the highest bit set.
    pub leading: bool,
    /// Zeros below the lowest bit set.
    pub trailing: bool,
}

impl Counts {
    /// All of them.
    pub const ALL: Counts = Counts { ones: true, leading: true, trailing: true };
}

/// Finds counts of bits; true if there were any.
pub(crate) fn find(func: &mut Func, order: &[BlockId], counts: Counts) -> bool {
    // Most functions do not even have the factor that adds up bytes.
    let factors = [Width::W32, Width::W64].map(|width| repeated(width, 1));
    if !factors.iter().any(|factor| func.constants.contains_key(factor)) {
        return false;
    }
    let mut any = false;
    for &id in order {
        for index in 0..func.blocks[id.index()].nodes.len() {
            let value = func.blocks[id.index()].nodes[index];
            let Some((width, counted)) = ones(func, value) else { continue };
            let found = if let (Some(of), true) = (smeared(func, width, counted), counts.leading) {
                Some((Un::Lzcnt, of))
            } else if let (Some(of), true) = (below(func, width, counted), counts.trailing) {
                Some((Un::Tzcnt, of))
            } else if counts.ones {
                Some((Un::Popcnt, counted))
            } else {
                None
            };
            if let Some((un, of)) = found {
                func.nodes[value.index()].op = Op::Unary(un, width, of);
                any = true;
            }
        }
    }
    any
}

/// The operands of an operation, the constant second.
fn with_number(func: &Func, value: Val, bin: Bin, width: Width) -> Option<(Val, u64)> {
    match func.op(value) {
        // A mask without upper bits may have become one of 32 bits.
        Op::Binary(op, of, a, b) if op == bin && (of == width || bin == Bin::And) => {
            Some((a, func.constant(b)?))
        }
        _ => None,
    }
}

/// The operands of an operation.
fn operands(func: &Func, value: Val, bin: Bin, width: Width) -> Option<(Val, Val)> {
    match func.op(value) {
        Op::Binary(op, of, a, b) if (op, of) == (bin, width) => Some((a, b)),
        _ => None,
    }
}

/// A value shifted down by an amount.
fn is_down(func: &Func, value: Val, width: Width, from: Val, amount: u64) -> bool {
    with_number(func, value, Bin::Rsh, width) == Some((from, amount))
}

/// A mask that repeats a byte.
const fn repeated(width: Width, byte: u64) -> u64 {
    let all = byte * 0x0101_0101_0101_0101;
    match width {
        Width::W32 => all & 0xffff_ffff,
        Width::W64 => all,
    }
}

/// The value whose bits an operation counts.
fn ones(func: &Func, value: Val) -> Option<(Width, Val)> {
    let Op::Binary(Bin::Rsh, width, product, amount) = func.op(value) else { return None };
    if func.constant(amount)? != u64::from(width.bits() - 8) {
        return None;
    }
    // All bytes together.
    let (bytes, factor) = with_number(func, product, Bin::Mul, width)?;
    let (sum, mask) = with_number(func, bytes, Bin::And, width)?;
    if factor != repeated(width, 1) || mask != repeated(width, 0x0f) {
        return None;
    }
    // Groups of four.
    let (x, y) = operands(func, sum, Bin::Add, width)?;
    let pairs = if is_down(func, y, width, x, 4) {
        x
    } else if is_down(func, x, width, y, 4) {
        y
    } else {
        return None;
    };
    // Pairs.
    let (x, y) = operands(func, pairs, Bin::Add, width)?;
    let threes = repeated(width, 0x33);
    let (x, y) = (with_number(func, x, Bin::And, width)?, with_number(func, y, Bin::And, width)?);
    if x.1 != threes || y.1 != threes {
        return None;
    }
    let bits = if is_down(func, y.0, width, x.0, 2) {
        x.0
    } else if is_down(func, x.0, width, y.0, 2) {
        y.0
    } else {
        return None;
    };
    // Bits.
    let (of, odd) = operands(func, bits, Bin::Sub, width)?;
    let (down, fives) = with_number(func, odd, Bin::And, width)?;
    let is_whole = fives == repeated(width, 0x55) && is_down(func, down, width, of, 1);
    is_whole.then_some((width, of))
}

/// The complement's operand.
fn complement(func: &Func, value: Val, width: Width) -> Option<Val> {
    let (of, ones) = with_number(func, value, Bin::Xor, width)?;
    let all = repeated(width, 0xff);
    (ones & all == all).then_some(of)
}

/// What was smeared downward and complemented, so that only bits above its highest are set.
fn smeared(func: &Func, width: Width, value: Val) -> Option<Val> {
    let mut now = complement(func, value, width)?;
    let mut amount = u64::from(width.bits()) / 2;
    while amount > 0 {
        let (x, y) = operands(func, now, Bin::Or, width)?;
        now = if is_down(func, y, width, x, amount) {
            x
        } else if is_down(func, x, width, y, amount) {
            y
        } else {
            return None;
        };
        amount /= 2;
    }
    Some(now)
}

/// The value of which only the bits below its lowest are set: `!x & (x - 1)`.
fn below(func: &Func, width: Width, value: Val) -> Option<Val> {
    let (x, y) = operands(func, value, Bin::And, width)?;
    let all = repeated(width, 0xff);
    let is_less = |value: Val, of: Val| {
        with_number(func, value, Bin::Add, width)
            .is_some_and(|(a, one)| a == of && one & all == all)
    };
    [(x, y), (y, x)]
        .into_iter()
        .find_map(|(not, less)| complement(func, not, width).filter(|of| is_less(less, *of)))
}
