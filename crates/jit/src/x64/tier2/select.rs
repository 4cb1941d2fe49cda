//! Chooses machine instructions.
//!
//! Blocks are visited from last to first, and within a block from the end: a node is only made if
//! something that was chosen needs its value. An instruction takes in what its operands compute
//! where the machine can do both at once: constants, loads that nobody else reads and that no
//! effect lies between, sums and shifts that `lea` can do. Operands are then those of the nodes
//! taken in.

mod arithmetic;

mod compare;

mod memory;

use regalloc2::{Operand, OperandConstraint, OperandKind, OperandPos, PReg, RegClass, VReg};
use skep_bpf::insn::{Extend, Insn, Reg};
use skep_bpf::op::{Size, Width};

use super::inst::{Base, Flags, Inst};
use crate::abi::TrapCode;
use crate::blocks::Blocks;
use crate::source::Source;
use crate::ssa::ir::{Bin, BlockId, CallSite, Func, Op, Target, Term, Val};
use crate::x64::Features;
use crate::x64::asm::{Bits, Gpr};
use crate::x64::regs::{SCRATCH, gpr};

/// An instruction, where its operands are, and what it comes from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chosen {
    pub(super) inst: Inst,
    pub(super) operands: (u32, u32),
    pub(super) pc: u32,
    /// The instruction whose access it makes.
    pub(super) access: u32,
}

/// A function of machine instructions on virtual registers.
#[derive(Clone, Debug, Default)]
pub(super) struct Machine {
    pub(super) insts: Vec<Chosen>,
    pub(super) operands: Vec<Operand>,
    pub(super) blocks: Blocks,
    pub(super) vregs: usize,
    pub(super) calls: Vec<CallSite>,
}

impl Machine {
    /// Whether anything needs the frame pointer in its register: accesses to the frame, and calls.
    pub(super) fn uses_frame(&self) -> bool {
        self.insts.iter().any(|chosen| match chosen.inst {
            Inst::FrameAddress(_) | Inst::Call(_) | Inst::CheckDepth(_) => true,
            inst => inst.amode().is_some_and(|amode| amode.base == Base::Frame),
        })
    }
}

/// The register allocator's name of a register.
pub(super) const fn preg(reg: Gpr) -> PReg {
    PReg::new(reg.number() as usize, RegClass::Int)
}

const NO_VREG: u32 = u32::MAX;

/// Chooses the instructions of a function whose critical edges are split.
pub(super) fn select(
    source: &Source<'_>,
    features: Features,
    func: &Func,
    order: &[BlockId],
) -> Machine {
    let mut selector = Selector {
        source,
        func,
        proved: source.proof.is_some(),
        features,
        uses: func.use_counts(order),
        colours: vec![0; func.nodes.len()],
        home: vec![BlockId(u32::MAX); func.nodes.len()],
        absorbed: vec![false; func.nodes.len()],
        access: None,
        vreg_of: vec![NO_VREG; func.nodes.len()],
        vregs: 0,
        operands: Vec::with_capacity(func.nodes.len() * 3),
        now: Vec::new(),
        block: BlockId::ENTRY,
        colour: 0,
        pc: 0,
    };
    selector.colour_effects(order);
    let mut reversed: Vec<Chosen> = Vec::with_capacity(func.nodes.len() * 2);
    let mut blocks = Blocks::new(func, order);
    for (index, &id) in order.iter().enumerate().rev() {
        let (start, operands) = (reversed.len(), selector.operands.len() as u32);
        selector.block(id, (index, &mut blocks), &mut reversed);
        if index == 0 {
            selector.arguments(id);
            reversed.extend(selector.now.drain(..).rev());
        }
        let operands = (operands, selector.operands.len() as u32);
        blocks.set_made(index, (start, reversed.len()), operands);
    }
    // Instructions were made backwards.
    blocks.reverse(reversed.len());
    reversed.reverse();
    blocks.number_long_last(&mut selector.operands, selector.vregs as usize);
    Machine {
        insts: reversed,
        operands: selector.operands,
        blocks,
        vregs: selector.vregs as usize,
        calls: func.calls.clone(),
    }
}

struct Selector<'a> {
    source: &'a Source<'a>,
    func: &'a Func,
    proved: bool,
    features: Features,
    uses: Vec<u32>,
    /// How many effects come before a node in its block.
    colours: Vec<u32>,
    home: Vec<BlockId>,
    /// Loads that take place in the instruction that reads them.
    absorbed: Vec<bool>,
    /// The position of a load that the next instruction with a memory operand makes.
    access: Option<u32>,
    vreg_of: Vec<u32>,
    vregs: u32,
    operands: Vec<Operand>,
    /// The instructions of the current node, in order.
    now: Vec<Chosen>,
    block: BlockId,
    /// The colour where the current node stands.
    colour: u32,
    pc: u32,
}

const fn bits(width: Width) -> Bits {
    match width {
        Width::W32 => Bits::B32,
        Width::W64 => Bits::B64,
    }
}

const fn size_bits(size: Size) -> Bits {
    match size {
        Size::B => Bits::B8,
        Size::H => Bits::B16,
        Size::W => Bits::B32,
        Size::Dw => Bits::B64,
    }
}

/// The immediate that an operation of a width takes for a number, if there is one.
fn immediate(width: Width, number: u64) -> Option<i32> {
    match width {
        Width::W32 => Some(number as u32 as i32),
        Width::W64 => i32::try_from(number as i64).ok(),
    }
}

fn use_of(vreg: VReg) -> Operand {
    Operand::reg_use(vreg)
}

/// A register, or the place on the stack of a value that is spilled.
fn any_use_of(vreg: VReg) -> Operand {
    Operand::any_use(vreg)
}

/// A result in the register of the operand with an index.
fn reuse(vreg: VReg, index: usize) -> Operand {
    Operand::reg_reuse_def(vreg, index)
}

/// A register that is read until the instruction's results are written.
fn late(vreg: VReg) -> Operand {
    Operand::reg_use_at_end(vreg)
}

/// A register that the instruction changes while it still reads others.
fn temporary(vreg: VReg) -> Operand {
    Operand::new(vreg, OperandConstraint::Reg, OperandKind::Def, OperandPos::Early)
}

impl Selector<'_> {
    /// How an operation counts among the effects that a load must not pass. With a proof loads
    /// do not disturb each other; without, it matters which of them traps.
    fn weight(&self, op: &Op) -> u32 {
        match op {
            Op::Charge(_) | Op::ChargeBy(_) | Op::Fuel => 0,
            Op::Load { .. } => u32::from(!self.proved),
            op => u32::from(!op.is_pure()),
        }
    }

    /// Colours nodes by the effects before them.
    fn colour_effects(&mut self, order: &[BlockId]) {
        for &id in order {
            let mut colour = 0;
            for &value in &self.func.blocks[id.index()].nodes {
                self.colours[value.index()] = colour;
                self.home[value.index()] = id;
                colour += self.weight(&self.func.op(value));
            }
        }
    }

    fn colour_at_end(&self, id: BlockId) -> u32 {
        let last = self.func.blocks[id.index()].nodes.last();
        last.map_or(0, |last| self.colours[last.index()] + self.weight(&self.func.op(*last)))
    }

    fn block(
        &mut self,
        id: BlockId,
        (index, blocks): (usize, &mut Blocks),
        reversed: &mut Vec<Chosen>,
    ) {
        self.block = id;
        let source = &self.func.blocks[id.index()];
        self.colour = self.colour_at_end(id);
        self.pc = source.nodes.last().map_or(source.pc, |last| self.func.nodes[last.index()].pc);
        self.terminator(&source.term, (index, blocks));
        reversed.extend(self.now.drain(..).rev());
        for &value in source.nodes.iter().rev() {
            let node = self.func.nodes[value.index()];
            if node.op.is_pure() && self.vreg_of[value.index()] == NO_VREG {
                continue;
            }
            if matches!(node.op, Op::Entry(_)) || self.absorbed[value.index()] {
                continue;
            }
            self.pc = node.pc;
            self.colour = self.colours[value.index()];
            self.node(value, node.op);
            reversed.extend(self.now.drain(..).rev());
        }
        blocks.set_params(index, source.params.iter().map(|param| self.vreg(*param)));
    }

    /// The arguments that are read, in the registers of the convention.
    fn arguments(&mut self, id: BlockId) {
        let start = self.operands.len();
        let nodes = &self.func.blocks[id.index()].nodes;
        for &value in nodes {
            if let Op::Entry(reg) = self.func.op(value)
                && self.vreg_of[value.index()] != NO_VREG
            {
                let vreg = self.vreg(value);
                self.operands.push(Operand::reg_fixed_def(vreg, preg(gpr(reg))));
            }
        }
        let operands = (start as u32, self.operands.len() as u32);
        self.pc = self.func.blocks[id.index()].pc;
        let pc = self.pc;
        self.now.push(Chosen { inst: Inst::Args, operands, pc, access: pc });
    }

    fn temp(&mut self) -> VReg {
        self.vregs += 1;
        VReg::new(self.vregs as usize - 1, RegClass::Int)
    }

    /// The register of a value, which is needed from now on.
    fn vreg(&mut self, value: Val) -> VReg {
        if self.vreg_of[value.index()] == NO_VREG {
            self.vreg_of[value.index()] = self.vregs;
            self.vregs += 1;
        }
        VReg::new(self.vreg_of[value.index()] as usize, RegClass::Int)
    }

    fn push(&mut self, inst: Inst, operands: &[Operand]) {
        let start = self.operands.len() as u32;
        self.operands.extend_from_slice(operands);
        let operands = (start, self.operands.len() as u32);
        let absorbed = if inst.amode().is_some() { self.access.take() } else { None };
        let access = absorbed.unwrap_or(self.pc);
        self.now.push(Chosen { inst, operands, pc: self.pc, access });
    }

    /// Has a load take place in the next instruction that accesses memory.
    fn absorb(&mut self, load: Val) {
        self.absorbed[load.index()] = true;
        self.access = Some(self.func.nodes[load.index()].pc);
    }

    /// A register with a value, which is made on the spot if that costs nothing elsewhere.
    fn reg(&mut self, value: Val) -> VReg {
        let inst = match self.func.op(value) {
            Op::Const(number) => Inst::Imm(number),
            Op::Entry(Reg::R10) => Inst::FrameAddress(0),
            Op::Binary(Bin::Add, Width::W64, a, b)
                if self.func.op(a) == Op::Entry(Reg::R10)
                    && self.constant(b).is_some_and(|b| immediate(Width::W64, b).is_some()) =>
            {
                Inst::FrameAddress(self.constant(b).unwrap_or(0) as i32)
            }
            _ => return self.vreg(value),
        };
        let temp = self.temp();
        self.push(inst, &[Operand::reg_def(temp)]);
        temp
    }

    fn constant(&self, value: Val) -> Option<u64> {
        self.func.constant(value)
    }

    /// What a value is if only the current node reads it and it may be computed here.
    fn only_here(&self, value: Val) -> Option<Op> {
        let here = self.uses[value.index()] == 1 && self.home[value.index()] == self.block;
        (here && self.vreg_of[value.index()] == NO_VREG).then(|| self.func.op(value))
    }

    fn node(&mut self, value: Val, op: Op) {
        match op {
            Op::Const(_) | Op::Param | Op::Entry(_) => {}
            Op::Processor(_) => {
                let dst = Operand::reg_def(self.vreg(value));
                self.push(Inst::Processor, &[dst]);
            }
            Op::Binary(bin, width, a, b) => self.binary(value, bin, width, a, b),
            Op::Unary(un, width, a) => self.unary(value, un, width, a),
            Op::Select(cond, width, values) => self.select(value, cond, width, values),
            Op::Load { size, extend, addr, disp } => {
                let dst = Operand::reg_def(self.vreg(value));
                self.push_mem((addr, disp), &[dst], |mem| Inst::Load(size, extend, mem));
            }
            Op::LoadAcquire { size, addr, disp } => {
                let bytes = size.bytes();
                self.check_aligned((addr, disp), bytes, TrapCode::MisalignedOrdered);
                let dst = Operand::reg_def(self.vreg(value));
                self.push_mem((addr, disp), &[dst], |mem| Inst::Load(size, Extend::Zero, mem));
            }
            Op::Store { size, addr, disp, value } => self.store(size, (addr, disp), value),
            Op::StoreRelease { size, addr, disp, value } => {
                let bytes = size.bytes();
                self.check_aligned((addr, disp), bytes, TrapCode::MisalignedOrdered);
                self.store(size, (addr, disp), value);
            }
            Op::Atomic { op, width, addr, disp, src, expected } => {
                self.atomic(value, (op, width), (addr, disp), (src, expected));
            }
            Op::Call(site) => self.call(value, site),
            Op::Charge(count) => self.push(Inst::Charge(count), &[]),
            Op::ChargeBy(amount) => {
                let amount = self.reg(amount);
                self.push(Inst::ChargeBy, &[use_of(amount)]);
            }
            Op::Fuel => {
                let dst = Operand::reg_def(self.vreg(value));
                self.push(Inst::Fuel, &[dst]);
            }
            Op::ChargeAndCheck(count) => self.push(Inst::ChargeAndCheck(count), &[]),
            Op::CheckDepth(levels) => {
                let temp = temporary(self.temp());
                self.push(Inst::CheckDepth(levels), &[temp]);
            }
        }
    }

    fn call(&mut self, value: Val, site: u32) {
        let func = self.func;
        let call = &func.calls[site as usize];
        let mut operands = SmallVec::new(&[]);
        let args: Vec<VReg> = call.args.iter().map(|arg| self.reg(*arg)).collect();
        operands.push(Operand::reg_fixed_def(self.vreg(value), preg(Gpr::Rax)));
        let mut args = args.into_iter();
        for (reg, arg) in call.regs.iter().zip(args.by_ref()) {
            operands.push(Operand::reg_fixed_use(arg, preg(gpr(reg))));
        }
        if let (Target::Register | Target::Packet(_), Some(last)) = (call.target, args.next()) {
            operands.push(Operand::reg_fixed_use(last, preg(SCRATCH)));
        }
        self.push(Inst::Call(site), operands.as_slice());
    }

    fn terminator(&mut self, term: &Term, (index, blocks): (usize, &mut Blocks)) {
        match term {
            Term::Jump(edge) => {
                blocks.set_args(index, edge.args.iter().map(|arg| self.reg(*arg)));
                self.push(Inst::Jump, &[]);
            }
            Term::Branch { cond, width, a, b, .. } => {
                let (test, cc, regs) = self.test(*cond, *width, *a, *b);
                let mut operands = SmallVec::new(&[]);
                for (index, reg) in regs.into_iter().enumerate() {
                    let may_be_spilled = index == 1 && matches!(test, Flags::Cmp(_));
                    operands.push(if may_be_spilled { any_use_of(reg) } else { use_of(reg) });
                }
                self.push(Inst::Branch(test, cc), operands.as_slice());
            }
            Term::Return(value) => {
                let value = self.reg(*value);
                let rax = preg(Gpr::Rax);
                self.push(Inst::Return, &[Operand::reg_fixed_use(value, rax)]);
            }
            Term::Unsupported { pc } => {
                self.pc = pc.index() as u32;
                let code = match self.source.insns[pc.index()] {
                    Insn::AddrSpaceCast { .. } => TrapCode::AddressSpaceCast,
                    _ => TrapCode::KernelFunction,
                };
                self.push(Inst::Trap(code), &[]);
            }
        }
    }
}

/// A few operands without an allocation.
struct SmallVec {
    items: [Operand; 8],
    len: usize,
}

impl SmallVec {
    fn new(items: &[Operand]) -> SmallVec {
        let fill = Operand::reg_use(VReg::new(0, RegClass::Int));
        let mut list = SmallVec { items: [fill; 8], len: 0 };
        for item in items {
            list.push(*item);
        }
        list
    }

    /// Adds an operand; no instruction has more than eight.
    fn push(&mut self, item: Operand) {
        self.items[self.len] = item;
        self.len += 1;
    }

    fn as_slice(&self) -> &[Operand] {
        &self.items[..self.len]
    }
}
