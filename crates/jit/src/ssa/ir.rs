//! The form that tier 2 computes with: static single assignment over 64-bit values.
//!
//! A value is what a node computes; every value has 64 bits. An operation has a width as in BPF:
//! one of 32 bits reads the low halves of its operands and gives a value whose upper half is 0, on
//! both targets at no cost, so that there are neither types nor conversions between them. Blocks
//! have parameters instead of phi nodes. A block lists what is executed in it, in order; constants
//! belong to no block. What nodes compute is stated in `eval.rs`, how they print in `print.rs`.

use skep_bpf::insn::{Extend, Reg};
use skep_bpf::op::{AtomicOp, Cond, Size, Width};
use skep_bpf::platform::HelperId;
use skep_bpf::program::Pc;

use crate::flow::RegSet;

/// A value: the index of the node that computes it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Val(pub(crate) u32);

impl Val {
    /// The index of the node.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// A block: an index into [`Func::blocks`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct BlockId(pub(crate) u32);

impl BlockId {
    /// The block that functions start in.
    pub const ENTRY: BlockId = BlockId(0);

    /// The index of the block.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// Operations with two operands.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Bin {
    /// Addition.
    Add,
    /// Subtraction.
    Sub,
    /// Multiplication, the low half of the product.
    Mul,
    /// The upper half of the unsigned product of the width.
    MulHigh,
    /// Unsigned division; 0 if the divisor is 0.
    Div,
    /// Signed division; 0 if the divisor is 0.
    Sdiv,
    /// Unsigned remainder; the dividend if the divisor is 0.
    Mod,
    /// Signed remainder; the dividend if the divisor is 0.
    Smod,
    /// Bitwise or.
    Or,
    /// Bitwise and.
    And,
    /// Bitwise exclusive or.
    Xor,
    /// Left shift, the amount modulo the width.
    Lsh,
    /// Logical right shift, the amount modulo the width.
    Rsh,
    /// Arithmetic right shift, the amount modulo the width.
    Arsh,
    /// Rotation to the left, the amount modulo the width.
    Rotl,
}

impl Bin {
    /// Whether the operands may be exchanged.
    #[must_use]
    pub const fn commutes(self) -> bool {
        matches!(self, Bin::Add | Bin::Mul | Bin::MulHigh | Bin::Or | Bin::And | Bin::Xor)
    }

    /// Whether it is one of the four divisions, which are slow and are calls of nothing.
    #[must_use]
    pub const fn divides(self) -> bool {
        matches!(self, Bin::Div | Bin::Sdiv | Bin::Mod | Bin::Smod)
    }
}

/// Operations with one operand.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Un {
    /// Negation.
    Neg,
    /// The low half, zero-extended. Always of 32 bits.
    Zext,
    /// The low 8 bits, sign-extended to the width.
    Sext8,
    /// The low 16 bits, sign-extended to the width.
    Sext16,
    /// The low 32 bits, sign-extended. Always of 64 bits.
    Sext32,
    /// The low 16 bits, bytes exchanged, zero-extended. Always of 32 bits.
    Swap16,
    /// The low bits of the width, bytes in reverse order.
    Swap,
    /// The number of bits set.
    Popcnt,
    /// The number of zeros above the highest bit set; the width if there is none.
    Lzcnt,
    /// The number of zeros below the lowest bit set; the width if there is none.
    Tzcnt,
}

/// What a node computes or does.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Op {
    /// A number.
    Const(u64),
    /// A parameter of a block.
    Param,
    /// What a register holds when the function is entered; of `r10`, the top of its frame.
    Entry(Reg),
    /// The number of the processor that runs the program, which is below the one given.
    Processor(u32),
    /// Arithmetic on two operands.
    Binary(Bin, Width, Val, Val),
    /// Arithmetic on one operand.
    Unary(Un, Width, Val),
    /// The third value if a comparison of the first two holds, else the fourth.
    Select(Cond, Width, [Val; 4]),
    /// A load from an address plus a displacement.
    Load {
        /// The size of the access.
        size: Size,
        /// How the upper bits are filled.
        extend: Extend,
        /// The address; its upper half counts only if it was not shown to be 0.
        addr: Val,
        /// What is added to the low half of the address.
        disp: i32,
    },
    /// A store.
    Store {
        /// The size of the access.
        size: Size,
        /// The address, as of a load.
        addr: Val,
        /// What is added to it.
        disp: i32,
        /// What is stored.
        value: Val,
    },
    /// An atomic operation; its value is the old one.
    Atomic {
        /// The operation.
        op: AtomicOp,
        /// The width.
        width: Width,
        /// The address, as of a load.
        addr: Val,
        /// What is added to it.
        disp: i32,
        /// The operand.
        src: Val,
        /// What `cmpxchg` compares with; else any value.
        expected: Val,
    },
    /// A load with acquire ordering.
    LoadAcquire {
        /// The size of the access.
        size: Size,
        /// The address, as of a load.
        addr: Val,
        /// What is added to it.
        disp: i32,
    },
    /// A store with release ordering.
    StoreRelease {
        /// The size of the access.
        size: Size,
        /// The address, as of a load.
        addr: Val,
        /// What is added to it.
        disp: i32,
        /// What is stored.
        value: Val,
    },
    /// A call, by its index in [`Func::calls`]; its value is what the callee returns.
    Call(u32),
    /// Takes instructions off the fuel, which may be a negative number of them.
    Charge(i32),
    /// Takes instructions off the fuel; if that leaves less than none, asks the outside whether
    /// to go on. The node's position is the jump or call that runs out.
    ChargeAndCheck(i32),
    /// Takes from the fuel as many instructions as a value says, which may be negative.
    ChargeBy(Val),
    /// What the fuel's register says is left.
    Fuel,
    /// Traps if a call from so many frames below this function's would be too deep.
    CheckDepth(u32),
}

/// What a call calls.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Target {
    /// A helper.
    Helper(HelperId),
    /// A helper that calls functions of the program.
    CallBack(HelperId),
    /// A function that looks up an element: [`crate::source::Lookup::Call`], its address.
    Lookup(u64),
    /// A function of the program, by its entry.
    Local(Pc),
    /// The function or helper that a value, the last argument, names.
    Register,
    /// Another program, in which the run goes on unless that fails.
    TailCall,
    /// A load from the packet at the offset that is the first argument: the value, or
    /// [`OUTSIDE_PACKET`].
    Packet(Size),
}

/// What a packet load gives when it is outside the packet: more than four bytes can hold.
pub const OUTSIDE_PACKET: u64 = u64::MAX;

/// A call.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CallSite {
    /// What is called.
    pub target: Target,
    /// The registers that it reads.
    pub regs: RegSet,
    /// Their values in order; after them what else the target needs.
    pub args: Vec<Val>,
}

/// Where control goes, with the values that the block's parameters take.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Edge {
    /// The block.
    pub to: BlockId,
    /// As many values as it has parameters.
    pub args: Vec<Val>,
}

/// How a block ends.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Term {
    /// Goes on in another block.
    Jump(Edge),
    /// Goes on in the first block if the comparison holds, else in the second.
    Branch {
        /// The comparison.
        cond: Cond,
        /// Its width.
        width: Width,
        /// The left operand.
        a: Val,
        /// The right operand.
        b: Val,
        /// Where to if it holds.
        then: Edge,
        /// Where to if not.
        other: Edge,
    },
    /// Returns a value to the caller or ends the program.
    Return(Val),
    /// Stops the run: the instruction cannot be executed here.
    Unsupported {
        /// The instruction.
        pc: Pc,
    },
}

impl Term {
    /// Where the edges lead that leave the block.
    #[must_use]
    pub const fn successors(&self) -> [Option<BlockId>; 2] {
        match self {
            Term::Jump(edge) => [Some(edge.to), None],
            Term::Branch { then, other, .. } => [Some(then.to), Some(other.to)],
            Term::Return(_) | Term::Unsupported { .. } => [None, None],
        }
    }

    /// One of the edges that leave the block.
    #[must_use]
    pub const fn edge(&self, which: u8) -> Option<&Edge> {
        match (self, which) {
            (Term::Jump(edge), 0)
            | (Term::Branch { then: edge, .. }, 0)
            | (Term::Branch { other: edge, .. }, 1) => Some(edge),
            _ => None,
        }
    }

    /// The edges that leave the block.
    pub fn edges(&self) -> impl Iterator<Item = &Edge> {
        let (first, second) = match self {
            Term::Jump(edge) => (Some(edge), None),
            Term::Branch { then, other, .. } => (Some(then), Some(other)),
            Term::Return(_) | Term::Unsupported { .. } => (None, None),
        };
        first.into_iter().chain(second)
    }

    /// The edges that leave the block, to change them.
    pub fn edges_mut(&mut self) -> impl Iterator<Item = &mut Edge> {
        let (first, second) = match self {
            Term::Jump(edge) => (Some(edge), None),
            Term::Branch { then, other, .. } => (Some(then), Some(other)),
            Term::Return(_) | Term::Unsupported { .. } => (None, None),
        };
        first.into_iter().chain(second)
    }

    /// Calls a function with every value that is read, the arguments of edges included.
    pub fn for_each_use(&self, mut f: impl FnMut(Val)) {
        match self {
            Term::Branch { a, b, .. } => {
                f(*a);
                f(*b);
            }
            Term::Return(value) => f(*value),
            Term::Jump(_) | Term::Unsupported { .. } => {}
        }
        for edge in self.edges() {
            edge.args.iter().copied().for_each(&mut f);
        }
    }

    /// Replaces every value that is read.
    pub fn map_uses(&mut self, f: impl Fn(Val) -> Val) {
        match self {
            Term::Branch { a, b, .. } => {
                *a = f(*a);
                *b = f(*b);
            }
            Term::Return(value) => *value = f(*value),
            Term::Jump(_) | Term::Unsupported { .. } => {}
        }
        for edge in self.edges_mut() {
            for arg in &mut edge.args {
                *arg = f(*arg);
            }
        }
    }
}

/// A node and the instruction that it comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Node {
    /// What it computes.
    pub op: Op,
    /// The instruction, as an index.
    pub pc: u32,
}

/// Straight-line code.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Block {
    /// Values that edges to the block bring.
    pub params: Vec<Val>,
    /// What is executed, in order.
    pub nodes: Vec<Val>,
    /// How it ends.
    pub term: Term,
    /// The first instruction that it comes from, as an index.
    pub pc: u32,
}

/// A function.
#[derive(Clone, Debug, Default)]
pub struct Func {
    /// The nodes; a value is an index.
    pub nodes: Vec<Node>,
    /// The blocks; the first is the entry. Blocks that nothing leads to have no meaning.
    pub blocks: Vec<Block>,
    /// The calls.
    pub calls: Vec<CallSite>,
    /// The constants that exist, by their number.
    pub(crate) constants: std::collections::HashMap<u64, Val, crate::ssa::hash::Fast>,
}

impl Func {
    /// What a value is.
    #[must_use]
    pub fn op(&self, value: Val) -> Op {
        self.nodes[value.index()].op
    }

    /// The number that a value is, if it is a constant.
    #[must_use]
    pub fn constant(&self, value: Val) -> Option<u64> {
        match self.op(value) {
            Op::Const(number) => Some(number),
            _ => None,
        }
    }

    /// A constant.
    pub fn make_const(&mut self, number: u64) -> Val {
        let next = Val(self.nodes.len() as u32);
        let value = *self.constants.entry(number).or_insert(next);
        if value == next {
            self.nodes.push(Node { op: Op::Const(number), pc: 0 });
        }
        value
    }

    /// A node that belongs to no block yet.
    pub fn make(&mut self, op: Op, pc: u32) -> Val {
        if let Op::Const(number) = op {
            return self.make_const(number);
        }
        self.nodes.push(Node { op, pc });
        Val(self.nodes.len() as u32 - 1)
    }

    /// Calls a function with every value that a node reads.
    pub fn for_each_use(&self, op: &Op, mut f: impl FnMut(Val)) {
        match op {
            Op::Call(site) => self.calls[*site as usize].args.iter().copied().for_each(f),
            op => op.for_each_operand(&mut f),
        }
    }

    /// The blocks that can be reached from the entry, every one after one of its predecessors and
    /// after all of them except where there is a cycle.
    #[must_use]
    pub fn reverse_postorder(&self) -> Vec<BlockId> {
        let mut order = Vec::with_capacity(self.blocks.len());
        let mut seen = vec![false; self.blocks.len()];
        // A block and where its edges lead that were not followed.
        let mut path = Vec::with_capacity(self.blocks.len());
        seen[0] = true;
        path.push((BlockId::ENTRY, self.blocks[0].term.successors()));
        while let Some((block, successors)) = path.last_mut() {
            let next = match successors {
                [first @ Some(_), _] => first.take(),
                [None, second] => second.take(),
            };
            if let Some(next) = next {
                if !std::mem::replace(&mut seen[next.index()], true) {
                    path.push((next, self.blocks[next.index()].term.successors()));
                }
            } else {
                order.push(*block);
                path.pop();
            }
        }
        order.reverse();
        order
    }

    /// How often each value is read by what can be reached.
    #[must_use]
    pub fn use_counts(&self, order: &[BlockId]) -> Vec<u32> {
        let mut counts = vec![0_u32; self.nodes.len()];
        for &block in order {
            let block = &self.blocks[block.index()];
            for value in &block.nodes {
                self.for_each_use(&self.op(*value), |used| counts[used.index()] += 1);
            }
            block.term.for_each_use(|used| counts[used.index()] += 1);
        }
        counts
    }
}

impl Op {
    /// Calls a function with every value that is read, except the arguments of calls.
    pub fn for_each_operand(&self, f: &mut impl FnMut(Val)) {
        match self {
            Op::Const(_) | Op::Param | Op::Entry(_) | Op::Processor(_) | Op::Call(_) => {}
            Op::Charge(_) | Op::ChargeAndCheck(_) | Op::CheckDepth(_) | Op::Fuel => {}
            Op::Unary(_, _, a) | Op::ChargeBy(a) => f(*a),
            Op::Load { addr, .. } | Op::LoadAcquire { addr, .. } => f(*addr),
            Op::Binary(_, _, a, b) => {
                f(*a);
                f(*b);
            }
            Op::Store { addr, value, .. } | Op::StoreRelease { addr, value, .. } => {
                f(*addr);
                f(*value);
            }
            Op::Select(_, _, values) => values.iter().copied().for_each(f),
            Op::Atomic { op, addr, src, expected, .. } => {
                f(*addr);
                f(*src);
                if matches!(op, AtomicOp::Cmpxchg) {
                    f(*expected);
                }
            }
        }
    }

    /// The same with every value replaced, except the arguments of calls.
    #[must_use]
    pub fn map_operands(self, f: impl Fn(Val) -> Val) -> Op {
        match self {
            Op::Const(_) | Op::Param | Op::Entry(_) | Op::Processor(_) | Op::Call(_) => self,
            Op::Charge(_) | Op::ChargeAndCheck(_) | Op::CheckDepth(_) | Op::Fuel => self,
            Op::ChargeBy(amount) => Op::ChargeBy(f(amount)),
            Op::Unary(op, width, a) => Op::Unary(op, width, f(a)),
            Op::Binary(op, width, a, b) => Op::Binary(op, width, f(a), f(b)),
            Op::Select(cond, width, values) => Op::Select(cond, width, values.map(f)),
            Op::Load { size, extend, addr, disp } => Op::Load { size, extend, addr: f(addr), disp },
            Op::LoadAcquire { size, addr, disp } => Op::LoadAcquire { size, addr: f(addr), disp },
            Op::Store { size, addr, disp, value } => {
                Op::Store { size, addr: f(addr), disp, value: f(value) }
            }
            Op::StoreRelease { size, addr, disp, value } => {
                Op::StoreRelease { size, addr: f(addr), disp, value: f(value) }
            }
            Op::Atomic { op, width, addr, disp, src, expected } => {
                let (addr, src, expected) = (f(addr), f(src), f(expected));
                Op::Atomic { op, width, addr, disp, src, expected }
            }
        }
    }

    /// Whether the node only computes: it may be removed, repeated or moved to where its operands
    /// are known.
    #[must_use]
    pub const fn is_pure(&self) -> bool {
        matches!(
            self,
            Op::Const(_)
                | Op::Param
                | Op::Entry(_)
                | Op::Processor(_)
                | Op::Binary(..)
                | Op::Unary(..)
                | Op::Select(..)
        )
    }
}
