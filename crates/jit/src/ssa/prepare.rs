//! What must hold before instructions are chosen: addresses have a clear upper half, and no edge
//! leads from a block with several successors to one with several predecessors.
//!
//! An address whose upper half may be set is truncated once, right where it is computed, for all
//! who use it: in front of loops rather than inside. This alone keeps code in its window.

use std::collections::HashMap;

use super::dominators::Dominators;
use super::hash::Fast;
use super::ir::{Block, BlockId, Edge, Func, Op, Term, Un, Val};
use super::widths::Widths;
use skep_bpf::op::Width;

/// Truncates addresses.
pub(crate) fn contain(func: &mut Func, dominators: &Dominators) {
    let widths = Widths::new(func, dominators);
    let mut truncated: HashMap<Val, Val, Fast> = HashMap::default();
    for &id in &dominators.order {
        for index in 0..func.blocks[id.index()].nodes.len() {
            let value = func.blocks[id.index()].nodes[index];
            let Some(addr) = func.op(value).address() else { continue };
            if widths.get(addr) <= 32 || func.constant(addr).is_some() {
                continue;
            }
            let low = *truncated.entry(addr).or_insert_with(|| {
                let pc = func.nodes[addr.index()].pc;
                func.make(Op::Unary(Un::Zext, Width::W32, addr), pc)
            });
            let node = &mut func.nodes[value.index()];
            node.op = node.op.with_address(low);
        }
    }
    if truncated.is_empty() {
        return;
    }
    for &id in &dominators.order {
        let block = &mut func.blocks[id.index()];
        let old = std::mem::take(&mut block.nodes);
        let params = block.params.iter().filter_map(|param| truncated.get(param));
        let mut nodes: Vec<Val> = params.copied().collect();
        for value in old {
            nodes.push(value);
            nodes.extend(truncated.get(&value));
        }
        block.nodes = nodes;
    }
}

/// Puts a block on every critical edge.
pub(crate) fn split_critical_edges(func: &mut Func, dominators: &Dominators) {
    for &id in &dominators.order {
        if !matches!(func.blocks[id.index()].term, Term::Branch { .. }) {
            continue;
        }
        let pc = func.blocks[id.index()].pc;
        let mut term = std::mem::replace(&mut func.blocks[id.index()].term, Term::Return(Val(0)));
        for edge in term.edges_mut() {
            if dominators.predecessors(edge.to).len() < 2 && edge.args.is_empty() {
                continue;
            }
            let between = BlockId(func.blocks.len() as u32);
            let on = std::mem::replace(edge, Edge { to: between, args: Vec::new() });
            let (params, nodes) = (Vec::new(), Vec::new());
            func.blocks.push(Block { params, nodes, term: Term::Jump(on), pc });
        }
        func.blocks[id.index()].term = term;
    }
}

impl Op {
    /// The address of an access.
    fn address(&self) -> Option<Val> {
        match *self {
            Op::Load { addr, .. }
            | Op::Store { addr, .. }
            | Op::LoadAcquire { addr, .. }
            | Op::StoreRelease { addr, .. }
            | Op::Atomic { addr, .. } => Some(addr),
            _ => None,
        }
    }

    fn with_address(mut self, new: Val) -> Op {
        match &mut self {
            Op::Load { addr, .. }
            | Op::Store { addr, .. }
            | Op::LoadAcquire { addr, .. }
            | Op::StoreRelease { addr, .. }
            | Op::Atomic { addr, .. } => *addr = new,
            _ => {}
        }
        self
    }
}
