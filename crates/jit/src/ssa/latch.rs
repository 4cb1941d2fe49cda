//! Loop counters that are compared before they are counted on: `i < n` beside `i + 1` keeps two
//! values alive where `i + 1 <= n` needs one, so that the counter stays in its register.
//!
//! The comparison may be made on the sum if the sum does not wrap. That is known from the width of
//! the counter or from a comparison that holds wherever this one is made.

use std::collections::HashMap;

use skep_bpf::op::{Cond, Width};

use super::dominators::Dominators;
use super::hash::Fast;
use super::ir::{Bin, BlockId, Func, Op, Term, Val};
use super::simplify::negated;
use super::widths::Widths;

/// How many blocks above are asked for what holds.
const MOST_STEPS: usize = 8;

/// Compares sums instead of what they are made of, where blocks pass the sums on; true if there
/// were any.
pub(crate) fn latches(func: &mut Func, dominators: &Dominators) -> bool {
    let mut known: Option<Known<'_>> = None;
    let mut any = false;
    for &id in &dominators.order {
        let Some(sum) = sum_brought_on(func, dominators, id) else { continue };
        let known = known.get_or_insert_with(|| Known::new(func, dominators));
        let Some((cond, a, b)) = better(func, known, id, sum) else { continue };
        if let Term::Branch { cond: old, a: left, b: right, .. } = &mut func.blocks[id.index()].term
        {
            (*old, *left, *right) = (cond, a, b);
            any = true;
        }
    }
    any
}

/// What is known of a function.
struct Known<'a> {
    dominators: &'a Dominators,
    widths: Widths,
    /// Where parameters belong.
    params: HashMap<Val, (BlockId, usize), Fast>,
}

impl<'a> Known<'a> {
    fn new(func: &Func, dominators: &'a Dominators) -> Known<'a> {
        let mut params = HashMap::default();
        for &id in &dominators.order {
            let block = &func.blocks[id.index()].params;
            params.extend(block.iter().enumerate().map(|(index, value)| (*value, (id, index))));
        }
        Known { dominators, widths: Widths::new(func, dominators), params }
    }
}

/// The sum of what a branch compares and a constant, if it is what the branch's ways bring on.
fn sum_brought_on(func: &Func, dominators: &Dominators, id: BlockId) -> Option<Val> {
    let block = &func.blocks[id.index()];
    let Term::Branch { width, a, then, other, .. } = &block.term else { return None };
    let (width, a) = (*width, *a);
    // What the ways bring on, those through a block that only they lead to included.
    let mut brought: Vec<Val> = Vec::new();
    for edge in [then, other] {
        brought.extend(&edge.args);
        let next = &func.blocks[edge.to.index()];
        if dominators.predecessors(edge.to).len() == 1
            && let Term::Jump(on) = &next.term
        {
            brought.extend(&on.args);
        }
    }
    if brought.contains(&a) || func.constant(a).is_some() {
        return None;
    }
    brought.iter().copied().find(|sum| {
        let adds = matches!(func.op(*sum), Op::Binary(Bin::Add, of, x, k)
            if x == a && func.constant(k).is_some() && (of == width || width == Width::W32));
        adds && block.nodes.contains(sum)
    })
}

fn better(func: &mut Func, known: &Known<'_>, id: BlockId, sum: Val) -> Option<(Cond, Val, Val)> {
    let Term::Branch { cond, width, a, b, .. } = func.blocks[id.index()].term else { return None };
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
    let largest = largest(func, known, (id, width), a);
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
fn largest(func: &Func, known: &Known<'_>, (id, width): (BlockId, Width), value: Val) -> u64 {
    let Known { dominators, widths, .. } = known;
    let by_bits = |value: Val| {
        let bits = u32::from(widths.get(value)).min(width.bits());
        u64::MAX.checked_shr(64 - bits).unwrap_or(0)
    };
    let by_width = |value: Val| match func.op(value) {
        // A minimum.
        Op::Select(Cond::Lt, of, [a, b, then, other]) if of == width && a == then && b == other => {
            by_bits(a).min(by_bits(b)).min(func.constant(b).unwrap_or(u64::MAX))
        }
        _ => by_bits(value),
    };
    let mut best = by_width(value).min(by_rounds(func, known, &by_width, (width, value)));
    let mut block = id;
    for _ in 0..MOST_STEPS {
        let [from] = dominators.predecessors(block)[..] else { break };
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

/// The largest number that a counter can be that starts at a constant and is only counted on, by
/// a constant, while it is below something.
fn by_rounds(
    func: &Func,
    known: &Known<'_>,
    by_width: &impl Fn(Val) -> u64,
    (width, value): (Width, Val),
) -> u64 {
    let most = match width {
        Width::W32 => u64::from(u32::MAX),
        Width::W64 => u64::MAX,
    };
    let Some(&(head, index)) = known.params.get(&value) else { return most };
    let mut largest = 0;
    for from in known.dominators.predecessors(head) {
        let term = &func.blocks[from.index()].term;
        for edge in term.edges().filter(|edge| edge.to == head) {
            let arg = edge.args[index];
            let bound = match (func.op(arg), term) {
                (Op::Const(number), _) => Some(number),
                (
                    Op::Binary(Bin::Add, of, x, amount),
                    Term::Branch { cond: Cond::Lt, width: compared, a, b, then, .. },
                ) if x == value
                    && *a == value
                    && of == width
                    && *compared == width
                    && then.to == head =>
                {
                    let amount = func.constant(amount).unwrap_or(u64::MAX);
                    let last = by_width(*b).saturating_sub(1);
                    last.checked_add(amount).filter(|sum| *sum <= most)
                }
                _ => None,
            };
            let Some(bound) = bound else { return most };
            largest = largest.max(bound);
        }
    }
    largest
}
