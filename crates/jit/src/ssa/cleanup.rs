//! Removes what does not matter: parameters that always bring the same value, nodes that nobody
//! reads, blocks that only lead on.

use super::dominators::Dominators;
use super::ir::{Block, BlockId, Edge, Func, Op, Term, Val};

/// Does all of it. The dominators are the function's before and after.
pub(crate) fn cleanup(func: &mut Func, dominators: &mut Dominators, proved: bool) {
    same_params(func, dominators);
    if skip_empty(func, &dominators.order) {
        *dominators = Dominators::new(func);
    }
    merge_blocks(func, dominators);
    dead_nodes(func, &dominators.order, proved);
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
fn same_params(func: &mut Func, dominators: &Dominators) {
    let order = &dominators.order;
    let has_params = |id: &BlockId| !func.blocks[id.index()].params.is_empty();
    let blocks: Vec<BlockId> = order.iter().copied().filter(has_params).collect();
    if blocks.is_empty() {
        return;
    }
    let mut replaced: Vec<Val> = (0..func.nodes.len() as u32).map(Val).collect();
    let mut any = false;
    let mut changed = true;
    while changed {
        changed = false;
        for &id in &blocks {
            changed |= brings_one(func, dominators, id, &mut replaced);
        }
        for &id in &blocks {
            changed |= equal_params(func, dominators, id, &mut replaced);
        }
        any |= changed;
    }
    if !any {
        return;
    }
    drop_params(func, order, |param| replaced[param.index()] != param);
    replace(func, order, &mut replaced);
}

/// The edges that lead to a block.
fn incoming<'a>(
    func: &'a Func,
    dominators: &'a Dominators,
    id: BlockId,
) -> impl Iterator<Item = &'a Edge> {
    let terms = dominators.predecessors(id).iter().map(|from| &func.blocks[from.index()].term);
    // Where both edges of a block lead here it is there twice, which does no harm.
    terms.flat_map(Term::edges).filter(move |edge| edge.to == id)
}

/// Replaces the parameters of a block to which all edges bring one value.
fn brings_one(func: &Func, dominators: &Dominators, id: BlockId, replaced: &mut [Val]) -> bool {
    let mut changed = false;
    for (index, &param) in func.blocks[id.index()].params.iter().enumerate() {
        if replaced[param.index()] != param {
            continue;
        }
        let mut only = None;
        let same = incoming(func, dominators, id).all(|edge| {
            let arg = resolve(replaced, edge.args[index]);
            arg == param || *only.get_or_insert(arg) == arg
        });
        if let (true, Some(only)) = (same, only) {
            replaced[param.index()] = only;
            changed = true;
        }
    }
    changed
}

/// Of parameters to which all edges bring the same values as to another, or both themselves, one
/// is enough.
fn equal_params(func: &Func, dominators: &Dominators, id: BlockId, replaced: &mut [Val]) -> bool {
    let params = &func.blocks[id.index()].params;
    let mut changed = false;
    for (i, &first) in params.iter().enumerate() {
        for (j, &second) in params.iter().enumerate().skip(i + 1) {
            if replaced[first.index()] != first || replaced[second.index()] != second {
                continue;
            }
            let same = incoming(func, dominators, id).all(|edge| {
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
    let mut loses = vec![false; func.blocks.len()];
    let mut any = false;
    for &id in order {
        let dropped = func.blocks[id.index()].params.iter().any(|param| drops(*param));
        loses[id.index()] = dropped;
        any |= dropped;
    }
    if !any {
        return;
    }
    for &id in order {
        let leads_there = |to: BlockId| loses[to.index()];
        if !func.blocks[id.index()].term.successors().into_iter().flatten().any(leads_there) {
            continue;
        }
        let mut term = std::mem::replace(&mut func.blocks[id.index()].term, Term::Return(Val(0)));
        for edge in term.edges_mut().filter(|edge| leads_there(edge.to)) {
            let params = &func.blocks[edge.to.index()].params;
            let mut keep = params.iter().map(|param| !drops(*param));
            edge.args.retain(|_| keep.next().unwrap_or(true));
        }
        func.blocks[id.index()].term = term;
    }
    for &id in order {
        func.blocks[id.index()].params.retain(|param| !drops(*param));
    }
}

/// Puts a block behind the only one that leads to it.
fn merge_blocks(func: &mut Func, dominators: &mut Dominators) {
    let mut merged: Vec<bool> = Vec::new();
    let mut brought: Vec<(Val, Val)> = Vec::new();
    for &id in &dominators.order {
        if merged.get(id.index()).is_some_and(|merged| *merged) {
            continue;
        }
        while let Term::Jump(Edge { to, args }) = &func.blocks[id.index()].term {
            let to = *to;
            if dominators.predecessors(to).len() != 1 || to == id || to == BlockId::ENTRY {
                break;
            }
            let next = &func.blocks[to.index()];
            brought.extend(next.params.iter().copied().zip(args.iter().copied()));
            let next = &mut func.blocks[to.index()];
            next.params.clear();
            let nodes = std::mem::take(&mut next.nodes);
            let pc = next.pc;
            let unused = Term::Unsupported { pc: skep_bpf::program::Pc::START };
            let term = std::mem::replace(&mut next.term, unused);
            let block = &mut func.blocks[id.index()];
            if block.nodes.is_empty() {
                block.pc = pc;
                block.nodes = nodes;
            } else {
                block.nodes.extend(nodes);
            }
            block.term = term;
            merged.resize(func.blocks.len(), false);
            merged[to.index()] = true;
        }
    }
    if merged.is_empty() {
        return;
    }
    // In reverse postorder a block that nothing else leads to comes right behind the one that does.
    let mut order = std::mem::take(&mut dominators.order);
    order.retain(|id| !merged[id.index()]);
    *dominators = Dominators::of(func, order);
    if !brought.is_empty() {
        let mut replaced: Vec<Val> = (0..func.nodes.len() as u32).map(Val).collect();
        for (param, arg) in brought {
            replaced[param.index()] = arg;
        }
        replace(func, &dominators.order, &mut replaced);
    }
}

/// Leads edges to a block that only jumps on to where it jumps; true if there were any.
fn skip_empty(func: &mut Func, order: &[BlockId]) -> bool {
    let mut any = false;
    for &id in order {
        let term = &func.blocks[id.index()].term;
        let skips = term.successors().into_iter().flatten().any(|to| leads_on(func, to).is_some());
        let joins = |term: &Term| matches!(term, Term::Branch { then, other, .. } if then == other);
        if !skips && !joins(term) {
            continue;
        }
        let mut term = std::mem::replace(&mut func.blocks[id.index()].term, Term::Return(Val(0)));
        for edge in term.edges_mut() {
            // A cycle of empty blocks must end somewhere.
            for _ in 0..8 {
                let Some(on) = leads_on(func, edge.to) else { break };
                if edge.to == BlockId::ENTRY || on.to == edge.to || on.to == id {
                    break;
                }
                *edge = on.clone();
                any = true;
            }
        }
        if joins(&term)
            && let Term::Branch { then, .. } = term
        {
            term = Term::Jump(then);
            any = true;
        }
        func.blocks[id.index()].term = term;
    }
    any
}

/// Where a block that does nothing else jumps.
fn leads_on(func: &Func, id: BlockId) -> Option<&Edge> {
    match &func.blocks[id.index()] {
        Block { params, nodes, term: Term::Jump(on), .. }
            if params.is_empty() && nodes.is_empty() =>
        {
            Some(on)
        }
        _ => None,
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

/// The end of a list.
const NOTHING: u32 = u32::MAX;

fn dead_nodes(func: &mut Func, order: &[BlockId], proved: bool) {
    let mut live = vec![false; func.nodes.len()];
    let mut queue: Vec<Val> = Vec::new();
    // What edges bring to each parameter: the latest, and what was brought before it.
    let mut latest: Vec<u32> = Vec::new();
    let mut brought: Vec<(Val, u32)> = Vec::new();
    let mut mark = |value: Val, queue: &mut Vec<Val>| {
        if !std::mem::replace(&mut live[value.index()], true) {
            queue.push(value);
        }
    };
    for &id in order {
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
        for edge in block.term.edges().filter(|edge| !edge.args.is_empty()) {
            latest.resize(func.nodes.len(), NOTHING);
            let params = &func.blocks[edge.to.index()].params;
            for (param, arg) in params.iter().zip(&edge.args) {
                let before = std::mem::replace(&mut latest[param.index()], brought.len() as u32);
                brought.push((*arg, before));
            }
        }
    }
    while let Some(value) = queue.pop() {
        let op = func.op(value);
        if matches!(op, Op::Param) {
            let mut next = latest.get(value.index()).copied().unwrap_or(NOTHING);
            while let Some(&(arg, before)) = brought.get(next as usize) {
                mark(arg, &mut queue);
                next = before;
            }
        }
        func.for_each_use(&op, |used| mark(used, &mut queue));
    }
    drop_params(func, order, |param| !live[param.index()]);
    for &id in order {
        func.blocks[id.index()].nodes.retain(|value| live[value.index()]);
    }
}
