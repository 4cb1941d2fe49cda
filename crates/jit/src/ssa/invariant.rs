//! What computes the same in every round of a loop is computed in front of it.
//!
//! Compilers did that before; what is left comes from inlined functions and from other passes.
//! Only values that need no memory move, and only as long as registers are likely to be left for
//! them: what a loop uses from outside stays in registers all the while.

use super::dominators::Dominators;
use super::ir::{BlockId, Func, Op, Term};

/// The most blocks of a loop that is looked at.
const MOST_BLOCKS: usize = 64;
/// How many values from outside a loop may use, its parameters included.
const MOST_VALUES: usize = 10;

/// Moves computations in front of loops.
pub(crate) fn hoist(func: &mut Func, dominators: &Dominators) {
    let mut home: Vec<Option<BlockId>> = Vec::new();
    // Inner loops come later in the order, and first here: what leaves one may leave the next.
    for &head in dominators.order.iter().rev() {
        let Some((front, body)) = find(func, dominators, head) else { continue };
        if home.is_empty() {
            home = homes(func, dominators);
        }
        one(func, dominators, &mut home, (front, head, &body));
    }
}

/// The block of each node and parameter.
fn homes(func: &Func, dominators: &Dominators) -> Vec<Option<BlockId>> {
    let mut home = vec![None; func.nodes.len()];
    for &id in &dominators.order {
        let block = &func.blocks[id.index()];
        for value in block.params.iter().chain(&block.nodes) {
            home[value.index()] = Some(id);
        }
    }
    home
}

/// The block that does nothing but lead to a loop, and the blocks of the loop.
fn find(func: &Func, dominators: &Dominators, head: BlockId) -> Option<(BlockId, Vec<BlockId>)> {
    let mut front = None;
    let mut body = vec![head];
    for &from in dominators.predecessors(head) {
        if dominators.dominates(head, from) {
            if !body.contains(&from) {
                body.push(from);
            }
        } else if front.replace(from).is_some() {
            return None;
        }
    }
    let leads_here = |front: &BlockId| matches!(func.blocks[front.index()].term, Term::Jump(_));
    let front = front.filter(leads_here)?;
    if body.len() == 1 && !dominators.predecessors(head).contains(&head) {
        return None;
    }
    let mut next = 1;
    while let Some(&block) = body.get(next) {
        next += 1;
        for &from in dominators.predecessors(block) {
            if !body.contains(&from) {
                body.push(from);
            }
        }
        if body.len() > MOST_BLOCKS {
            return None;
        }
    }
    Some((front, body))
}

fn one(
    func: &mut Func,
    dominators: &Dominators,
    home: &mut [Option<BlockId>],
    (front, head, body): (BlockId, BlockId, &[BlockId]),
) {
    let latches = || {
        let all = dominators.predecessors(head).iter();
        all.filter(|from| body.contains(from))
    };
    let mut blocks = body.to_vec();
    blocks.sort_unstable_by_key(|id| dominators.position[id.index()]);
    let mut room = None;
    for id in blocks {
        let always = latches().all(|latch| dominators.dominates(id, *latch));
        for value in func.blocks[id.index()].nodes.clone() {
            let op = func.op(value);
            let slow = matches!(op, Op::Binary(bin, ..) if bin.divides());
            if !op.is_pure() || matches!(op, Op::Entry(_)) || (slow && !always) {
                continue;
            }
            let mut outside = true;
            func.for_each_use(&op, |used| {
                outside &= home[used.index()].is_none_or(|at| !body.contains(&at));
            });
            if !outside {
                continue;
            }
            let room =
                room.get_or_insert_with(|| MOST_VALUES.saturating_sub(used(func, home, body)));
            if *room == 0 {
                return;
            }
            *room -= 1;
            func.blocks[id.index()].nodes.retain(|other| *other != value);
            func.blocks[front.index()].nodes.push(value);
            home[value.index()] = Some(front);
        }
    }
}

/// How many values from outside a loop uses, and how many its head takes.
fn used(func: &Func, home: &[Option<BlockId>], body: &[BlockId]) -> usize {
    let mut values = Vec::new();
    for id in body {
        let block = &func.blocks[id.index()];
        let mut see = |value| {
            if !matches!(func.op(value), Op::Const(_)) {
                values.push(value);
            }
        };
        for value in &block.nodes {
            func.for_each_use(&func.op(*value), &mut see);
        }
        block.term.for_each_use(&mut see);
    }
    values.sort_unstable();
    values.dedup();
    let outside = |value: &super::ir::Val| home[value.index()].is_none_or(|at| !body.contains(&at));
    let params = body.first().map_or(0, |head| func.blocks[head.index()].params.len());
    values.into_iter().filter(outside).count() + params
}
