//! Chooses machine instructions.
//!
//! Blocks are visited from last to first, and within a block from the end: a node is only made if
//! something that was chosen needs its value. An instruction takes in what its operands compute
//! where the machine can do both at once: constants, loads that nobody else reads and that no
//! effect lies between, sums and shifts that `lea` can do. Operands are then those of the nodes
//! taken in.

use regalloc2::{Operand, OperandConstraint, OperandKind, OperandPos, PReg, RegClass, VReg};
use skep_bpf::insn::{Extend, Insn, Reg};
use skep_bpf::op::{AtomicOp, Cond, Size, Width};

use super::inst::{Amode, Base, Inst, Test};
use crate::abi::TrapCode;
use crate::source::Source;
use crate::ssa::ir::{Bin, BlockId, CallSite, Func, Op, Target, Term, Un, Val};
use crate::x64::Features;
use crate::x64::asm::{Alu, Bits, Cc, Count, Gpr, Scale, Shift, Unary};
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

/// A block of machine instructions.
#[derive(Clone, Debug, Default)]
pub(super) struct MachineBlock {
    /// The instructions' indices.
    pub(super) insts: (u32, u32),
    pub(super) succs: Vec<regalloc2::Block>,
    pub(super) preds: Vec<regalloc2::Block>,
    pub(super) params: Vec<VReg>,
    /// What the only edge of a block that jumps brings.
    pub(super) args: Vec<VReg>,
    /// The block of the function that it was made of.
    pub(super) origin: BlockId,
}

/// A function of machine instructions on virtual registers.
#[derive(Clone, Debug, Default)]
pub(super) struct Machine {
    pub(super) insts: Vec<Chosen>,
    pub(super) operands: Vec<Operand>,
    pub(super) blocks: Vec<MachineBlock>,
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
    let mut blocks: Vec<MachineBlock> = vec![MachineBlock::default(); order.len()];
    let mut place = vec![u32::MAX; func.blocks.len()];
    for (index, id) in order.iter().enumerate() {
        place[id.index()] = index as u32;
    }
    let mut ends = vec![(0, 0); order.len()];
    for (index, &id) in order.iter().enumerate().rev() {
        let start = reversed.len();
        let block = &mut blocks[index];
        block.origin = id;
        selector.block(id, block, &mut reversed);
        if index == 0 {
            selector.arguments(id);
            reversed.extend(selector.now.drain(..).rev());
        }
        ends[index] = (start, reversed.len());
    }
    // Instructions were made backwards.
    let total = reversed.len() as u32;
    reversed.reverse();
    for (block, (start, end)) in blocks.iter_mut().zip(ends) {
        block.insts = (total - end as u32, total - start as u32);
    }
    for (index, &id) in order.iter().enumerate() {
        for edge in func.blocks[id.index()].term.edges() {
            let to = place[edge.to.index()];
            blocks[index].succs.push(regalloc2::Block::new(to as usize));
            blocks[to as usize].preds.push(regalloc2::Block::new(index));
        }
    }
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

fn condition(cond: Cond) -> Cc {
    match cond {
        Cond::Eq => Cc::E,
        Cond::Ne | Cond::Set => Cc::Ne,
        Cond::Gt => Cc::A,
        Cond::Ge => Cc::Ae,
        Cond::Lt => Cc::B,
        Cond::Le => Cc::Be,
        Cond::Sgt => Cc::G,
        Cond::Sge => Cc::Ge,
        Cond::Slt => Cc::L,
        Cond::Sle => Cc::Le,
    }
}

fn is_signed(cond: Cond) -> bool {
    matches!(cond, Cond::Sgt | Cond::Sge | Cond::Slt | Cond::Sle)
}

/// The condition after the operands are exchanged.
fn exchanged(cc: Cc) -> Cc {
    match cc {
        Cc::B => Cc::A,
        Cc::A => Cc::B,
        Cc::Ae => Cc::Be,
        Cc::Be => Cc::Ae,
        Cc::L => Cc::G,
        Cc::G => Cc::L,
        Cc::Ge => Cc::Le,
        Cc::Le => Cc::Ge,
        other => other,
    }
}

fn scale(amount: u64) -> Option<Scale> {
    Some(match amount {
        1 => Scale::X2,
        2 => Scale::X4,
        3 => Scale::X8,
        _ => return None,
    })
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
            Op::Charge(_) | Op::ChargeBy(_) => 0,
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

    fn block(&mut self, id: BlockId, block: &mut MachineBlock, reversed: &mut Vec<Chosen>) {
        self.block = id;
        let source = &self.func.blocks[id.index()];
        self.colour = self.colour_at_end(id);
        self.pc = source.nodes.last().map_or(source.pc, |last| self.func.nodes[last.index()].pc);
        self.terminator(id, &source.term, block);
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
        block.params = source.params.iter().map(|param| self.vreg(*param)).collect();
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

    /// A load that can take place here instead.
    fn loaded(&mut self, value: Val) -> Option<(Size, Extend, Val, i32)> {
        let Some(Op::Load { size, extend, addr, disp }) = self.only_here(value) else {
            return None;
        };
        let own = self.weight(&self.func.op(value));
        let after = self.colours[value.index()] + own;
        (self.colour == after).then_some((size, extend, addr, disp))
    }

    /// The operand of memory, and its register.
    fn amode(&mut self, addr: Val, disp: i32) -> (Amode, Option<VReg>) {
        match self.func.op(addr) {
            Op::Const(number) => {
                let at = (number as u32).wrapping_add(disp as u32);
                match i32::try_from(at) {
                    Ok(disp) => (Amode { base: Base::Window, disp }, None),
                    Err(_) => {
                        let temp = self.temp();
                        self.push(Inst::Imm(at.into()), &[Operand::reg_def(temp)]);
                        (Amode { base: Base::Reg, disp: 0 }, Some(temp))
                    }
                }
            }
            Op::Entry(Reg::R10) => (Amode { base: Base::Frame, disp }, None),
            _ => (Amode { base: Base::Reg, disp }, Some(self.vreg(addr))),
        }
    }

    /// Adds an instruction with a memory operand behind its other operands.
    fn push_mem(
        &mut self,
        (addr, disp): (Val, i32),
        operands: &[Operand],
        inst: impl FnOnce(Amode) -> Inst,
    ) {
        let (amode, reg) = self.amode(addr, disp);
        let mut all: SmallVec = SmallVec::new(operands);
        if let Some(reg) = reg {
            all.push(use_of(reg));
        }
        self.push(inst(amode), all.as_slice());
    }

    fn node(&mut self, value: Val, op: Op) {
        match op {
            Op::Const(_) | Op::Param | Op::Entry(_) => {}
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
            Op::ChargeAndCheck(count) => self.push(Inst::ChargeAndCheck(count), &[]),
            Op::CheckDepth(levels) => {
                let temp = temporary(self.temp());
                self.push(Inst::CheckDepth(levels), &[temp]);
            }
        }
    }

    fn store(&mut self, size: Size, mem: (Val, i32), value: Val) {
        let bits = size_bits(size);
        if let Some(number) = self.constant(value) {
            let fits = size != Size::Dw || i32::try_from(number as i64).is_ok();
            if fits {
                let imm = match size {
                    Size::B => i32::from(number as i8),
                    Size::H => i32::from(number as i16),
                    Size::W | Size::Dw => number as i32,
                };
                return self.push_mem(mem, &[], |mem| Inst::StoreImm(bits, mem, imm));
            }
        }
        if self.features.movbe
            && size >= Size::W
            && let Some(Op::Unary(Un::Swap, width, inner)) = self.only_here(value)
            && self::bits(width) == bits
        {
            let reg = self.reg(inner);
            return self.push_mem(mem, &[use_of(reg)], |mem| Inst::StoreSwapped(bits, mem));
        }
        // The low bytes are the same without an extension.
        let value = match self.only_here(value) {
            Some(Op::Unary(Un::Zext, _, inner)) if size <= Size::W => inner,
            _ => value,
        };
        let reg = self.reg(value);
        self.push_mem(mem, &[use_of(reg)], |mem| Inst::Store(bits, mem));
    }

    fn check_aligned(&mut self, (addr, disp): (Val, i32), bytes: u32, code: TrapCode) {
        if bytes > 1 {
            let temp = temporary(self.temp());
            self.push_mem((addr, disp), &[temp], |mem| Inst::CheckAligned(mem, bytes, code));
        }
    }

    fn atomic(
        &mut self,
        value: Val,
        (op, width): (AtomicOp, Width),
        mem: (Val, i32),
        (src, expected): (Val, Val),
    ) {
        let size = bits(width);
        self.check_aligned(mem, width.bits() / 8, TrapCode::MisalignedAtomic);
        let src = self.reg(src);
        let dst = self.vreg(value);
        let plain = |op: AtomicOp| match op {
            AtomicOp::Or | AtomicOp::FetchOr => Alu::Or,
            AtomicOp::And | AtomicOp::FetchAnd => Alu::And,
            AtomicOp::Xor | AtomicOp::FetchXor => Alu::Xor,
            _ => Alu::Add,
        };
        match op {
            AtomicOp::Add | AtomicOp::Or | AtomicOp::And | AtomicOp::Xor => {
                self.push_mem(mem, &[use_of(src)], |mem| Inst::LockAlu(plain(op), size, mem));
            }
            AtomicOp::FetchAdd => {
                self.push_mem(mem, &[reuse(dst, 1), use_of(src)], |mem| Inst::Xadd(size, mem));
            }
            AtomicOp::Xchg => {
                self.push_mem(mem, &[reuse(dst, 1), use_of(src)], |mem| Inst::Xchg(size, mem));
            }
            AtomicOp::Cmpxchg => {
                let expected = self.reg(expected);
                let rax = preg(Gpr::Rax);
                let operands = [
                    Operand::reg_fixed_def(dst, rax),
                    Operand::reg_fixed_use(expected, rax),
                    use_of(src),
                ];
                self.push_mem(mem, &operands, |mem| Inst::Cmpxchg(size, mem));
            }
            AtomicOp::FetchOr | AtomicOp::FetchAnd | AtomicOp::FetchXor => {
                let (amode, reg) = self.amode(mem.0, mem.1);
                let temp = temporary(self.temp());
                let mut operands =
                    SmallVec::new(&[Operand::reg_fixed_def(dst, preg(Gpr::Rax)), temp, late(src)]);
                if let Some(reg) = reg {
                    operands.push(late(reg));
                }
                self.push(Inst::FetchLoop(op, size, amode), operands.as_slice());
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

    /// The shift of a value by a constant that `lea` can do, as index and scale.
    fn scaled(&mut self, value: Val, width: Width) -> Option<(Val, Scale)> {
        let Some(Op::Binary(Bin::Lsh, of, index, amount)) = self.only_here(value) else {
            return None;
        };
        let scale = scale(self.constant(amount)?)?;
        // The low half of a 64-bit shift is the 32-bit shift.
        (of == width || width == Width::W32).then_some((index, scale))
    }

    fn add(&mut self, value: Val, width: Width, a: Val, b: Val) {
        let size = bits(width);
        let dst = Operand::reg_def(self.vreg(value));
        if let Some(imm) = self.constant(b).and_then(|number| immediate(width, number)) {
            // A sum of three, where nobody else reads the sum of two.
            match self.only_here(a) {
                Some(Op::Binary(Bin::Add, of, x, y))
                    if (of == width || width == Width::W32) && self.constant(y).is_none() =>
                {
                    return self.lea(dst, (size, width), (x, y), imm);
                }
                Some(Op::Binary(Bin::Lsh, ..)) => {
                    if let Some((index, scale)) = self.scaled(a, width) {
                        let index = self.reg(index);
                        let operands = [dst, use_of(index)];
                        return self.push(Inst::LeaIndex(size, scale, imm), &operands);
                    }
                }
                _ => {}
            }
            let a = self.reg(a);
            return self.push(Inst::AddImm(size, imm), &[dst, use_of(a)]);
        }
        for (x, y) in [(a, b), (b, a)] {
            if self.scaled(y, width).is_some() {
                return self.lea(dst, (size, width), (x, y), 0);
            }
        }
        if self.alu_memory(value, Alu::Add, width, a, b) {
            return;
        }
        let (a, b) = (self.reg(a), self.reg(b));
        self.push(Inst::Add(size), &[dst, use_of(a), any_use_of(b)]);
    }

    fn lea(&mut self, dst: Operand, (size, width): (Bits, Width), (x, y): (Val, Val), disp: i32) {
        let (base, (index, scale)) = match (self.scaled(y, width), self.scaled(x, width)) {
            (Some(scaled), _) => (x, scaled),
            (None, Some(scaled)) => (y, scaled),
            (None, None) => (x, (y, Scale::X1)),
        };
        let (base, index) = (self.reg(base), self.reg(index));
        self.push(Inst::Lea(size, scale, disp), &[dst, use_of(base), use_of(index)]);
    }

    /// Takes in a load of the operation's size; false if there is none.
    fn alu_memory(&mut self, value: Val, op: Alu, width: Width, a: Val, b: Val) -> bool {
        let commutes = op != Alu::Sub;
        for (x, y) in [(a, b), (b, a)] {
            if y == a && !commutes {
                break;
            }
            if let Some((size, _, addr, disp)) = self.loaded(y)
                && size_bits(size) == bits(width)
                && x != y
            {
                self.absorb(y);
                let dst = reuse(self.vreg(value), 1);
                let x = self.reg(x);
                let size = bits(width);
                self.push_mem((addr, disp), &[dst, use_of(x)], |mem| Inst::AluMem(op, size, mem));
                return true;
            }
        }
        false
    }

    fn binary(&mut self, value: Val, bin: Bin, width: Width, a: Val, b: Val) {
        match bin {
            Bin::Add => self.add(value, width, a, b),
            Bin::Sub => self.alu(value, Alu::Sub, width, a, b),
            Bin::And => self.alu(value, Alu::And, width, a, b),
            Bin::Or => self.alu(value, Alu::Or, width, a, b),
            Bin::Xor => self.alu(value, Alu::Xor, width, a, b),
            Bin::Mul => self.multiply(value, width, a, b),
            Bin::MulHigh => {
                let dst = Operand::reg_fixed_def(self.vreg(value), preg(Gpr::Rdx));
                let (a, b) = (self.reg(a), self.reg(b));
                let a = Operand::reg_fixed_use(a, preg(Gpr::Rax));
                self.push(Inst::MulHigh, &[dst, a, use_of(b)]);
            }
            Bin::Lsh => self.shift(value, Shift::Shl, width, a, b),
            Bin::Rsh => self.shift(value, Shift::Shr, width, a, b),
            Bin::Arsh => self.shift(value, Shift::Sar, width, a, b),
            Bin::Rotl => self.rotate(value, width, a, b),
            Bin::Div | Bin::Sdiv | Bin::Mod | Bin::Smod => self.divide(value, bin, width, a, b),
        }
    }

    fn alu(&mut self, value: Val, op: Alu, width: Width, a: Val, b: Val) {
        let size = bits(width);
        if let Some(number) = self.constant(b) {
            if op == Alu::And && number == 0xff || op == Alu::And && number == 0xffff {
                let from = if number == 0xff { Bits::B8 } else { Bits::B16 };
                let dst = Operand::reg_def(self.vreg(value));
                let a = self.reg(a);
                return self.push(Inst::Movzx(from), &[dst, use_of(a)]);
            }
            if let Some(imm) = immediate(width, number) {
                let dst = reuse(self.vreg(value), 1);
                let a = self.reg(a);
                return self.push(Inst::AluImm(op, size, imm), &[dst, use_of(a)]);
            }
        }
        if self.alu_memory(value, op, width, a, b) {
            return;
        }
        // The operand that nobody else reads gives its register.
        let swap = op != Alu::Sub && self.uses[a.index()] > 1 && self.uses[b.index()] == 1;
        let (a, b) = if swap { (b, a) } else { (a, b) };
        let dst = reuse(self.vreg(value), 1);
        let (a, b) = (self.reg(a), self.reg(b));
        self.push(Inst::Alu(op, size), &[dst, use_of(a), any_use_of(b)]);
    }

    fn multiply(&mut self, value: Val, width: Width, a: Val, b: Val) {
        let size = bits(width);
        if let Some(imm) = self.constant(b).and_then(|number| immediate(width, number)) {
            let dst = Operand::reg_def(self.vreg(value));
            let a = self.reg(a);
            return self.push(Inst::ImulImm(size, imm), &[dst, use_of(a)]);
        }
        for (x, y) in [(a, b), (b, a)] {
            if let Some((from, _, addr, disp)) = self.loaded(y)
                && size_bits(from) == size
                && x != y
            {
                self.absorb(y);
                let dst = reuse(self.vreg(value), 1);
                let x = self.reg(x);
                let operands = [dst, use_of(x)];
                return self.push_mem((addr, disp), &operands, |mem| Inst::ImulMem(size, mem));
            }
        }
        let swap = self.uses[a.index()] > 1 && self.uses[b.index()] == 1;
        let (a, b) = if swap { (b, a) } else { (a, b) };
        let dst = reuse(self.vreg(value), 1);
        let (a, b) = (self.reg(a), self.reg(b));
        self.push(Inst::Imul(size), &[dst, use_of(a), any_use_of(b)]);
    }

    fn shift(&mut self, value: Val, op: Shift, width: Width, a: Val, b: Val) {
        let size = bits(width);
        if let Some(number) = self.constant(b) {
            let count = (number & u64::from(width.bits() - 1)) as u8;
            let dst = reuse(self.vreg(value), 1);
            let a = self.reg(a);
            return self.push(Inst::ShiftImm(op, size, count), &[dst, use_of(a)]);
        }
        if self.features.bmi2 {
            let dst = Operand::reg_def(self.vreg(value));
            let (a, b) = (self.reg(a), self.reg(b));
            return self.push(Inst::Shiftx(op, size), &[dst, use_of(a), use_of(b)]);
        }
        self.shift_cl(value, op, size, a, b);
    }

    fn shift_cl(&mut self, value: Val, op: Shift, size: Bits, a: Val, b: Val) {
        let dst = reuse(self.vreg(value), 1);
        let (a, b) = (self.reg(a), self.reg(b));
        let b = Operand::reg_fixed_use(b, preg(Gpr::Rcx));
        self.push(Inst::ShiftCl(op, size), &[dst, use_of(a), b]);
    }

    fn rotate(&mut self, value: Val, width: Width, a: Val, b: Val) {
        let size = bits(width);
        let Some(number) = self.constant(b) else {
            return self.shift_cl(value, Shift::Rol, size, a, b);
        };
        let left = (number & u64::from(width.bits() - 1)) as u8;
        if self.features.bmi2 {
            let right = (width.bits() as u8 - left) & (width.bits() as u8 - 1);
            let dst = Operand::reg_def(self.vreg(value));
            let a = self.reg(a);
            return self.push(Inst::Rorx(size, right), &[dst, use_of(a)]);
        }
        let dst = reuse(self.vreg(value), 1);
        let a = self.reg(a);
        self.push(Inst::ShiftImm(Shift::Rol, size, left), &[dst, use_of(a)]);
    }

    fn divide(&mut self, value: Val, op: Bin, width: Width, a: Val, b: Val) {
        let number = self.constant(b).map(|number| match width {
            Width::W32 => u64::from(number as u32),
            Width::W64 => number,
        });
        let minus_one = match width {
            Width::W32 => u64::from(u32::MAX),
            Width::W64 => u64::MAX,
        };
        let inst = Inst::Divide {
            op,
            bits: bits(width),
            may_be_zero: number.is_none_or(|number| number == 0) && !self.is_never_zero(b, width),
            may_be_minus_one: number.is_none_or(|number| number == minus_one),
        };
        let result = if matches!(op, Bin::Div | Bin::Sdiv) { Gpr::Rax } else { Gpr::Rdx };
        let dst = Operand::reg_fixed_def(self.vreg(value), preg(result));
        let (a, b) = (self.reg(a), self.reg(b));
        let a = Operand::reg_fixed_use(a, preg(Gpr::Rax));
        self.push(inst, &[dst, a, late(b)]);
    }

    /// Whether some bit of a value is always set.
    fn is_never_zero(&self, value: Val, width: Width) -> bool {
        match self.func.op(value) {
            Op::Binary(Bin::Or, _, _, bits) => {
                self.constant(bits).is_some_and(|bits| match width {
                    Width::W32 => bits as u32 != 0,
                    Width::W64 => bits != 0,
                })
            }
            _ => false,
        }
    }

    fn unary(&mut self, value: Val, un: Un, width: Width, a: Val) {
        let size = bits(width);
        let fresh = Operand::reg_def(self.vreg(value));
        let in_place = reuse(self.vreg(value), 1);
        let count = |op| Inst::Count(op, size);
        let (dst, inst) = match un {
            Un::Zext => {
                // A 32-bit operation on the same operands would be the whole of it, but then the
                // operand is needed as it is.
                (fresh, Inst::Zext)
            }
            Un::Neg => (in_place, Inst::Unary(Unary::Neg, size)),
            Un::Sext8 => (fresh, Inst::Movsx(size, Bits::B8)),
            Un::Sext16 => (fresh, Inst::Movsx(size, Bits::B16)),
            Un::Sext32 => (fresh, Inst::Movsx(Bits::B64, Bits::B32)),
            Un::Swap16 => (in_place, Inst::Swap16),
            Un::Swap => {
                if self.features.movbe
                    && let Some((from, _, addr, disp)) = self.loaded(a)
                    && size_bits(from) == size
                {
                    self.absorb(a);
                    let operands = [fresh];
                    return self
                        .push_mem((addr, disp), &operands, |mem| Inst::LoadSwapped(size, mem));
                }
                (in_place, Inst::Bswap(size))
            }
            Un::Popcnt => (fresh, count(Count::Popcnt)),
            Un::Lzcnt => (fresh, count(Count::Lzcnt)),
            Un::Tzcnt => (fresh, count(Count::Tzcnt)),
        };
        let a = self.reg(a);
        self.push(inst, &[dst, use_of(a)]);
    }

    fn select(&mut self, value: Val, cond: Cond, width: Width, values: [Val; 4]) {
        let [a, b, then, other] = values;
        let (test, cc, regs) = self.test(cond, width, a, b);
        let (then, other) = (self.reg(then), self.reg(other));
        let index = 1 + regs.len() + 1;
        let mut operands = SmallVec::new(&[reuse(self.vreg(value), index)]);
        for reg in regs {
            operands.push(use_of(reg));
        }
        operands.push(use_of(then));
        operands.push(use_of(other));
        self.push(Inst::Select(test, cc), operands.as_slice());
    }

    /// What sets the flags for a comparison, the condition, and the registers that it reads.
    fn test(&mut self, cond: Cond, width: Width, a: Val, b: Val) -> (Test, Cc, Vec<VReg>) {
        let cc = condition(cond);
        let size = bits(width);
        if let Some(number) = self.constant(b)
            && let Some(tested) = self.test_number((cond, cc, width), a, number)
        {
            return tested;
        }
        if cond == Cond::Set {
            let (a, b) = (self.reg(a), self.reg(b));
            return (Test::Test(size), cc, vec![a, b]);
        }
        for (x, y, cc) in [(a, b, cc), (b, a, exchanged(cc))] {
            let Some((from, extend, addr, disp)) = self.loaded(y) else { continue };
            // Bytes compare as bytes if both are.
            let narrow =
                from == Size::B && extend == Extend::Zero && !is_signed(cond) && self.is_byte(x);
            if x != y && (size_bits(from) == size || narrow) {
                self.absorb(y);
                let x = self.reg(x);
                let (amode, reg) = self.amode(addr, disp);
                let regs = std::iter::once(x).chain(reg).collect();
                return (Test::CmpMem(size_bits(from), amode), cc, regs);
            }
        }
        let (a, b) = (self.reg(a), self.reg(b));
        (Test::Cmp(size), cc, vec![a, b])
    }

    fn is_byte(&self, value: Val) -> bool {
        matches!(self.func.op(value), Op::Load { size: Size::B, extend: Extend::Zero, .. })
    }

    fn test_number(
        &mut self,
        (cond, cc, width): (Cond, Cc, Width),
        a: Val,
        number: u64,
    ) -> Option<(Test, Cc, Vec<VReg>)> {
        let size = bits(width);
        let is_set = cond == Cond::Set;
        if let Some((from, extend, addr, disp)) = self.loaded(a) {
            let byte = from == Size::B
                && extend == Extend::Zero
                && !is_signed(cond)
                && number & 0xff == number;
            let whole = size_bits(from) == size;
            let imm = if byte { Some(i32::from(number as i8)) } else { immediate(width, number) };
            if let (true, Some(imm)) = (byte || whole, imm) {
                self.absorb(a);
                let (amode, reg) = self.amode(addr, disp);
                let from = size_bits(from);
                let test = if is_set {
                    Test::TestMemImm(from, amode, imm)
                } else {
                    Test::CmpMemImm(from, amode, imm)
                };
                return Some((test, cc, reg.into_iter().collect()));
            }
        }
        let imm = immediate(width, number)?;
        let a = self.reg(a);
        Some(match (is_set, imm) {
            (true, imm) => (Test::TestImm(size, imm), cc, vec![a]),
            // The flags are those of a comparison with 0.
            (false, 0) => (Test::Test(size), cc, vec![a, a]),
            (false, imm) => (Test::CmpImm(size, imm), cc, vec![a]),
        })
    }

    fn terminator(&mut self, _id: BlockId, term: &Term, block: &mut MachineBlock) {
        match term {
            Term::Jump(edge) => {
                block.args = edge.args.iter().map(|arg| self.reg(*arg)).collect();
                self.push(Inst::Jump, &[]);
            }
            Term::Branch { cond, width, a, b, .. } => {
                let (test, cc, regs) = self.test(*cond, *width, *a, *b);
                let mut operands = SmallVec::new(&[]);
                for (index, reg) in regs.into_iter().enumerate() {
                    let may_be_spilled = index == 1 && matches!(test, Test::Cmp(_));
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
