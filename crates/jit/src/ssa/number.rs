//! Global value numbering: a node that computes what another computes above it is that other.
//!
//! Blocks are visited in reverse postorder. Operands are replaced, `simplify` looks at the result,
//! and what is left is looked up among the nodes made so far; a node is found if its block
//! dominates the place. Branches whose comparison is decided become jumps.

use super::Passes;
use super::dominators::Dominators;
use super::ir::{BlockId, Func, Op, Term, Val};
use super::simplify::{self, Simpler};
use super::table::Table;
use super::widths::Widths;

/// The function while it is being numbered.
pub(crate) struct Numbering<'a> {
    pub(crate) func: &'a mut Func,
    pub(crate) widths: Widths,
    pub(crate) passes: Passes,
    pub(crate) reassociates: bool,
    /// How often values were read before the pass, where sums are regrouped.
    uses: Vec<u32>,
    dominators: &'a Dominators,
    table: Table,
    /// The block of each value in the table.
    home: Vec<BlockId>,
    replaced: Vec<Val>,
    /// The block that nodes are added to, and its nodes so far.
    block: BlockId,
    nodes: Vec<Val>,
    /// The position of the node that is simplified.
    pc: u32,
    /// Whether a branch was decided.
    decided: bool,
}

/// Numbers the values of a function.
///
/// Sums with constants are only regrouped once equal values are one, when it is known what else
/// reads them. True if branches were decided: then the dominators are the function's no longer.
pub(crate) fn number(
    func: &mut Func,
    passes: Passes,
    reassociates: bool,
    dominators: &Dominators,
) -> bool {
    let widths = Widths::new(func, dominators);
    let replaced = (0..func.nodes.len() as u32).map(Val).collect();
    let table = Table::with_capacity(func.nodes.len() / 2);
    let home = vec![BlockId::ENTRY; func.nodes.len()];
    let uses = if reassociates { func.use_counts(&dominators.order) } else { Vec::new() };
    let mut numbering = Numbering {
        func,
        widths,
        passes,
        reassociates,
        uses,
        dominators,
        table,
        home,
        replaced,
        block: BlockId::ENTRY,
        nodes: Vec::new(),
        pc: 0,
        decided: false,
    };
    for &block in &dominators.order {
        numbering.block(block);
    }
    // What is read was computed above where it is read, so all of it has been replaced.
    debug_assert!(numbering.is_replaced(), "a value was read before it was numbered");
    numbering.decided
}

/// How often one operation may become another before it is left as it is.
const MOST_STEPS: usize = 8;

impl Numbering<'_> {
    fn block(&mut self, id: BlockId) {
        self.block = id;
        let block = &mut self.func.blocks[id.index()];
        let nodes = std::mem::take(&mut block.nodes);
        for &value in &nodes {
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
        let before = term.successors();
        simplify::terminator(self, &mut term);
        self.decided |= term.successors() != before;
        let block = &mut self.func.blocks[id.index()];
        block.nodes = nodes;
        block.nodes.clear();
        block.nodes.append(&mut self.nodes);
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
        let mut place = None;
        if op.is_pure() && !matches!(op, Op::Param | Op::Entry(_)) {
            let (found, at) = self.table.find(self.func, &op);
            if let Some(value) = found
                && self.dominators.dominates(self.home[value.index()], self.block)
            {
                return value;
            }
            place = Some(at);
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
        if let Some(place) = place {
            self.table.insert(place, value);
            if self.home.len() <= value.index() {
                self.home.resize(value.index() + 1, BlockId::ENTRY);
            }
            self.home[value.index()] = self.block;
        }
        value
    }

    fn note(&mut self, value: Val, op: &Op) {
        while self.replaced.len() <= value.index() {
            self.replaced.push(Val(self.replaced.len() as u32));
        }
        self.widths.learn(self.func, value, op);
    }

    /// Whether nothing reads a value that another replaced.
    fn is_replaced(&self) -> bool {
        let mut done = true;
        let replaced = |value: Val| self.replaced.get(value.index()).is_some_and(|to| *to != value);
        for &id in &self.func.reverse_postorder() {
            let block = &self.func.blocks[id.index()];
            for value in &block.nodes {
                done &= !replaced(*value);
                self.func.for_each_use(&self.func.op(*value), |used| done &= !replaced(used));
            }
            block.term.for_each_use(|used| done &= !replaced(used));
        }
        done
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
