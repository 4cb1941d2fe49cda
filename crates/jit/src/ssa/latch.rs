//! Loop counters that are compared before they are counted on: `i < n` beside `i + 1` keeps two
//! values alive where `i + 1 <= n` needs one, so that the counter stays in its register.
//!
//! The comparison may be made on the sum if the sum does not wrap. That is known from the width of
//! the counter or from a comparison that holds wherever this one is made.

use skep_bpf::op::{Cond, Width};

use super::dominators::Dominators;
use super::ir::{Bin, BlockId, Func, Op, Term, Val};
use super::simplify::negated;
use super::widths::Widths;

/// How many blocks above are asked for what holds.
const MOST_STEPS: usize = 8;

/// Compares sums instead of what they are made of, where blocks pass the sums on.
pub(crate) fn latches(func: &mut Func) {
    let dominators = Dominators::new(func);
    let widths = Widths::new(func, &dominators);
    for &id in &dominators.order {
        let Some((cond, a, b)) = better(func, &dominators, &widths, id) else { continue };
        if let Term::Branch { cond: old, a: left, b: right, .. } = &mut func.blocks[id.index()].term
        {
            (*old, *left, *right) = (cond, a, b);
        }
    }
}

fn better(
    func: &mut Func,
    dominators: &Dominators,
    widths: &Widths,
    id: BlockId,
) -> Option<(Cond, Val, Val)> {
    let block = &func.blocks[id.index()];
    let Term::Branch { cond, width, a, b, then, other } = &block.term else { return None };
    let (cond, width, a, b) = (*cond, *width, *a, *b);
    // What the ways bring on, those through a block that only they lead to included.
    let mut brought: Vec<Val> = Vec::new();
    for edge in [then, other] {
        brought.extend(&edge.args);
        let next = &func.blocks[edge.to.index()];
        if dominators.predecessors[edge.to.index()].len() == 1
            && let Term::Jump(on) = &next.term
        {
            brought.extend(&on.args);
        }
    }
    if brought.contains(&a) || func.constant(a).is_some() {
        return None;
    }
    let sum = brought.iter().copied().find(|sum| {
        let adds = matches!(func.op(*sum), Op::Binary(Bin::Add, of, x, k)
            if x == a && func.constant(k).is_some() && (of == width || width == Width::W32));
        adds && block.nodes.contains(sum)
    })?;
    let Op::Binary(_, of, _, amount) = func.op(sum) else { return None };
    let amount = func.constant(amount)?;
    let most = match width {
        Width::W32 => u64::from(u32::MAX),
        Width::W64 => u64::MAX,
    };
    if of == Width::W64 && width == Width::W32 && amount > most {
        return None;
    }
    let equality = matches!(cond, Cond::Eq | Cond::Ne);
    let largest = largest(func, dominators, widths, (id, width), a);
    let wraps = largest.checked_add(amount).is_none_or(|sum| sum > most);
    if wraps && !equality {
        return None;
    }
    match (cond, func.constant(b)) {
        (Cond::Eq | Cond::Ne, Some(number)) => {
            let b = func.make_const(number.wrapping_add(amount) & most);
            Some((cond, sum, b))
        }
        (Cond::Lt | Cond::Le | Cond::Gt | Cond::Ge, Some(number)) => {
            let number = (number & most).checked_add(amount).filter(|number| *number <= most)?;
            let b = func.make_const(number);
            Some((cond, sum, b))
        }
        (Cond::Lt, None) if amount == 1 => Some((Cond::Le, sum, b)),
        (Cond::Ge, None) if amount == 1 => Some((Cond::Gt, sum, b)),
        _ => None,
    }
}

/// The largest number that a value can be in a block, as a comparison of a width sees it.
fn largest(
    func: &Func,
    dominators: &Dominators,
    widths: &Widths,
    (id, width): (BlockId, Width),
    value: Val,
) -> u64 {
    let by_width = |value: Val| {
        let bits = u32::from(widths.get(value)).min(width.bits());
        u64::MAX.checked_shr(64 - bits).unwrap_or(0)
    };
    let mut best = by_width(value);
    let mut block = id;
    for _ in 0..MOST_STEPS {
        let [from] = dominators.predecessors[block.index()][..] else { break };
        if let Term::Branch { cond, width: of, a, b, then, other } = &func.blocks[from.index()].term
            && then.to != other.to
            && (*of == width || widths.get(value) <= 32)
        {
            let holds = if then.to == block { Some(*cond) } else { negated(*cond) };
            // Comparisons of low halves bound values that have no others.
            let bound = match holds {
                Some(Cond::Lt) if *a == value => by_width(*b).checked_sub(1),
                Some(Cond::Le) if *a == value => Some(by_width(*b)),
                Some(Cond::Gt) if *b == value => by_width(*a).checked_sub(1),
                Some(Cond::Ge) if *b == value => Some(by_width(*a)),
                _ => None,
            };
            let constant = match holds {
                Some(Cond::Lt) if *a == value => func.constant(*b).and_then(|n| n.checked_sub(1)),
                Some(Cond::Le) if *a == value => func.constant(*b),
                _ => None,
            };
            best = best.min(bound.unwrap_or(best)).min(constant.unwrap_or(best));
        }
        block = from;
    }
    best
}
