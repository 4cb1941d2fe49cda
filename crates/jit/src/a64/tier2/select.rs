//! Chooses machine instructions.
//!
//! Blocks are visited from last to first, and within a block from the end: a node is only made if
//! something that was chosen needs its value. An instruction takes in what its operands compute
//! where the machine can do both at once: shifts, extensions, products, masks. Addresses that are
//! accessed at a distance are turned into host addresses once, where they are computed.

mod arithmetic;

use regalloc2::{Operand, PReg, RegClass, VReg};
use skep_bpf::insn::{Insn, Reg};
use skep_bpf::op::{AtomicOp, Cond, Size, Width};

use super::calls::CALLEE;
use super::inst::{Amode, Inst, Test};
use crate::a64::asm::moves;
use crate::a64::encode::{AddSub, BitMask, Condition, Gpr, Shift, x};
use crate::a64::regs::gpr;
use crate::abi::TrapCode;
use crate::blocks::Blocks;
use crate::source::Source;
use crate::ssa::ir::{Bin, BlockId, CallSite, Func, Op, Target, Term, Un, Val};

/// An instruction, where its operands are, and what it comes from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chosen {
    pub(super) inst: Inst,
    pub(super) operands: (u32, u32),
    pub(super) pc: u32,
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

/// The register allocator's name of a register.
pub(super) const fn preg(reg: Gpr) -> PReg {
    PReg::new(reg.number() as usize, RegClass::Int)
}

/// Chooses the instructions of a function whose critical edges are split.
pub(super) fn select(source: &Source<'_>, func: &Func, order: &[BlockId]) -> Machine {
    let mut selector = Selector {
        source,
        func,
        uses: func.use_counts(order),
        home: vec![BlockId(u32::MAX); func.nodes.len()],
        vreg_of: vec![None; func.nodes.len()],
        host_of: vec![None; func.nodes.len()],
        needs_host: vec![false; func.nodes.len()],
        in_loop: blocks_in_loops(func, order),
        hoisted: Vec::new(),
        vregs: 0,
        operands: Vec::with_capacity(func.nodes.len() * 3),
        now: Vec::new(),
        block: BlockId::ENTRY,
        pc: 0,
    };
    selector.look_at(order);
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
    blocks.number_long_last(&mut selector.operands, selector.vregs);
    Machine {
        insts: reversed,
        operands: selector.operands,
        blocks,
        vregs: selector.vregs,
        calls: func.calls.clone(),
    }
}

struct Selector<'a> {
    source: &'a Source<'a>,
    func: &'a Func,
    uses: Vec<u32>,
    /// The block of each node.
    home: Vec<BlockId>,
    vreg_of: Vec<Option<VReg>>,
    /// The host address of a guest address.
    host_of: Vec<Option<VReg>>,
    /// Whether something is accessed at a distance from a value.
    needs_host: Vec<bool>,
    /// Whether a block is part of a loop.
    in_loop: Vec<bool>,
    /// Numbers that loops need and that take several instructions: made once, at the entry.
    hoisted: Vec<(u64, VReg)>,
    vregs: usize,
    operands: Vec<Operand>,
    /// The instructions of the current node, in order.
    now: Vec<Chosen>,
    block: BlockId,
    pc: u32,
}

fn use_of(vreg: VReg) -> Operand {
    Operand::reg_use(vreg)
}

fn condition(cond: Cond) -> Condition {
    match cond {
        Cond::Eq => Condition::Eq,
        Cond::Ne | Cond::Set => Condition::Ne,
        Cond::Gt => Condition::Hi,
        Cond::Ge => Condition::Hs,
        Cond::Lt => Condition::Lo,
        Cond::Le => Condition::Ls,
        Cond::Sgt => Condition::Gt,
        Cond::Sge => Condition::Ge,
        Cond::Slt => Condition::Lt,
        Cond::Sle => Condition::Le,
    }
}

/// A number as an operation of a width reads it, with its sign.
fn signed(width: Width, number: u64) -> i64 {
    match width {
        Width::W32 => i64::from(number as u32 as i32),
        Width::W64 => number as i64,
    }
}

/// A number as an operation of a width reads it.
fn unsigned(width: Width, number: u64) -> u64 {
    match width {
        Width::W32 => u64::from(number as u32),
        Width::W64 => number,
    }
}

/// The most numbers that are kept in registers for loops.
const MOST_HOISTED: usize = 6;

/// Which blocks lie between the head of a loop and the jump back to it.
fn blocks_in_loops(func: &Func, order: &[BlockId]) -> Vec<bool> {
    let mut place = vec![0; func.blocks.len()];
    for (index, id) in order.iter().enumerate() {
        place[id.index()] = index;
    }
    let mut in_loop = vec![false; func.blocks.len()];
    for (index, &id) in order.iter().enumerate() {
        for edge in func.blocks[id.index()].term.edges() {
            let head = place[edge.to.index()];
            for &inside in order.get(head..=index).unwrap_or_default() {
                in_loop[inside.index()] = true;
            }
        }
    }
    in_loop
}

/// The address of an access.
fn address(op: &Op) -> Option<(Val, i32)> {
    match *op {
        Op::Load { addr, disp, .. }
        | Op::Store { addr, disp, .. }
        | Op::LoadAcquire { addr, disp, .. }
        | Op::StoreRelease { addr, disp, .. }
        | Op::Atomic { addr, disp, .. } => Some((addr, disp)),
        _ => None,
    }
}

impl Selector<'_> {
    /// Where nodes are, and which addresses are accessed at a distance.
    fn look_at(&mut self, order: &[BlockId]) {
        for &id in order {
            for &value in &self.func.blocks[id.index()].nodes {
                self.home[value.index()] = id;
                if let Some((addr, disp)) = address(&self.func.op(value))
                    && disp != 0
                {
                    self.needs_host[addr.index()] = true;
                }
            }
        }
    }

    fn block(
        &mut self,
        id: BlockId,
        (index, blocks): (usize, &mut Blocks),
        reversed: &mut Vec<Chosen>,
    ) {
        self.block = id;
        let source = &self.func.blocks[id.index()];
        self.pc = source.nodes.last().map_or(source.pc, |last| self.func.nodes[last.index()].pc);
        self.terminator(&source.term, (index, blocks));
        reversed.extend(self.now.drain(..).rev());
        for &value in source.nodes.iter().rev() {
            let node = self.func.nodes[value.index()];
            self.pc = node.pc;
            self.host_address(value);
            reversed.extend(self.now.drain(..).rev());
            if node.op.is_pure() && self.vreg_of[value.index()].is_none() {
                continue;
            }
            self.node(value, node.op);
            reversed.extend(self.now.drain(..).rev());
        }
        for &param in source.params.iter().rev() {
            self.host_address(param);
            reversed.extend(self.now.drain(..).rev());
        }
        blocks.set_params(index, source.params.iter().map(|param| self.vreg(*param)));
    }

    /// Computes the host address of a value if something needs it.
    fn host_address(&mut self, value: Val) {
        if let Some(host) = self.host_of[value.index()] {
            let guest = self.vreg(value);
            self.push(Inst::HostAddress, &[Operand::reg_def(host), use_of(guest)]);
        }
    }

    /// The arguments that are read, in the registers of the convention.
    fn arguments(&mut self, id: BlockId) {
        let start = self.operands.len();
        for &value in &self.func.blocks[id.index()].nodes {
            if let (Op::Entry(reg), Some(vreg)) = (self.func.op(value), self.vreg_of[value.index()])
            {
                self.operands.push(Operand::reg_fixed_def(vreg, preg(gpr(reg))));
            }
        }
        let operands = (start as u32, self.operands.len() as u32);
        self.pc = self.func.blocks[id.index()].pc;
        self.now.push(Chosen { inst: Inst::Args, operands, pc: self.pc });
        for (number, vreg) in std::mem::take(&mut self.hoisted) {
            self.push(Inst::Imm(number), &[Operand::reg_def(vreg)]);
        }
    }

    fn temp(&mut self) -> VReg {
        self.vregs += 1;
        VReg::new(self.vregs - 1, RegClass::Int)
    }

    /// The register of a value, which is needed from now on.
    fn vreg(&mut self, value: Val) -> VReg {
        if let Some(vreg) = self.vreg_of[value.index()] {
            return vreg;
        }
        let vreg = self.temp();
        self.vreg_of[value.index()] = Some(vreg);
        vreg
    }

    fn def(&mut self, value: Val) -> Operand {
        Operand::reg_def(self.vreg(value))
    }

    fn push(&mut self, inst: Inst, operands: &[Operand]) {
        let start = self.operands.len() as u32;
        self.operands.extend_from_slice(operands);
        let operands = (start, self.operands.len() as u32);
        self.now.push(Chosen { inst, operands, pc: self.pc });
    }

    /// An instruction with a result and registers that it reads.
    fn push_result(&mut self, value: Val, inst: Inst, operands: &[Val]) {
        let dst = self.def(value);
        let mut all = vec![dst];
        for operand in operands {
            all.push(use_of(self.reg(*operand)));
        }
        self.push(inst, &all);
    }

    /// A register with a value, which is made on the spot if that costs nothing elsewhere.
    fn reg(&mut self, value: Val) -> VReg {
        let inst = match self.func.op(value) {
            Op::Const(number) => {
                let known = self.vreg_of[value.index()];
                let hoists = self.in_loop[self.block.index()] && self.hoisted.len() < MOST_HOISTED;
                if known.is_some() || hoists && moves(number) > 1 {
                    let vreg = self.vreg(value);
                    if known.is_none() {
                        self.hoisted.push((number, vreg));
                    }
                    return vreg;
                }
                Inst::Imm(number)
            }
            Op::Entry(Reg::R10) => Inst::FrameAddress(0),
            Op::Binary(Bin::Add, Width::W64, a, b)
                if self.func.op(a) == Op::Entry(Reg::R10) && self.small(b).is_some() =>
            {
                Inst::FrameAddress(self.small(b).unwrap_or(0) as i32)
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

    /// A number that one or two instructions add.
    fn small(&self, value: Val) -> Option<i64> {
        let number = self.constant(value)? as i64;
        (number.unsigned_abs() >> 24 == 0).then_some(number)
    }

    /// What a value is if only the current node reads it and it may be computed here.
    fn only_here(&self, value: Val) -> Option<Op> {
        let here = self.uses[value.index()] == 1 && self.home[value.index()] == self.block;
        let free = self.vreg_of[value.index()].is_none() && self.host_of[value.index()].is_none();
        (here && free).then(|| self.func.op(value))
    }

    /// A shift by a constant that an operand can take in, for an operation of a width.
    fn shifted(&self, value: Val, width: Width) -> Option<(Val, Shift, u32)> {
        let Some(Op::Binary(bin, of, inner, amount)) = self.only_here(value) else { return None };
        let amount = self.constant(amount)? as u32 & (of.bits() - 1);
        let shift = match bin {
            Bin::Lsh => Shift::Lsl,
            Bin::Rsh => Shift::Lsr,
            Bin::Arsh => Shift::Asr,
            _ => return None,
        };
        // The low half of a 64-bit left shift is the 32-bit shift.
        let narrowed = bin == Bin::Lsh && width == Width::W32 && amount < 32;
        // The upper half of a 32-bit result is 0, that of a 64-bit operand's shift is not.
        (of == width || narrowed).then_some((inner, shift, amount))
    }

    /// A product that nobody else reads, of an operation of a width.
    fn product(&self, value: Val, width: Width) -> Option<(Val, Val)> {
        match self.only_here(value)? {
            Op::Binary(Bin::Mul, of, a, b) if of == width || width == Width::W32 => Some((a, b)),
            _ => None,
        }
    }

    /// The operand of memory, and its register.
    fn amode(&mut self, addr: Val, disp: i32) -> (Amode, Option<VReg>) {
        match self.func.op(addr) {
            Op::Const(number) => (Amode::Absolute((number as u32).wrapping_add(disp as u32)), None),
            Op::Entry(Reg::R10) => (Amode::Frame(disp), None),
            _ if self.needs_host[addr.index()] => {
                let known = self.host_of[addr.index()];
                let host = known.unwrap_or_else(|| self.temp());
                self.host_of[addr.index()] = Some(host);
                (Amode::Host(disp), Some(host))
            }
            _ => (Amode::Index, Some(self.vreg(addr))),
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
        let mut all = operands.to_vec();
        all.extend(reg.map(use_of));
        self.push(inst(amode), &all);
    }

    fn node(&mut self, value: Val, op: Op) {
        match op {
            Op::Const(_) | Op::Param | Op::Entry(_) => {}
            Op::Processor(_) => self.push_result(value, Inst::Processor, &[]),
            Op::Binary(bin, width, a, b) => self.binary(value, bin, width, a, b),
            Op::Unary(un, width, a) => self.unary(value, un, width, a),
            Op::Select(cond, width, [a, b, then, other]) => {
                let (test, regs) = self.test(cond, width, a, b);
                let (then, other) = (self.reg(then), self.reg(other));
                let mut operands = vec![self.def(value)];
                operands.extend(regs.into_iter().chain([then, other]).map(use_of));
                self.push(Inst::Select(test), &operands);
            }
            Op::Load { size, extend, addr, disp } => {
                let dst = self.def(value);
                self.push_mem((addr, disp), &[dst], |mem| Inst::Load(size, extend, mem));
            }
            Op::LoadAcquire { size, addr, disp } => {
                let dst = self.def(value);
                self.push_mem((addr, disp), &[dst], |mem| Inst::LoadAcquire(size, mem));
            }
            Op::Store { size, addr, disp, value } => self.store(size, (addr, disp), value),
            Op::StoreRelease { size, addr, disp, value } => {
                let reg = self.reg(value);
                self.push_mem((addr, disp), &[use_of(reg)], |mem| Inst::StoreRelease(size, mem));
            }
            Op::Atomic { op, width, addr, disp, src, expected } => {
                let mut operands = vec![self.def(value), use_of(self.reg(src))];
                if op == AtomicOp::Cmpxchg {
                    operands.push(use_of(self.reg(expected)));
                }
                self.push_mem((addr, disp), &operands, |mem| Inst::Atomic(op, width, mem));
            }
            Op::Call(site) => self.call(value, site),
            Op::Charge(count) => self.push(Inst::Charge(count), &[]),
            Op::ChargeBy(amount) => {
                let amount = self.reg(amount);
                self.push(Inst::ChargeBy, &[use_of(amount)]);
            }
            Op::Fuel => {
                let dst = self.def(value);
                self.push(Inst::Fuel, &[dst]);
            }
            Op::ChargeAndCheck(count) => self.push(Inst::ChargeAndCheck(count), &[]),
            Op::CheckDepth(levels) => self.push(Inst::CheckDepth(levels), &[]),
        }
    }

    fn store(&mut self, size: Size, mem: (Val, i32), value: Val) {
        let mask = u64::MAX >> (64 - 8 * size.bytes());
        match self.constant(value) {
            Some(number) if number & mask == 0 => {
                return self.push_mem(mem, &[], |mem| Inst::StoreZero(size, mem));
            }
            Some(number) => {
                let temp = self.temp();
                self.push(Inst::Imm(number & mask), &[Operand::reg_def(temp)]);
                return self.push_mem(mem, &[use_of(temp)], |mem| Inst::Store(size, mem));
            }
            None => {}
        }
        // The low bytes are the same without an extension.
        let value = match self.only_here(value) {
            Some(Op::Unary(Un::Zext, _, inner)) if size <= Size::W => inner,
            _ => value,
        };
        let reg = self.reg(value);
        self.push_mem(mem, &[use_of(reg)], |mem| Inst::Store(size, mem));
    }

    fn call(&mut self, value: Val, site: u32) {
        let func = self.func;
        let call = &func.calls[site as usize];
        let args: Vec<VReg> = call.args.iter().map(|arg| self.reg(*arg)).collect();
        // Helpers give their result where C has it.
        let result = match call.target {
            Target::Helper(_) | Target::CallBack(_) | Target::Lookup(_) => x(0),
            Target::Local(_) | Target::Register | Target::TailCall | Target::Packet(_) => {
                gpr(Reg::R0)
            }
        };
        let mut operands = vec![Operand::reg_fixed_def(self.vreg(value), preg(result))];
        let mut args = args.into_iter();
        for (reg, arg) in call.regs.iter().zip(args.by_ref()) {
            operands.push(Operand::reg_fixed_use(arg, preg(gpr(reg))));
        }
        let last = match call.target {
            Target::Register => Some(CALLEE),
            Target::Packet(_) => Some(x(0)),
            Target::Helper(_)
            | Target::CallBack(_)
            | Target::Lookup(_)
            | Target::Local(_)
            | Target::TailCall => None,
        };
        if let (Some(place), Some(last)) = (last, args.next()) {
            operands.push(Operand::reg_fixed_use(last, preg(place)));
        }
        self.push(Inst::Call(site), &operands);
    }

    /// What decides a comparison, and the registers that it reads.
    fn test(&mut self, cond: Cond, width: Width, a: Val, b: Val) -> (Test, Vec<VReg>) {
        if let Some(number) = self.constant(b)
            && let Some(test) = number_test(cond, width, number)
        {
            return (test, vec![self.reg(a)]);
        }
        let (a, b) = (self.reg(a), self.reg(b));
        let test = match cond {
            Cond::Set => Test::Bits(width),
            _ => Test::Compare(width, condition(cond)),
        };
        (test, vec![a, b])
    }

    fn terminator(&mut self, term: &Term, (index, blocks): (usize, &mut Blocks)) {
        match term {
            Term::Jump(edge) => {
                blocks.set_args(index, edge.args.iter().map(|arg| self.reg(*arg)));
                self.push(Inst::Jump, &[]);
            }
            Term::Branch { cond, width, a, b, .. } => {
                let (test, regs) = self.test(*cond, *width, *a, *b);
                let operands: Vec<Operand> = regs.into_iter().map(use_of).collect();
                self.push(Inst::Branch(test), &operands);
            }
            Term::Return(value) => {
                let value = self.reg(*value);
                self.push(Inst::Return, &[Operand::reg_fixed_use(value, preg(gpr(Reg::R0)))]);
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

/// What decides a comparison with a number, if the number can be part of it.
fn number_test(cond: Cond, width: Width, number: u64) -> Option<Test> {
    let (value, bits) = (unsigned(width, number), signed(width, number));
    let sign = width.bits() - 1;
    match (cond, bits) {
        (Cond::Eq, 0) => return Some(Test::Zero { width, nonzero: false }),
        (Cond::Ne | Cond::Gt, 0) => return Some(Test::Zero { width, nonzero: true }),
        (Cond::Slt, 0) => return Some(Test::Bit { nonzero: true, bit: sign }),
        (Cond::Sge, 0) => return Some(Test::Bit { nonzero: false, bit: sign }),
        (Cond::Set, _) if value.is_power_of_two() => {
            return Some(Test::Bit { nonzero: true, bit: value.trailing_zeros() });
        }
        (Cond::Set, _) => {
            return BitMask::new(width, value).map(|mask| Test::BitsImm(width, mask));
        }
        _ => {}
    }
    // Comparing with a negative number is adding its opposite: all flags are the same, except for
    // 0, which is not negative.
    let op = if bits < 0 { AddSub::Adds } else { AddSub::Subs };
    let size = bits.unsigned_abs();
    let (imm, upper) = match (size >> 12, size & 0xfff) {
        (0, low) => (low, false),
        (high @ 0..0x1000, 0) => (high, true),
        _ => return None,
    };
    Some(Test::CompareImm(width, condition(cond), op, imm as u32, upper))
}
