//! Loops that end at the smaller of two bounds: one comparison instead of two.
//!
//! Compilers for BPF split `i < min(n, 750)` into two branches, since BPF has no minimum. Where
//! both leave the loop for the same block with the same values, and nothing but computation lies
//! between them, the minimum is computed once in front of the loop.

use skep_bpf::op::{Cond, Width};

use super::dominators::Dominators;
use super::ir::{BlockId, Edge, Func, Op, Term, Val};
use super::simplify::negated;

/// The most operations between the two branches, which are computed when the loop ends, too.
const MOST_NODES: usize = 8;

/// Merges exits; true if there were any.
pub(crate) fn merge_exits(func: &mut Func, dominators: &Dominators) -> bool {
    let mut home = vec![None; func.nodes.len()];
    for &id in &dominators.order {
        let block = &func.blocks[id.index()];
        for value in block.params.iter().chain(&block.nodes) {
            home[value.index()] = Some(id);
        }
    }
    let mut any = false;
    for &id in &dominators.order {
        let Some(found) = find(func, dominators, &home, id) else { continue };
        let Some(at) = home[found.bound.index()] else { continue };
        let values = [found.bound, found.constant, found.bound, found.constant];
        let pc = func.nodes[found.bound.index()].pc;
        let least = func.make(Op::Select(Cond::Lt, found.width, values), pc);
        let nodes = &mut func.blocks[at.index()].nodes;
        let place = nodes.iter().position(|value| *value == found.bound);
        nodes.insert(place.map_or(0, |place| place + 1), least);
        let moved = std::mem::take(&mut func.blocks[found.second.index()].nodes);
        let block = &mut func.blocks[id.index()];
        block.nodes.extend(moved);
        block.term = Term::Branch {
            cond: Cond::Lt,
            width: found.width,
            a: found.counter,
            b: least,
            then: found.stays,
            other: found.leaves,
        };
        any = true;
    }
    any
}

struct Found {
    /// The block with the second branch.
    second: BlockId,
    width: Width,
    counter: Val,
    bound: Val,
    constant: Val,
    stays: Edge,
    leaves: Edge,
}

/// The comparison that holds where control goes on by one of two edges; that edge, and the other.
type Way<'a> = (Cond, Width, Val, Val, &'a Edge, &'a Edge);

/// The two ways that a branch goes.
fn ways(term: &Term) -> [Option<Way<'_>>; 2] {
    let Term::Branch { cond, width, a, b, then, other } = term else { return [None, None] };
    let not = negated(*cond).map(|not| (not, *width, *a, *b, other, then));
    [Some((*cond, *width, *a, *b, then, other)), not]
}

fn find(
    func: &Func,
    dominators: &Dominators,
    home: &[Option<BlockId>],
    id: BlockId,
) -> Option<Found> {
    for way in ways(&func.blocks[id.index()].term).into_iter().flatten() {
        let (Cond::Lt, width, counter, bound, on, leaves) = way else { continue };
        let second = &func.blocks[on.to.index()];
        let alone = dominators.predecessors(on.to).len() == 1 && second.params.is_empty();
        let computes = second.nodes.iter().all(|value| func.op(*value).is_pure());
        if !alone || !computes || second.nodes.len() > MOST_NODES {
            continue;
        }
        for next in ways(&second.term).into_iter().flatten() {
            let (Cond::Lt, of, other_counter, constant, stays, also_leaves) = next else {
                continue;
            };
            let same = of == width && other_counter == counter && leaves == also_leaves;
            let is_constant = func.constant(constant).is_some();
            // The bound must be known in front of the loop.
            let head = stays.to;
            let outside =
                home[bound.index()].is_some_and(|at| at != head && dominators.dominates(at, head));
            if same && is_constant && outside && dominators.dominates(head, id) {
                let (stays, leaves) = (stays.clone(), leaves.clone());
                return Some(Found {
                    second: on.to,
                    width,
                    counter,
                    bound,
                    constant,
                    stays,
                    leaves,
                });
            }
        }
    }
    None
}
