//! Puts small functions in the place of their calls.
//!
//! A callee is inlined if it is small and calls no functions itself any more; callees come first.
//! It keeps its positions, its payments and its frame, 512 bytes below, so that traps, fuel and
//! memory are what they are with a call. Without a proof the depth of calls is asked for as the
//! call would.

use skep_bpf::insn::{Imm64, Insn, Reg};
use skep_bpf::op::Width;
use skep_bpf::program::Pc;

use super::ir::{Bin, Block, BlockId, Edge, Func, Op, Target, Term, Val};
use crate::abi::FRAME_BYTES;
use crate::flow::Flow;
use crate::source::Source;

/// The most nodes of a function that is inlined.
const MOST_NODES: usize = 48;
/// The most blocks of it.
const MOST_BLOCKS: usize = 12;
/// The most nodes that a caller grows to.
const MOST_GROWTH: usize = 4_000;

/// The order in which functions are looked at: callees before their callers, as far as there are
/// no cycles.
pub(crate) fn callees_first(source: &Source<'_>, flow: &Flow) -> Vec<usize> {
    let count = flow.functions.len();
    let mut order = Vec::with_capacity(count);
    let mut seen = vec![false; count];
    for start in 0..count {
        if seen[start] {
            continue;
        }
        seen[start] = true;
        // A function and the next of its instructions to look at.
        let mut path = vec![(start, flow.functions[start].entry as usize)];
        while let Some((function, at)) = path.last_mut() {
            let end = flow.functions[*function].end as usize;
            let insns = &source.program.insns()[*at..end];
            let found = insns.iter().position(|insn| leads_to(insn).is_some());
            let Some(found) = found else {
                order.push(*function);
                path.pop();
                continue;
            };
            let callee = insns.get(found).and_then(leads_to);
            *at += found + 1;
            if let Some(callee) = callee.and_then(|entry| flow.function_at(entry))
                && !seen[callee]
            {
                seen[callee] = true;
                path.push((callee, flow.functions[callee].entry as usize));
            }
        }
    }
    order
}

/// The function that an instruction calls or refers to.
fn leads_to(insn: &Insn<Pc>) -> Option<Pc> {
    match insn {
        Insn::LoadImm64 { imm: Imm64::Code(entry), .. } => Some(*entry),
        insn => insn.local_callee(),
    }
}

/// Whether a function is worth inlining wherever it is called.
pub(crate) fn is_small(func: &Func, order: &[BlockId]) -> bool {
    let blocks = || order.iter().map(|id| &func.blocks[id.index()]);
    let nodes: usize = blocks().map(|block| block.nodes.len()).sum();
    let calls = blocks().flat_map(|block| &block.nodes).any(|value| match func.op(*value) {
        // Packet loads end the function that they stand in, but as a branch of its own.
        Op::Call(site) => {
            !matches!(func.calls[site as usize].target, Target::Helper(_) | Target::Lookup(_))
        }
        _ => false,
    });
    nodes <= MOST_NODES && order.len() <= MOST_BLOCKS && !calls
}

/// Inlines the calls of a function for which there is a body.
pub(crate) fn inline<'a>(
    func: &mut Func,
    checks_depth: bool,
    body: impl Fn(skep_bpf::program::Pc) -> Option<&'a Func>,
) -> bool {
    let mut any = false;
    let mut index = 0;
    // Blocks that are added are looked at as well: they are what comes after a call.
    while index < func.blocks.len() && func.nodes.len() < MOST_GROWTH {
        let call = func.blocks[index].nodes.iter().position(|value| match func.op(*value) {
            Op::Call(site) => match func.calls[site as usize].target {
                Target::Local(entry) => body(entry).is_some(),
                _ => false,
            },
            _ => false,
        });
        if let Some(at) = call {
            let value = func.blocks[index].nodes[at];
            if let Op::Call(site) = func.op(value)
                && let Target::Local(entry) = func.calls[site as usize].target
                && let Some(callee) = body(entry)
            {
                one(func, callee, (BlockId(index as u32), at), site, checks_depth);
                any = true;
            }
        }
        index += 1;
    }
    any
}

/// Inlines one call: the `at`th node of a block.
fn one(func: &mut Func, callee: &Func, (id, at): (BlockId, usize), site: u32, checks_depth: bool) {
    let call = func.blocks[id.index()].nodes[at];
    let pc = func.nodes[call.index()].pc;
    let after = BlockId(func.blocks.len() as u32);
    let first = after.0 + 1;
    let entry = Edge { to: BlockId(first), args: Vec::new() };
    let block = &mut func.blocks[id.index()];
    let rest = block.nodes.split_off(at + 1);
    block.nodes.pop();
    let term = std::mem::replace(&mut block.term, Term::Jump(entry));
    // The call's value is what the callee's returns bring.
    func.nodes[call.index()].op = Op::Param;
    func.blocks.push(Block { params: vec![call], nodes: rest, term, pc });
    if checks_depth {
        let check = func.make(Op::CheckDepth(0), pc);
        func.blocks[id.index()].nodes.push(check);
    }
    let frame = frame_below(func, id, pc);
    let mut copy = Copy { func, callee, values: vec![None; callee.nodes.len()], site, frame };
    for block in &callee.blocks {
        for &param in &block.params {
            copy.values[param.index()] = Some(copy.func.make(Op::Param, copy.pc_of(param)));
        }
    }
    for block in callee.reverse_postorder() {
        for &value in &callee.blocks[block.index()].nodes {
            copy.node(value);
        }
    }
    for block in &callee.blocks {
        let copied = copy.block(block, first, after);
        copy.func.blocks.push(copied);
    }
}

/// The frame of a callee.
fn frame_below(func: &mut Func, id: BlockId, pc: u32) -> Val {
    let own = func.nodes.iter().position(|node| node.op == Op::Entry(Reg::R10));
    let own = match own {
        Some(index) => Val(index as u32),
        None => func.make(Op::Entry(Reg::R10), pc),
    };
    let bytes = func.make_const(FRAME_BYTES.into());
    let below = func.make(Op::Binary(Bin::Sub, Width::W32, own, bytes), pc);
    func.blocks[id.index()].nodes.push(below);
    below
}

struct Copy<'a> {
    func: &'a mut Func,
    callee: &'a Func,
    /// The copies of the callee's values.
    values: Vec<Option<Val>>,
    /// The call.
    site: u32,
    frame: Val,
}

impl Copy<'_> {
    fn pc_of(&self, value: Val) -> u32 {
        self.callee.nodes[value.index()].pc
    }

    /// The copy of a value; blocks that nothing leads to may read values without one.
    fn value(&mut self, value: Val) -> Val {
        if let Some(copied) = self.values[value.index()] {
            return copied;
        }
        let copied = match self.callee.op(value) {
            Op::Const(number) => self.func.make_const(number),
            Op::Entry(Reg::R10) => self.frame,
            Op::Entry(reg) => {
                let site = &self.func.calls[self.site as usize];
                let index = site.regs.iter().position(|passed| passed == reg);
                let passed = index.and_then(|index| site.args.get(index).copied());
                passed.unwrap_or_else(|| self.func.make_const(0))
            }
            _ => self.func.make_const(0),
        };
        self.values[value.index()] = Some(copied);
        copied
    }

    fn node(&mut self, value: Val) {
        let op = self.callee.op(value);
        if matches!(op, Op::Entry(_) | Op::Const(_)) {
            return;
        }
        self.callee.for_each_use(&op, |used| {
            self.value(used);
        });
        let values = &self.values;
        let to = |used: Val| values[used.index()].unwrap_or(used);
        let op = match op {
            Op::Call(site) => {
                let mut site = self.callee.calls[site as usize].clone();
                for arg in &mut site.args {
                    *arg = to(*arg);
                }
                self.func.calls.push(site);
                Op::Call(self.func.calls.len() as u32 - 1)
            }
            Op::CheckDepth(levels) => Op::CheckDepth(levels + 1),
            op => op.map_operands(to),
        };
        let copied = self.func.make(op, self.pc_of(value));
        self.values[value.index()] = Some(copied);
    }

    fn block(&mut self, block: &Block, first: u32, after: BlockId) -> Block {
        let mut used: Vec<Val> = Vec::new();
        block.term.for_each_use(|value| used.push(value));
        used.extend(&block.params);
        for value in used {
            self.value(value);
        }
        let copied = |list: &[Val], values: &[Option<Val>]| -> Vec<Val> {
            list.iter().filter_map(|value| values[value.index()]).collect()
        };
        let params = copied(&block.params, &self.values);
        let nodes: Vec<Val> = block
            .nodes
            .iter()
            .filter(|value| !matches!(self.callee.op(**value), Op::Entry(_)))
            .copied()
            .collect();
        let nodes = copied(&nodes, &self.values);
        let mut term = block.term.clone();
        term.map_uses(|value| self.values[value.index()].unwrap_or(value));
        let term = match term {
            Term::Return(value) => Term::Jump(Edge { to: after, args: vec![value] }),
            mut other => {
                for edge in other.edges_mut() {
                    edge.to = BlockId(edge.to.0 + first);
                }
                other
            }
        };
        Block { params, nodes, term, pc: block.pc }
    }
}
