//! Branches around a few cheap operations become selections.
//!
//! BPF has no conditional move, so compilers write a branch where they would rather select; which
//! way it goes is often unpredictable. Where both ways of a branch meet again in one block, and
//! what stands on them is cheap, does nothing but compute and cannot trap, it is computed in any
//! case and the results are selected. What the ways pay for fuel is selected as well.

use super::dominators::Dominators;
use super::ir::{BlockId, Edge, Func, Op, Term, Val};

/// The most operations that are computed in vain.
const MOST_NODES: usize = 3;
/// The most values that are selected.
const MOST_SELECTIONS: usize = 3;

/// Converts branches; true if there were any.
pub(crate) fn convert(func: &mut Func) -> bool {
    let dominators = Dominators::new(func);
    let in_loop = dominators.in_loops();
    let mut any = false;
    // From the end, so that inner branches are gone when outer ones are looked at.
    for (place, &id) in dominators.order.iter().enumerate().rev() {
        any |= one(func, &dominators, id, in_loop[place]);
    }
    any
}

/// One way of a branch: the operations on it, what it pays, and where and with what it arrives.
struct Way {
    nodes: Vec<Val>,
    pays: i32,
    arrives: Edge,
}

fn way(func: &Func, dominators: &Dominators, edge: &Edge) -> Option<Way> {
    let direct = Way { nodes: Vec::new(), pays: 0, arrives: edge.clone() };
    let block = &func.blocks[edge.to.index()];
    let Term::Jump(on) = &block.term else { return Some(direct) };
    let alone = dominators.predecessors[edge.to.index()].len() == 1 && block.params.is_empty();
    if !alone {
        return Some(direct);
    }
    let mut way = Way { nodes: Vec::new(), pays: 0, arrives: on.clone() };
    for &value in &block.nodes {
        match func.op(value) {
            Op::Charge(count) => way.pays += count,
            op if op.is_pure() && is_cheap(func, &op) => way.nodes.push(value),
            _ => return Some(direct),
        }
    }
    Some(way)
}

fn is_cheap(func: &Func, op: &Op) -> bool {
    use super::ir::Bin;
    match *op {
        Op::Binary(bin, _, _, b) => match bin {
            Bin::Mul | Bin::MulHigh => false,
            Bin::Lsh | Bin::Rsh | Bin::Arsh | Bin::Rotl => func.constant(b).is_some(),
            bin => !bin.divides(),
        },
        Op::Unary(..) => true,
        _ => false,
    }
}

fn one(func: &mut Func, dominators: &Dominators, id: BlockId, in_loop: bool) -> bool {
    let Term::Branch { cond, width, a, b, then, other } = &func.blocks[id.index()].term else {
        return false;
    };
    let (cond, width, a, b) = (*cond, *width, *a, *b);
    // What depends on memory in every round of a loop is better guessed than waited for.
    let is_loaded = |value: Val| matches!(func.op(value), Op::Load { .. });
    if in_loop && (is_loaded(a) || is_loaded(b)) {
        return false;
    }
    if then.to == other.to && then.to == id {
        return false;
    }
    let (Some(then), Some(other)) = (way(func, dominators, then), way(func, dominators, other))
    else {
        return false;
    };
    let to = then.arrives.to;
    // A way back to a loop's start is better left a jump.
    let is_back = dominators.is_back_edge(id, to);
    if to != other.arrives.to || to == id || is_back {
        return false;
    }
    let differ = |(x, y): &(&Val, &Val)| x != y;
    let selections =
        then.arrives.args.iter().zip(&other.arrives.args).filter(|pair| differ(pair)).count();
    if then.nodes.len() + other.nodes.len() > MOST_NODES || selections > MOST_SELECTIONS {
        return false;
    }
    let pc = func.blocks[id.index()].pc;
    let mut nodes: Vec<Val> = then.nodes.iter().chain(&other.nodes).copied().collect();
    let mut select = |func: &mut Func, x: Val, y: Val| {
        if x == y {
            return x;
        }
        let value = func.make(Op::Select(cond, width, [a, b, x, y]), pc);
        nodes.push(value);
        value
    };
    let args = then.arrives.args.iter().zip(&other.arrives.args);
    let args: Vec<Val> = args.map(|(x, y)| select(func, *x, *y)).collect();
    let common = then.pays.min(other.pays);
    if then.pays != other.pays {
        let x = func.make_const(i64::from(then.pays - common) as u64);
        let y = func.make_const(i64::from(other.pays - common) as u64);
        let amount = select(func, x, y);
        nodes.push(func.make(Op::ChargeBy(amount), pc));
    }
    if common != 0 {
        nodes.push(func.make(Op::Charge(common), pc));
    }
    let block = &mut func.blocks[id.index()];
    block.nodes.extend(nodes);
    block.term = Term::Jump(Edge { to, args });
    true
}
