//! Where a lookup is known to have found its element, the element's address takes the place of
//! "the address, or 0 if the key is too large".
//!
//! Programs compare what a lookup gives with 0 before they use it. That comparison is the one of
//! the key with the number of elements; behind it, on either side, the value is known, and what
//! chose between the two is read by nobody.

use skep_bpf::op::{Cond, Width};

use super::cleanup::replace_below;
use super::dominators::Dominators;
use super::ir::{Bin, BlockId, Func, Op, Term, Un, Val};

/// A choice between an address and 0 by whether a key is below a number.
#[derive(Clone, Copy)]
struct Choice {
    value: Val,
    key: Val,
    limit: Val,
    address: Val,
}

/// Follows the results of lookups to where they are compared with 0.
pub(crate) fn follow(func: &mut Func, dominators: &Dominators) -> bool {
    let branches: Vec<(BlockId, bool, Choice)> =
        dominators.order.iter().filter_map(|id| branch(func, *id)).collect();
    if branches.is_empty() {
        return false;
    }
    let zero = func.make_const(0);
    for (id, equal, choice) in branches {
        let Term::Branch { then, other, .. } = &func.blocks[id.index()].term else { continue };
        let (then, other) = (then.to, other.to);
        let (none, some) = if equal { (then, other) } else { (other, then) };
        if none == some {
            continue;
        }
        for (to, value) in [(some, choice.address), (none, zero)] {
            if dominators.predecessors(to).len() == 1 && to != BlockId::ENTRY {
                replace_below(func, dominators, to, (choice.value, value));
            }
        }
        if let Term::Branch { cond, width, a, b, then, other } = &mut func.blocks[id.index()].term {
            *cond = if equal { Cond::Ge } else { Cond::Lt };
            (*width, *a, *b) = (Width::W32, choice.key, choice.limit);
            for edge in [then, other] {
                let value = if edge.to == some { choice.address } else { zero };
                for arg in &mut edge.args {
                    if *arg == choice.value {
                        *arg = value;
                    }
                }
            }
        }
    }
    true
}

/// The choice that a block's end compares with 0, and whether it asks for equality.
fn branch(func: &Func, id: BlockId) -> Option<(BlockId, bool, Choice)> {
    let Term::Branch { cond: cond @ (Cond::Eq | Cond::Ne), a, b, .. } =
        func.blocks[id.index()].term
    else {
        return None;
    };
    if func.constant(b) != Some(0) {
        return None;
    }
    let Op::Select(Cond::Lt, Width::W32, [key, limit, address, none]) = func.op(a) else {
        return None;
    };
    let entries = u64::from(func.constant(limit)? as u32);
    let most_key = entries.checked_sub(1)?;
    let (least, _) = range(func, address, (key, most_key))?;
    let choice = Choice { value: a, key, limit, address };
    (func.constant(none) == Some(0) && least > 0).then_some((id, cond == Cond::Eq, choice))
}

/// The least and the most that a value of 32 bits can be while a key is at most so much, if its
/// computation does not wrap around.
fn range(func: &Func, value: Val, key: (Val, u64)) -> Option<(u64, u64)> {
    let whole = |(least, most): (u64, u64)| (most <= u32::MAX.into()).then_some((least, most));
    match func.op(value) {
        _ if value == key.0 => Some((0, key.1)),
        Op::Const(number) => whole((number, number)),
        Op::Processor(count) => Some((0, u64::from(count.saturating_sub(1)))),
        Op::Unary(Un::Zext, _, inner) => range(func, inner, key),
        Op::Binary(bin @ (Bin::Add | Bin::Mul | Bin::Lsh), _, a, b) => {
            let (a, b) = (range(func, a, key)?, range(func, b, key)?);
            match bin {
                Bin::Add => whole((a.0 + b.0, a.1 + b.1)),
                Bin::Mul => whole((a.0 * b.0, a.1.checked_mul(b.1)?)),
                _ if b.0 == b.1 && b.1 < 32 => whole((a.0 << b.0, a.1 << b.1)),
                _ => None,
            }
        }
        _ => None,
    }
}
