//! Removes what does not matter: parameters that always bring the same value, nodes that nobody
//! reads, blocks that only lead on.

use super::dominators::Dominators;
use super::ir::{BlockId, Edge, Func, Op, Term, Val};

/// Does all of it.
pub(crate) fn cleanup(func: &mut Func, proved: bool) {
    same_params(func);
    merge_blocks(func);
    dead_nodes(func, proved);
}

/// Follows replacements to their end.
fn resolve(replaced: &mut [Val], value: Val) -> Val {
    let mut end = value;
    while replaced[end.index()] != end {
        end = replaced[end.index()];
    }
    // Shorten the way for the next time.
    let mut at = value;
    while replaced[at.index()] != end {
        at = std::mem::replace(&mut replaced[at.index()], end);
    }
    end
}

/// Replaces values everywhere. A value that stays is its own replacement. Nodes that were
/// replaced are taken out of their blocks.
pub(crate) fn replace(func: &mut Func, order: &[BlockId], replaced: &mut [Val]) {
    for index in 0..replaced.len() {
        resolve(replaced, Val(index as u32));
    }
    let replaced = &*replaced;
    let to = |value: Val| replaced[value.index()];
    for &id in order {
        let block = &mut func.blocks[id.index()];
        block.nodes.retain(|value| to(*value) == *value);
        for value in &block.nodes {
            let node = &mut func.nodes[value.index()];
            node.op = node.op.map_operands(to);
            if let Op::Call(site) = node.op {
                for arg in &mut func.calls[site as usize].args {
                    *arg = to(*arg);
                }
            }
        }
        block.term.map_uses(to);
    }
}

/// Replaces a value by another in a block and all that it dominates.
pub(crate) fn replace_below(
    func: &mut Func,
    dominators: &Dominators,
    above: BlockId,
    (old, new): (Val, Val),
) {
    let to = |value: Val| if value == old { new } else { value };
    for &id in dominators.order.iter().filter(|id| dominators.dominates(above, **id)) {
        let block = &mut func.blocks[id.index()];
        for value in &block.nodes {
            let node = &mut func.nodes[value.index()];
            node.op = node.op.map_operands(to);
            if let Op::Call(site) = node.op {
                for arg in &mut func.calls[site as usize].args {
                    *arg = to(*arg);
                }
            }
        }
        block.term.map_uses(to);
    }
}

/// Removes parameters to which all edges bring the same value, or the parameter itself.
fn same_params(func: &mut Func) {
    let order = func.reverse_postorder();
    let mut incoming: Vec<Vec<(BlockId, u8)>> = vec![Vec::new(); func.blocks.len()];
    for &id in &order {
        for (which, edge) in func.blocks[id.index()].term.edges().enumerate() {
            incoming[edge.to.index()].push((id, which as u8));
        }
    }
    let mut replaced: Vec<Val> = (0..func.nodes.len() as u32).map(Val).collect();
    let mut any = false;
    let mut changed = true;
    while changed {
        changed = false;
        for &id in &order {
            for index in 0..func.blocks[id.index()].params.len() {
                let param = func.blocks[id.index()].params[index];
                if replaced[param.index()] != param {
                    continue;
                }
                let mut only = None;
                let mut same = true;
                for &(from, which) in &incoming[id.index()] {
                    let term = &func.blocks[from.index()].term;
                    let Some(edge) = term.edges().nth(which.into()) else { continue };
                    let arg = resolve(&mut replaced, edge.args[index]);
                    if arg != param {
                        same &= only.is_none_or(|only| only == arg);
                        only = Some(arg);
                    }
                }
                if let (true, Some(only)) = (same, only) {
                    replaced[param.index()] = only;
                    changed = true;
                }
            }
        }
        for &id in &order {
            let found = equal_params(func, id, &incoming[id.index()], &mut replaced);
            changed |= found;
        }
        any |= changed;
    }
    if !any {
        return;
    }
    drop_params(func, &order, |param| replaced[param.index()] != param);
    replace(func, &order, &mut replaced);
}

/// Of parameters to which all edges bring the same values as to another, or both themselves, one
/// is enough.
fn equal_params(
    func: &Func,
    id: BlockId,
    incoming: &[(BlockId, u8)],
    replaced: &mut [Val],
) -> bool {
    let params = &func.blocks[id.index()].params;
    let mut changed = false;
    for (i, &first) in params.iter().enumerate() {
        for (j, &second) in params.iter().enumerate().skip(i + 1) {
            if replaced[first.index()] != first || replaced[second.index()] != second {
                continue;
            }
            let same = incoming.iter().all(|&(from, which)| {
                let term = &func.blocks[from.index()].term;
                let Some(edge) = term.edges().nth(which.into()) else { return true };
                let (a, b) = (resolve(replaced, edge.args[i]), resolve(replaced, edge.args[j]));
                a == b || (a == first && b == second)
            });
            if same {
                replaced[second.index()] = first;
                changed = true;
            }
        }
    }
    changed
}

/// Removes parameters and what edges bring to them.
fn drop_params(func: &mut Func, order: &[BlockId], drops: impl Fn(Val) -> bool) {
    let has = |func: &Func, block: BlockId| {
        func.blocks[block.index()].params.iter().any(|param| drops(*param))
    };
    for &id in order {
        let mut term = std::mem::replace(&mut func.blocks[id.index()].term, Term::Return(Val(0)));
        for edge in term.edges_mut() {
            if has(func, edge.to) {
                let params = &func.blocks[edge.to.index()].params;
                let mut keep = params.iter().map(|param| !drops(*param));
                edge.args.retain(|_| keep.next().unwrap_or(true));
            }
        }
        func.blocks[id.index()].term = term;
    }
    for &id in order {
        func.blocks[id.index()].params.retain(|param| !drops(*param));
    }
}

/// Puts a block behind the only one that leads to it, and leads past blocks that do nothing.
fn merge_blocks(func: &mut Func) {
    skip_empty(func);
    let order = func.reverse_postorder();
    let mut count = vec![0_u32; func.blocks.len()];
    for &id in &order {
        for edge in func.blocks[id.index()].term.edges() {
            count[edge.to.index()] += 1;
        }
    }
    let mut replaced: Vec<Val> = (0..func.nodes.len() as u32).map(Val).collect();
    let mut merged = vec![false; func.blocks.len()];
    let mut any = false;
    for &id in &order {
        if merged[id.index()] {
            continue;
        }
        while let Term::Jump(Edge { to, args }) = &func.blocks[id.index()].term {
            let to = *to;
            if count[to.index()] != 1 || to == id || to == BlockId::ENTRY {
                break;
            }
            let args = args.clone();
            let next = &mut func.blocks[to.index()];
            let params = std::mem::take(&mut next.params);
            let nodes = std::mem::take(&mut next.nodes);
            let pc = next.pc;
            let unused = Term::Unsupported { pc: skep_bpf::program::Pc::START };
            let term = std::mem::replace(&mut next.term, unused);
            for (param, arg) in params.into_iter().zip(args) {
                replaced[param.index()] = arg;
            }
            let block = &mut func.blocks[id.index()];
            if block.nodes.is_empty() {
                block.pc = pc;
            }
            block.nodes.extend(nodes);
            block.term = term;
            merged[to.index()] = true;
            any = true;
        }
    }
    if any {
        let order = func.reverse_postorder();
        replace(func, &order, &mut replaced);
    }
}

/// Leads edges to a block that only jumps on to where it jumps.
fn skip_empty(func: &mut Func) {
    for id in func.reverse_postorder() {
        let mut term = std::mem::replace(&mut func.blocks[id.index()].term, Term::Return(Val(0)));
        for edge in term.edges_mut() {
            // A cycle of empty blocks must end somewhere.
            for _ in 0..8 {
                let next = &func.blocks[edge.to.index()];
                let (true, true, Term::Jump(on)) =
                    (next.nodes.is_empty(), next.params.is_empty(), &next.term)
                else {
                    break;
                };
                if edge.to == BlockId::ENTRY || on.to == edge.to || on.to == id {
                    break;
                }
                *edge = on.clone();
            }
        }
        if let Term::Branch { then, other, .. } = &term
            && then == other
        {
            term = Term::Jump(then.clone());
        }
        func.blocks[id.index()].term = term;
    }
}

/// Whether a node must stay even if nobody reads it. With a proof no load traps.
fn has_effect(op: &Op, proved: bool) -> bool {
    match op {
        Op::Load { .. } => !proved,
        Op::Fuel => false,
        op => !op.is_pure(),
    }
}

fn dead_nodes(func: &mut Func, proved: bool) {
    let order = func.reverse_postorder();
    let mut live = vec![false; func.nodes.len()];
    let mut queue: Vec<Val> = Vec::new();
    let mut brought: Vec<(Val, Val)> = Vec::new();
    let mut mark = |value: Val, queue: &mut Vec<Val>| {
        if !std::mem::replace(&mut live[value.index()], true) {
            queue.push(value);
        }
    };
    for &id in &order {
        let block = &func.blocks[id.index()];
        for &value in &block.nodes {
            if has_effect(&func.op(value), proved) {
                mark(value, &mut queue);
            }
        }
        match block.term {
            Term::Branch { a, b, .. } => {
                mark(a, &mut queue);
                mark(b, &mut queue);
            }
            Term::Return(value) => mark(value, &mut queue),
            Term::Jump(_) | Term::Unsupported { .. } => {}
        }
        for edge in block.term.edges() {
            let params = &func.blocks[edge.to.index()].params;
            brought.extend(params.iter().copied().zip(edge.args.iter().copied()));
        }
    }
    brought.sort_unstable();
    while let Some(value) = queue.pop() {
        let op = func.op(value);
        if matches!(op, Op::Param) {
            let first = brought.partition_point(|(param, _)| *param < value);
            for (_, arg) in brought[first..].iter().take_while(|(param, _)| *param == value) {
                mark(*arg, &mut queue);
            }
        }
        func.for_each_use(&op, |used| mark(used, &mut queue));
    }
    drop_params(func, &order, |param| !live[param.index()]);
    for &id in &order {
        func.blocks[id.index()].nodes.retain(|value| live[value.index()]);
    }
}
