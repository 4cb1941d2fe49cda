//! Global value numbering: a node that computes what another computes above it is that other.
//!
//! Blocks are visited in reverse postorder. Operands are replaced, `simplify` looks at the result,
//! and what is left is looked up among the nodes made so far; a node is found if its block
//! dominates the place. Branches whose comparison is decided become jumps.

use std::collections::HashMap;

use super::Passes;
use super::cleanup;
use super::dominators::Dominators;
use super::hash::Fast;
use super::ir::{BlockId, Func, Op, Term, Val};
use super::simplify::{self, Simpler};
use super::widths::Widths;

/// The function while it is being numbered.
pub(crate) struct Numbering<'a> {
    pub(crate) func: &'a mut Func,
    pub(crate) widths: Widths,
    pub(crate) passes: Passes,
    pub(crate) reassociates: bool,
    /// How often values were read before the pass.
    uses: Vec<u32>,
    dominators: &'a Dominators,
    table: HashMap<Op, (Val, BlockId), Fast>,
    replaced: Vec<Val>,
    /// The block that nodes are added to, and its nodes so far.
    block: BlockId,
    nodes: Vec<Val>,
    /// The position of the node that is simplified.
    pc: u32,
}

/// Numbers the values of a function.
///
/// Sums with constants are only regrouped once equal values are one, when it is known what else
/// reads them.
pub(crate) fn number(func: &mut Func, passes: Passes, reassociates: bool) {
    let dominators = Dominators::new(func);
    let widths = Widths::new(func, &dominators);
    let replaced = (0..func.nodes.len() as u32).map(Val).collect();
    let table = HashMap::with_capacity_and_hasher(func.nodes.len(), Fast::default());
    let uses = func.use_counts(&dominators.order);
    let mut numbering = Numbering {
        func,
        widths,
        passes,
        reassociates,
        uses,
        dominators: &dominators,
        table,
        replaced,
        block: BlockId::ENTRY,
        nodes: Vec::new(),
        pc: 0,
    };
    for &block in &dominators.order {
        numbering.block(block);
    }
    let mut replaced = numbering.replaced;
    let order = func.reverse_postorder();
    replaced.extend((replaced.len() as u32..func.nodes.len() as u32).map(Val));
    cleanup::replace(func, &order, &mut replaced);
}

/// How often one operation may become another before it is left as it is.
const MOST_STEPS: usize = 8;

impl Numbering<'_> {
    fn block(&mut self, id: BlockId) {
        self.block = id;
        let block = &mut self.func.blocks[id.index()];
        let nodes = std::mem::take(&mut block.nodes);
        self.nodes = Vec::with_capacity(nodes.len());
        for value in nodes {
            let node = self.func.nodes[value.index()];
            self.pc = node.pc;
            let op = node.op.map_operands(|used| self.replaced[used.index()]);
            if let Op::Call(site) = op {
                for arg in &mut self.func.calls[site as usize].args {
                    *arg = self.replaced[arg.index()];
                }
            }
            let new = self.place(op, Some(value));
            self.replaced[value.index()] = new;
        }
        let mut term =
            std::mem::replace(&mut self.func.blocks[id.index()].term, Term::Return(Val(0)));
        term.map_uses(|used| self.replaced[used.index()]);
        self.pc = self.func.blocks[id.index()].pc;
        simplify::terminator(self, &mut term);
        let block = &mut self.func.blocks[id.index()];
        block.nodes = std::mem::take(&mut self.nodes);
        block.term = term;
    }

    /// The value of an operation: another's, or that of a node that is added here.
    pub(crate) fn emit(&mut self, op: Op) -> Val {
        self.place(op, None)
    }

    fn place(&mut self, mut op: Op, own: Option<Val>) -> Val {
        for _ in 0..MOST_STEPS {
            match simplify::simpler(self, op) {
                Simpler::Value(value) => return value,
                Simpler::Op(other) => op = other,
                Simpler::No => break,
            }
        }
        if let Op::Const(number) = op {
            let value = self.func.make_const(number);
            self.note(value, &op);
            return value;
        }
        if op.is_pure()
            && !matches!(op, Op::Param | Op::Entry(_))
            && let Some(&(value, block)) = self.table.get(&op)
            && self.dominators.dominates(block, self.block)
        {
            return value;
        }
        let value = match own {
            Some(value) => {
                self.func.nodes[value.index()].op = op;
                value
            }
            None => self.func.make(op, self.pc),
        };
        self.note(value, &op);
        self.nodes.push(value);
        if op.is_pure() && !matches!(op, Op::Param | Op::Entry(_)) {
            self.table.insert(op, (value, self.block));
        }
        value
    }

    fn note(&mut self, value: Val, op: &Op) {
        while self.replaced.len() <= value.index() {
            self.replaced.push(Val(self.replaced.len() as u32));
        }
        self.widths.learn(self.func, value, op);
    }

    /// Whether one node at most reads a value, as far as is known.
    pub(crate) fn is_read_once(&self, value: Val) -> bool {
        self.uses.get(value.index()).is_none_or(|uses| *uses <= 1)
    }

    /// The number that a value is.
    pub(crate) fn constant(&self, value: Val) -> Option<u64> {
        self.func.constant(value)
    }

    /// What a value is.
    pub(crate) fn op(&self, value: Val) -> Op {
        self.func.op(value)
    }

    /// A constant as a value.
    pub(crate) fn number(&mut self, number: u64) -> Val {
        self.emit(Op::Const(number))
    }

    /// How many low bits of a value can be set.
    pub(crate) fn width(&self, value: Val) -> u8 {
        self.widths.get(value)
    }
}
