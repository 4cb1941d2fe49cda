//! Local rules: an operation whose operands are known well enough is a simpler one.
//!
//! Rules look at a node and at the nodes it reads, never at who reads it. Constants stand on the
//! right; a mask of 32 bits is a zero extension; 32-bit operations see through extensions of
//! their operands; addresses give constants that they add to the displacement.

use skep_bpf::insn::Extend;
use skep_bpf::op::{Cond, Size, Width};

use super::divide;
use super::ir::{Bin, Op, Term, Un, Val};
use super::number::Numbering;

/// What became of an operation.
pub(crate) enum Simpler {
    /// Nothing simpler is known.
    No,
    /// Another operation.
    Op(Op),
    /// A value that exists.
    Value(Val),
}

/// Addresses wrap around at 32 bits, and nothing is mapped within this distance of either end: a
/// displacement up to here may be added without truncating the sum.
const FOLDED: i64 = 0xf000;

const LOW: u64 = u32::MAX as u64;

/// One step towards a simpler operation.
pub(crate) fn simpler(n: &mut Numbering<'_>, op: Op) -> Simpler {
    match op {
        Op::Binary(bin, width, a, b) => binary(n, bin, width, a, b),
        Op::Unary(un, width, a) => unary(n, un, width, a),
        Op::Select(cond, width, values) => select(n, cond, width, values),
        Op::Load { size, extend, addr, disp } => {
            if size == Size::Dw && extend == Extend::Sign {
                return Simpler::Op(Op::Load { size, extend: Extend::Zero, addr, disp });
            }
            let folded = address(n, addr, disp);
            folded.map_or(Simpler::No, |(addr, disp)| {
                Simpler::Op(Op::Load { size, extend, addr, disp })
            })
        }
        Op::Store { size, addr, disp, value } => address(n, addr, disp)
            .map_or(Simpler::No, |(addr, disp)| Simpler::Op(Op::Store { size, addr, disp, value })),
        Op::LoadAcquire { size, addr, disp } => address(n, addr, disp)
            .map_or(Simpler::No, |(addr, disp)| Simpler::Op(Op::LoadAcquire { size, addr, disp })),
        Op::StoreRelease { size, addr, disp, value } => address(n, addr, disp)
            .map_or(Simpler::No, |(addr, disp)| {
                Simpler::Op(Op::StoreRelease { size, addr, disp, value })
            }),
        Op::Atomic { op, width, addr, disp, src, expected } => address(n, addr, disp)
            .map_or(Simpler::No, |(addr, disp)| {
                Simpler::Op(Op::Atomic { op, width, addr, disp, src, expected })
            }),
        Op::Const(_) | Op::Param | Op::Entry(_) | Op::Processor(_) => Simpler::No,
        Op::Call(_) | Op::Charge(_) => Simpler::No,
        Op::ChargeBy(amount) => match n.constant(amount).map(|amount| i32::try_from(amount as i64))
        {
            Some(Ok(amount)) => Simpler::Op(Op::Charge(amount)),
            _ => Simpler::No,
        },
        Op::ChargeAndCheck(_) | Op::CheckDepth(_) | Op::Fuel => Simpler::No,
    }
}

/// The address without what it adds, and the displacement with it. Only its low half counts.
fn address(n: &mut Numbering<'_>, addr: Val, disp: i32) -> Option<(Val, i32)> {
    match n.op(addr) {
        Op::Binary(Bin::Add, _, base, number) => {
            let number = n.constant(number)? as u32 as i32;
            let disp = i64::from(disp) + i64::from(number);
            // An address that is a constant is folded as a whole.
            (disp.abs() <= FOLDED).then_some((base, disp as i32))
        }
        Op::Unary(Un::Zext | Un::Sext32, _, base) => Some((base, disp)),
        Op::Const(number) if disp != 0 || number > LOW => {
            let number = (number as u32).wrapping_add(disp as u32);
            Some((n.number(number.into()), 0))
        }
        _ => None,
    }
}

const fn mask(width: Width) -> u64 {
    match width {
        Width::W32 => LOW,
        Width::W64 => u64::MAX,
    }
}

/// An operand as a 32-bit operation sees it: without extensions.
fn low_half(n: &Numbering<'_>, value: Val) -> Val {
    match n.op(value) {
        Op::Unary(Un::Zext | Un::Sext32, _, inner) => inner,
        _ => value,
    }
}

/// A value that an operation of a width gives unchanged.
fn same(width: Width, value: Val) -> Simpler {
    match width {
        Width::W64 => Simpler::Value(value),
        Width::W32 => Simpler::Op(Op::Unary(Un::Zext, Width::W32, value)),
    }
}

fn binary(n: &mut Numbering<'_>, bin: Bin, width: Width, a: Val, b: Val) -> Simpler {
    let op = |a, b| Simpler::Op(Op::Binary(bin, width, a, b));
    if let (Some(x), Some(y)) = (n.constant(a), n.constant(b)) {
        return Simpler::Op(Op::Const(bin.eval(width, x, y)));
    }
    if n.constant(a).is_some() && bin.commutes() {
        return op(b, a);
    }
    if width == Width::W32 {
        let (low_a, low_b) = (low_half(n, a), low_half(n, b));
        if (low_a, low_b) != (a, b) {
            return op(low_a, low_b);
        }
    }
    if let Some(number) = n.constant(b) {
        let kept = number & mask(width);
        if kept != number {
            let b = n.number(kept);
            return op(a, b);
        }
        return with_number(n, bin, width, a, (b, number));
    }
    if bin.divides() && width == Width::W64 && n.width(a) <= 31 && n.width(b) <= 31 {
        return Simpler::Op(Op::Binary(bin, Width::W32, a, b));
    }
    if matches!(bin, Bin::Div | Bin::Mod)
        && width == Width::W64
        && n.width(a) <= 32
        && n.width(b) <= 32
    {
        return Simpler::Op(Op::Binary(bin, Width::W32, a, b));
    }
    match bin {
        Bin::Sub | Bin::Xor if a == b => Simpler::Op(Op::Const(0)),
        Bin::And | Bin::Or if a == b => same(width, a),
        Bin::Sub if n.constant(a) == Some(0) => Simpler::Op(Op::Unary(Un::Neg, width, b)),
        Bin::Add => match (n.op(a), n.op(b)) {
            (_, Op::Unary(Un::Neg, inner, y)) if inner == width => {
                Simpler::Op(Op::Binary(Bin::Sub, width, a, y))
            }
            (Op::Unary(Un::Neg, inner, x), _) if inner == width => {
                Simpler::Op(Op::Binary(Bin::Sub, width, b, x))
            }
            _ => rotation(n, width, a, b),
        },
        Bin::Or | Bin::Xor => rotation(n, width, a, b),
        _ => Simpler::No,
    }
}

/// Two shifts of one value in opposite directions that together are a rotation.
fn rotation(n: &Numbering<'_>, width: Width, a: Val, b: Val) -> Simpler {
    let (left, right) = match (n.op(a), n.op(b)) {
        (Op::Binary(Bin::Lsh, ..), Op::Binary(Bin::Rsh, ..)) => (a, b),
        (Op::Binary(Bin::Rsh, ..), Op::Binary(Bin::Lsh, ..)) => (b, a),
        _ => return Simpler::No,
    };
    let (Op::Binary(_, inner, x, up), Op::Binary(_, other, y, down)) = (n.op(left), n.op(right))
    else {
        return Simpler::No;
    };
    let (Some(up), Some(down)) = (n.constant(up), n.constant(down)) else { return Simpler::No };
    // A 64-bit combination of 32-bit shifts is a 32-bit rotation, whose upper half is 0 too.
    let fits = inner == other && (inner == width || inner == Width::W32);
    if fits && x == y && up + down == u64::from(inner.bits()) {
        let Op::Binary(_, _, _, amount) = n.op(left) else { return Simpler::No };
        return Simpler::Op(Op::Binary(Bin::Rotl, inner, x, amount));
    }
    Simpler::No
}

/// Rules for a constant second operand, which has no bits above the width.
fn with_number(
    n: &mut Numbering<'_>,
    bin: Bin,
    width: Width,
    a: Val,
    (b, number): (Val, u64),
) -> Simpler {
    let all = mask(width);
    match bin {
        Bin::Add | Bin::Or | Bin::Xor if number == 0 => same(width, a),
        Bin::Sub => {
            let b = n.number(number.wrapping_neg() & all);
            Simpler::Op(Op::Binary(Bin::Add, width, a, b))
        }
        Bin::Mul | Bin::And if number == 0 => Simpler::Op(Op::Const(0)),
        Bin::Mul | Bin::Div | Bin::Sdiv if number == 1 => same(width, a),
        Bin::Or if number == all => Simpler::Op(Op::Const(all)),
        Bin::And if number == all => same(width, a),
        Bin::And if number == LOW => Simpler::Op(Op::Unary(Un::Zext, Width::W32, a)),
        Bin::And => masked(n, width, a, (b, number)),
        Bin::Mul if number.is_power_of_two() => {
            let amount = n.number(number.trailing_zeros().into());
            Simpler::Op(Op::Binary(Bin::Lsh, width, a, amount))
        }
        Bin::Div if number.is_power_of_two() => {
            let amount = n.number(number.trailing_zeros().into());
            Simpler::Op(Op::Binary(Bin::Rsh, width, a, amount))
        }
        Bin::Mod if number.is_power_of_two() => {
            let bits = n.number(number - 1);
            Simpler::Op(Op::Binary(Bin::And, width, a, bits))
        }
        Bin::Div | Bin::Sdiv if number == 0 => Simpler::Op(Op::Const(0)),
        Bin::Mod | Bin::Smod if number == 0 => same(width, a),
        Bin::Div | Bin::Mod if n.passes.divide => divide::by_constant(n, bin, width, a, number),
        Bin::Sdiv | Bin::Smod if n.passes.divide => divide::signed(n, bin, width, a, number),
        Bin::Lsh | Bin::Rsh | Bin::Arsh | Bin::Rotl => shifted(n, bin, width, a, number),
        Bin::Add | Bin::Xor | Bin::Or => {
            // Constants of two such operations in a row are one.
            // If others read the first sum, both stay: one value lives on instead of two.
            if let Op::Binary(inner, of, x, y) = n.op(a)
                && (inner, of) == (bin, width)
                && let Some(other) = n.constant(y)
                && n.reassociates
                && n.is_read_once(a)
            {
                let both = n.number(bin.eval(width, other, number));
                return Simpler::Op(Op::Binary(bin, width, x, both));
            }
            Simpler::No
        }
        _ => Simpler::No,
    }
}

fn masked(n: &mut Numbering<'_>, width: Width, a: Val, (b, number): (Val, u64)) -> Simpler {
    let possible = u64::MAX.checked_shr(64 - u32::from(n.width(a))).unwrap_or(0);
    if possible & !number == 0 {
        return Simpler::Value(a);
    }
    match n.op(a) {
        Op::Binary(Bin::And, _, x, y) if n.constant(y).is_some() => {
            let both = n.constant(y).unwrap_or(0) & number;
            let both = n.number(both);
            Simpler::Op(Op::Binary(Bin::And, width, x, both))
        }
        // A mask of no more than 32 bits sees no more of its operand.
        Op::Unary(Un::Zext | Un::Sext32, _, x) if number <= LOW => {
            Simpler::Op(Op::Binary(Bin::And, Width::W32, x, b))
        }
        _ if width == Width::W64 && number <= LOW => {
            Simpler::Op(Op::Binary(Bin::And, Width::W32, a, b))
        }
        _ => Simpler::No,
    }
}

fn shifted(n: &mut Numbering<'_>, bin: Bin, width: Width, a: Val, number: u64) -> Simpler {
    let bits = u64::from(width.bits());
    let amount = number & (bits - 1);
    if amount != number {
        let b = n.number(amount);
        return Simpler::Op(Op::Binary(bin, width, a, b));
    }
    if amount == 0 {
        return same(width, a);
    }
    let known = u64::from(n.width(a));
    if bin == Bin::Rsh && amount >= known {
        return Simpler::Op(Op::Const(0));
    }
    if bin == Bin::Arsh && known < bits {
        let b = n.number(amount);
        return Simpler::Op(Op::Binary(Bin::Rsh, width, a, b));
    }
    if bin == Bin::Rsh && width == Width::W64 && known <= 32 {
        let b = n.number(amount);
        return Simpler::Op(Op::Binary(bin, Width::W32, a, b));
    }
    let Op::Binary(inner, of, x, y) = n.op(a) else { return Simpler::No };
    let Some(before) = n.constant(y).filter(|_| of == width) else { return Simpler::No };
    let all = mask(width);
    match (bin, inner) {
        (Bin::Lsh, Bin::Lsh) | (Bin::Rsh, Bin::Rsh) if amount + before >= bits => {
            Simpler::Op(Op::Const(0))
        }
        (Bin::Lsh, Bin::Lsh) | (Bin::Rsh, Bin::Rsh) => {
            let both = n.number(amount + before);
            Simpler::Op(Op::Binary(bin, width, x, both))
        }
        (Bin::Arsh, Bin::Lsh) if amount == before => {
            let un = match bits - amount {
                8 => Un::Sext8,
                16 => Un::Sext16,
                32 if width == Width::W64 => Un::Sext32,
                _ => return Simpler::No,
            };
            Simpler::Op(Op::Unary(un, width, x))
        }
        // The low bits of a value, moved up or down.
        (Bin::Rsh, Bin::Lsh) if before >= amount => {
            let kept = n.number(all >> before);
            let low = n.emit(Op::Binary(Bin::And, width, x, kept));
            let up = n.number(before - amount);
            Simpler::Op(Op::Binary(Bin::Lsh, width, low, up))
        }
        (Bin::Rsh, Bin::Lsh) => {
            let down = n.number(amount - before);
            let moved = n.emit(Op::Binary(Bin::Rsh, width, x, down));
            let kept = n.number(all >> amount);
            Simpler::Op(Op::Binary(Bin::And, width, moved, kept))
        }
        (Bin::Lsh, Bin::Rsh) if amount == before => {
            let kept = n.number((all << amount) & all);
            Simpler::Op(Op::Binary(Bin::And, width, x, kept))
        }
        _ => Simpler::No,
    }
}

fn unary(n: &mut Numbering<'_>, un: Un, width: Width, a: Val) -> Simpler {
    if let Some(number) = n.constant(a) {
        return Simpler::Op(Op::Const(un.eval(width, number)));
    }
    let known = n.width(a);
    let inner = n.op(a);
    match (un, inner) {
        (Un::Zext, _) if known <= 32 => Simpler::Value(a),
        (Un::Zext, Op::Unary(Un::Sext32, _, x)) => Simpler::Op(Op::Unary(un, width, x)),
        (Un::Sext32, _) if known < 32 => Simpler::Value(a),
        (Un::Sext32, Op::Unary(Un::Zext, _, x)) => Simpler::Op(Op::Unary(un, width, x)),
        (Un::Sext8, _) if known < 8 => Simpler::Value(a),
        (Un::Sext16, _) if known < 16 => Simpler::Value(a),
        (Un::Neg | Un::Swap, Op::Unary(other, of, x)) if other == un && of == width => {
            same(width, x)
        }
        _ => Simpler::No,
    }
}

fn select(n: &mut Numbering<'_>, cond: Cond, width: Width, values: [Val; 4]) -> Simpler {
    let [a, b, then, other] = values;
    if then == other {
        return Simpler::Value(then);
    }
    match compared(n, cond, width, a, b) {
        Compared::Known(holds) => Simpler::Value(if holds { then } else { other }),
        Compared::As(new) if new != (cond, width, a, b) => {
            let (cond, width, a, b) = new;
            Simpler::Op(Op::Select(cond, width, [a, b, then, other]))
        }
        Compared::As(_) => Simpler::No,
    }
}

/// What is known of a comparison.
enum Compared {
    Known(bool),
    As((Cond, Width, Val, Val)),
}

/// The comparison that holds where another does not, if there is one.
pub(crate) const fn negated(cond: Cond) -> Option<Cond> {
    Some(match cond {
        Cond::Eq => Cond::Ne,
        Cond::Ne => Cond::Eq,
        Cond::Gt => Cond::Le,
        Cond::Le => Cond::Gt,
        Cond::Ge => Cond::Lt,
        Cond::Lt => Cond::Ge,
        Cond::Sgt => Cond::Sle,
        Cond::Sle => Cond::Sgt,
        Cond::Sge => Cond::Slt,
        Cond::Slt => Cond::Sge,
        Cond::Set => return None,
    })
}

/// The comparison with its operands exchanged.
pub(crate) const fn exchanged(cond: Cond) -> Cond {
    match cond {
        Cond::Gt => Cond::Lt,
        Cond::Lt => Cond::Gt,
        Cond::Ge => Cond::Le,
        Cond::Le => Cond::Ge,
        Cond::Sgt => Cond::Slt,
        Cond::Slt => Cond::Sgt,
        Cond::Sge => Cond::Sle,
        Cond::Sle => Cond::Sge,
        Cond::Eq | Cond::Ne | Cond::Set => cond,
    }
}

fn compared(n: &mut Numbering<'_>, cond: Cond, width: Width, a: Val, b: Val) -> Compared {
    let (mut cond, mut width, mut a, mut b) = (cond, width, a, b);
    for _ in 0..MOST_STEPS {
        if let (Some(x), Some(y)) = (n.constant(a), n.constant(b)) {
            return Compared::Known(cond.eval(width, x, y));
        }
        if n.constant(a).is_some() {
            (a, b, cond) = (b, a, exchanged(cond));
        }
        if a == b && cond != Cond::Set {
            return Compared::Known(cond.eval(width, 0, 0));
        }
        let before = (cond, width, a, b);
        // Two numbers of at most 31 bits compare the same with 32 bits, signed or not.
        let (known_a, known_b) = (n.width(a), n.width(b));
        let signed = matches!(cond, Cond::Sgt | Cond::Sge | Cond::Slt | Cond::Sle);
        let most = if signed { 31 } else { 32 };
        if width == Width::W64 && known_a <= most && known_b <= most {
            width = Width::W32;
        }
        if width == Width::W32 {
            (a, b) = (low_half(n, a), low_half(n, b));
        }
        if let Some(number) = n.constant(b) {
            let number = number & mask(width);
            if width == Width::W32 && n.constant(b) != Some(number) {
                b = n.number(number);
            }
            match with_constant(n, cond, width, a, number) {
                Some(Compared::As(new)) => (cond, width, a, b) = new,
                Some(known) => return known,
                None => {}
            }
        }
        if before == (cond, width, a, b) {
            break;
        }
    }
    Compared::As((cond, width, a, b))
}

const MOST_STEPS: usize = 6;

fn with_constant(
    n: &mut Numbering<'_>,
    cond: Cond,
    width: Width,
    a: Val,
    number: u64,
) -> Option<Compared> {
    let as_is = |cond, a, b| Some(Compared::As((cond, width, a, b)));
    let known = n.width(a).min(width.bits() as u8);
    let most = u64::MAX.checked_shr(64 - u32::from(known)).unwrap_or(0);
    let all = mask(width);
    match cond {
        Cond::Eq | Cond::Ge | Cond::Gt if number > most => Some(Compared::Known(false)),
        Cond::Ne | Cond::Lt | Cond::Le if number > most => Some(Compared::Known(true)),
        Cond::Gt if number == most => Some(Compared::Known(false)),
        Cond::Le if number == most => Some(Compared::Known(true)),
        Cond::Set if number & most == 0 => Some(Compared::Known(false)),
        Cond::Ge if number == 0 => Some(Compared::Known(true)),
        Cond::Lt if number == 0 => Some(Compared::Known(false)),
        Cond::Gt if number == 0 => as_is(Cond::Ne, a, n.number(0)),
        Cond::Le if number == 0 => as_is(Cond::Eq, a, n.number(0)),
        Cond::Ge if number == 1 => as_is(Cond::Ne, a, n.number(0)),
        Cond::Lt if number == 1 => as_is(Cond::Eq, a, n.number(0)),
        Cond::Set if number == all => as_is(Cond::Ne, a, n.number(0)),
        Cond::Eq | Cond::Ne => match n.op(a) {
            // Whether a sum or difference is a number is a comparison of its operands.
            Op::Binary(Bin::Sub | Bin::Xor, of, x, y) if number == 0 && of == width => {
                as_is(cond, x, y)
            }
            Op::Binary(Bin::Add, of, x, y)
                if of == width && n.reassociates && n.is_read_once(a) =>
            {
                let other = n.constant(y)?;
                let b = n.number(number.wrapping_sub(other) & all);
                as_is(cond, x, b)
            }
            Op::Binary(Bin::Xor, of, x, y) if of == width => {
                let other = n.constant(y)?;
                let b = n.number(number ^ other);
                as_is(cond, x, b)
            }
            Op::Binary(Bin::And, of, x, y) if number == 0 && cond == Cond::Ne => {
                Some(Compared::As((Cond::Set, of.min(width), x, y)))
            }
            _ => None,
        },
        _ => None,
    }
}

/// Decides or simplifies the comparison that a block ends with.
pub(crate) fn terminator(n: &mut Numbering<'_>, term: &mut Term) {
    let Term::Branch { cond, width, a, b, then, other } = term else { return };
    match compared(n, *cond, *width, *a, *b) {
        Compared::Known(holds) => {
            let edge = if holds { then } else { other };
            *term = Term::Jump(edge.clone());
        }
        Compared::As(new) => {
            (*cond, *width, *a, *b) = new;
            // `x & m == 0` is `x & m` the other way round.
            if *cond == Cond::Eq
                && n.constant(*b) == Some(0)
                && let Op::Binary(Bin::And, of, x, y) = n.op(*a)
            {
                (*cond, *width, *a, *b) = (Cond::Set, of.min(*width), x, y);
                std::mem::swap(then, other);
            }
        }
    }
}
