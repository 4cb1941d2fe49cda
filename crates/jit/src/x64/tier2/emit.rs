//! Writes the machine code of a function whose registers are allocated.
//!
//! `frame` says where things are on the stack, `items` what a block consists of, `jumps` where
//! blocks lead, `sequences` what takes several instructions. Blocks that came out empty are
//! skipped by the jumps that lead to them.

mod frame;

mod items;

mod jumps;

mod sequences;

use regalloc2::{Allocation, Edit, InstOrEdit, Output};
use skep_bpf::insn::Extend;
use skep_bpf::op::Size;

pub(super) use self::frame::Frame;
use self::items::Items;
use self::jumps::{Plan, Ways};
use super::Compiler;
use super::inst::{Amode, Base, Inst};
use super::layout::Placed;
use super::select::{Chosen, Machine};
use crate::code::Place;
use crate::ssa::ir::Target;
use crate::x64::asm::{Alu, Bits, Gpr, Label, Mem, Scale, Shift, Unary};
use crate::x64::regs::{FUEL, STATE, WINDOW};

/// A function while it is written.
pub(super) struct Emitter<'a, 'b> {
    pub(super) compiler: &'a mut Compiler<'b>,
    pub(super) machine: &'a Machine,
    output: &'a Output,
    pub(super) frame: Frame,
    /// The label of each block.
    labels: Vec<Label>,
    ways: &'a Ways,
    /// What is known, the second time.
    known: Option<Plan>,
    /// Jumps to blocks so far: where each ends and the block.
    jumps: Vec<(usize, usize)>,
}

/// Writes a function: once to see how large everything is, and once for good. If loops that are
/// moved to their lines then lie too far behind a short jump, once more without short jumps.
pub(super) fn emit(compiler: &mut Compiler<'_>, machine: &Machine, output: &Output) {
    let frame = Frame::new(machine, output, compiler.source.metered);
    compiler.saves |= !frame.saved.is_empty();
    let ways = Ways::new(machine, output);
    let order = super::layout::order(machine, &ways.leads_to);
    let mark = compiler.mark();
    let mut emitter = Emitter::new(compiler, machine, output, (&frame, &ways));
    emitter.function(&order);
    let mut plan = emitter.plan(&order);
    loop {
        compiler.reset(mark);
        let mut emitter = Emitter::new(compiler, machine, output, (&frame, &ways));
        emitter.known = Some(plan.clone());
        emitter.function(&order);
        if compiler.asm.short_jumps_reach(mark.asm) {
            return;
        }
        plan.is_short.clear();
    }
}

fn gpr(allocation: Allocation) -> Gpr {
    // Operands are constrained to registers.
    let number = allocation.as_reg().map_or(0, |reg| reg.hw_enc());
    Gpr::ALL[number & 15]
}

impl<'a, 'b> Emitter<'a, 'b> {
    fn new(
        compiler: &'a mut Compiler<'b>,
        machine: &'a Machine,
        output: &'a Output,
        (frame, ways): (&Frame, &'a Ways),
    ) -> Self {
        let labels = (0..machine.blocks.len()).map(|_| compiler.asm.label()).collect();
        let (frame, jumps) = (frame.clone(), Vec::new());
        Emitter { compiler, machine, output, frame, labels, ways, known: None, jumps }
    }

    fn function(&mut self, order: &[Placed]) {
        self.prologue();
        for (index, block) in order.iter().enumerate() {
            let next = order.get(index + 1).copied();
            self.block(block, next.map(|next| next.index));
        }
    }
}

impl Emitter<'_, '_> {
    fn prologue(&mut self) {
        let asm = &mut self.compiler.asm;
        for reg in &self.frame.saved {
            asm.push(*reg);
        }
        if self.frame.bytes > 8 {
            asm.alu_imm(Alu::Sub, Bits::B64, Gpr::Rsp, self.frame.bytes - 8);
        }
        if self.frame.bytes > 0 {
            asm.push(STATE);
        }
    }

    /// Takes the frame down; the return address is the lowest word then.
    pub(super) fn unwind(&mut self) {
        let asm = &mut self.compiler.asm;
        if self.frame.bytes > 0 {
            asm.alu_imm(Alu::Add, Bits::B64, Gpr::Rsp, self.frame.bytes);
        }
        for reg in self.frame.saved.iter().rev() {
            asm.pop(*reg);
        }
    }

    fn block(&mut self, block: &Placed, next: Option<usize>) {
        let index = block.index;
        if block.is_loop_head {
            self.align_loop(index);
        }
        self.compiler.asm.bind(self.labels[index]);
        let range = self.machine.blocks.range(index);
        let mut last_place = None;
        let mut items = Items::new(self.output, range, self.ways.moves[index]);
        while let Some(item) = items.next() {
            if let InstOrEdit::Inst(inst) = item
                && self.checks_and_jumps(index, inst, next, &items)
            {
                break;
            }
            match item {
                InstOrEdit::Edit(Edit::Move { from, to }) => self.edit(*from, *to),
                InstOrEdit::Inst(inst) => {
                    let chosen = self.machine.insts[inst.index()];
                    if last_place != Some(chosen.pc) {
                        self.compiler.place(chosen.pc);
                        last_place = Some(chosen.pc);
                    }
                    let allocs = self.output.inst_allocs(inst);
                    self.inst(index, &chosen, allocs, next);
                }
            }
        }
    }

    fn spill(&self, allocation: Allocation) -> Option<Mem> {
        let slot = allocation.as_stack()?;
        Some(Mem::at(Gpr::Rsp, self.frame.spills + 8 * slot.index() as i32))
    }

    fn edit(&mut self, from: Allocation, to: Allocation) {
        let (from_slot, to_slot) = (self.spill(from), self.spill(to));
        let asm = &mut self.compiler.asm;
        match (from_slot, to_slot) {
            (None, None) => asm.mov(Bits::B64, gpr(to), gpr(from)),
            (Some(slot), None) => asm.load(Bits::B64, gpr(to), slot),
            (None, Some(slot)) => asm.mov(Bits::B64, slot, gpr(from)),
            (Some(from), Some(to)) => {
                // The allocator makes no such moves; push and pop would be right if it did.
                asm.push_mem(from);
                asm.pop(Gpr::R11);
                asm.mov(Bits::B64, to, Gpr::R11);
            }
        }
    }

    /// The machine's form of a memory operand whose register, if any, is given; notes the access.
    fn mem(
        &mut self,
        chosen: &Chosen,
        amode: Amode,
        reg: Option<Gpr>,
        len: u32,
        write: bool,
    ) -> Mem {
        let (mem, number) = match amode.base {
            Base::Window => (Mem::at(WINDOW, amode.disp), crate::code::Access::NO_REGISTER),
            Base::Frame => {
                (Mem::indexed(WINDOW, Gpr::Rbp, Scale::X1, amode.disp), Gpr::Rbp.number())
            }
            Base::Reg => {
                let reg = reg.unwrap_or(Gpr::Rax);
                (Mem::indexed(WINDOW, reg, Scale::X1, amode.disp), reg.number())
            }
        };
        self.compiler.access(chosen.access, number, amode.disp, len, write);
        mem
    }

    fn load(&mut self, size: Size, extend: Extend, dst: Gpr, from: Mem) {
        let asm = &mut self.compiler.asm;
        let bits = size_bits(size);
        match (size, extend) {
            (Size::B | Size::H, Extend::Zero) => asm.movzx(bits, dst, from),
            (Size::W, Extend::Zero) | (Size::Dw, _) => asm.load(bits, dst, from),
            (_, Extend::Sign) => asm.movsx(Bits::B64, bits, dst, from),
        }
    }

    fn inst(&mut self, block: usize, chosen: &Chosen, allocs: &[Allocation], next: Option<usize>) {
        let reg = |index: usize| gpr(allocs[index]);
        let opt = |index: usize| allocs.get(index).map(|alloc| gpr(*alloc));
        match chosen.inst {
            Inst::Args => {}
            Inst::Imm(0) => self.compiler.asm.zero(reg(0)),
            Inst::Imm(number) => self.compiler.asm.mov_imm(reg(0), number),
            Inst::FrameAddress(0) => self.compiler.asm.mov(Bits::B64, reg(0), Gpr::Rbp),
            Inst::FrameAddress(disp) => {
                self.compiler.asm.lea(Bits::B64, reg(0), Mem::at(Gpr::Rbp, disp));
            }
            Inst::Processor => self.processor(reg(0)),
            Inst::Zext => self.compiler.asm.mov(Bits::B32, reg(0), reg(1)),
            Inst::Add(bits) => {
                let b = self.rm(allocs[2]);
                self.add(bits, reg(0), reg(1), b);
            }
            Inst::AddImm(bits, imm) => self.add_imm(bits, reg(0), reg(1), imm),
            Inst::Lea(bits, scale, disp) => {
                let mem = Mem::indexed(reg(1), reg(2), scale, disp);
                self.compiler.asm.lea(bits, reg(0), mem);
            }
            Inst::LeaIndex(bits, Scale::X2, disp) => {
                let mem = Mem::indexed(reg(1), reg(1), Scale::X1, disp);
                self.compiler.asm.lea(bits, reg(0), mem);
            }
            Inst::LeaIndex(bits, scale, disp) => {
                self.compiler.asm.lea(bits, reg(0), Mem::scaled(reg(1), scale, disp));
            }
            Inst::Alu(op, bits) => {
                let b = self.rm(allocs[2]);
                self.alu(op, bits, reg(0), b);
            }
            Inst::AluImm(op, bits, imm) => self.compiler.asm.alu_imm(op, bits, reg(0), imm),
            Inst::AluMem(op, bits, amode) => {
                let from = self.mem(chosen, amode, opt(2), bytes(bits), false);
                self.compiler.asm.alu_from(op, bits, reg(0), from);
            }
            Inst::Imul(bits) => {
                let b = self.rm(allocs[2]);
                self.compiler.asm.imul(bits, reg(0), b);
            }
            Inst::ImulMem(bits, amode) => {
                let from = self.mem(chosen, amode, opt(2), bytes(bits), false);
                self.compiler.asm.imul(bits, reg(0), from);
            }
            Inst::ImulImm(bits, imm) => self.compiler.asm.imul_imm(bits, reg(0), reg(1), imm),
            Inst::ShiftImm(op, bits, count) => {
                self.compiler.asm.shift_imm(op, bits, reg(0), count);
            }
            Inst::Rorx(bits, count) if reg(0) == reg(1) => {
                self.compiler.asm.shift_imm(Shift::Ror, bits, reg(0), count);
            }
            Inst::Rorx(bits, count) => self.compiler.asm.rorx(bits, reg(0), reg(1), count),
            Inst::Shiftx(op, bits) => {
                self.compiler.asm.shiftx(op, bits, reg(0), reg(1), reg(2));
            }
            Inst::ShiftCl(op, bits) => self.compiler.asm.shift_cl(op, bits, reg(0)),
            Inst::Unary(op, bits) => self.compiler.asm.unary(op, bits, reg(0)),
            Inst::Bswap(bits) => self.compiler.asm.bswap(bits, reg(0)),
            Inst::Swap16 => {
                self.compiler.asm.shift_imm(Shift::Rol, Bits::B16, reg(0), 8);
                self.compiler.asm.movzx(Bits::B16, reg(0), reg(0));
            }
            Inst::Movsx(to, from) => self.compiler.asm.movsx(to, from, reg(0), reg(1)),
            Inst::Movzx(from) => self.compiler.asm.movzx(from, reg(0), reg(1)),
            Inst::Count(op, bits) => self.compiler.asm.count(op, bits, reg(0), reg(1)),
            Inst::MulHigh => self.compiler.asm.unary(Unary::Mul, Bits::B64, reg(2)),
            Inst::Divide { op, bits, may_be_zero, may_be_minus_one } => {
                self.divide(op, bits, (may_be_zero, may_be_minus_one), reg(2));
            }
            Inst::Select(test, cc) => {
                self.test(chosen, test, &allocs[1..]);
                let then = gpr(allocs[allocs.len() - 2]);
                self.compiler.asm.cmov(cc, Bits::B64, reg(0), then);
            }
            Inst::Load(size, extend, amode) => {
                let from = self.mem(chosen, amode, opt(1), size.bytes(), false);
                self.load(size, extend, reg(0), from);
            }
            Inst::LoadSwapped(bits, amode) => {
                let from = self.mem(chosen, amode, opt(1), bytes(bits), false);
                self.compiler.asm.movbe_load(bits, reg(0), from);
            }
            Inst::Store(bits, amode) => {
                let to = self.mem(chosen, amode, opt(1), bytes(bits), true);
                self.compiler.asm.mov(bits, to, reg(0));
            }
            Inst::StoreSwapped(bits, amode) => {
                let to = self.mem(chosen, amode, opt(1), bytes(bits), true);
                self.compiler.asm.movbe_store(bits, to, reg(0));
            }
            Inst::StoreImm(bits, amode, imm) => {
                let to = self.mem(chosen, amode, opt(0), bytes(bits), true);
                self.compiler.asm.store_imm(bits, to, imm);
            }
            Inst::AluToMem(op, bits, amode) => {
                let to = self.mem(chosen, amode, opt(1), bytes(bits), true);
                self.compiler.asm.alu(op, bits, to, reg(0));
            }
            Inst::AluImmToMem(op, bits, amode, imm) => {
                let to = self.mem(chosen, amode, opt(0), bytes(bits), true);
                self.compiler.asm.alu_imm(op, bits, to, imm);
            }
            Inst::CheckAligned(amode, len, code) => {
                self.check_aligned(chosen, amode, (len, code), reg(0), opt(1));
            }
            Inst::LockAlu(op, bits, amode) => {
                let to = self.mem(chosen, amode, opt(1), bytes(bits), true);
                self.compiler.asm.lock_alu(op, bits, to, reg(0));
            }
            Inst::Xadd(bits, amode) => {
                let to = self.mem(chosen, amode, opt(2), bytes(bits), true);
                self.compiler.asm.lock_xadd(bits, to, reg(0));
            }
            Inst::Xchg(bits, amode) => {
                let to = self.mem(chosen, amode, opt(2), bytes(bits), true);
                self.compiler.asm.xchg(bits, to, reg(0));
            }
            Inst::Cmpxchg(bits, amode) => {
                let to = self.mem(chosen, amode, opt(3), bytes(bits), true);
                self.compiler.asm.lock_cmpxchg(bits, to, reg(2));
                if bits == Bits::B32 {
                    // Where the exchange takes place the machine leaves the upper half.
                    self.compiler.asm.mov(Bits::B32, Gpr::Rax, Gpr::Rax);
                }
            }
            Inst::FetchLoop(op, bits, amode) => {
                self.fetch_loop(chosen, (op, bits, amode), reg(1), reg(2), opt(3));
            }
            Inst::Call(site) => self.call(chosen.pc, site),
            Inst::Charge(count) => {
                self.compiler.asm.alu_imm(Alu::Sub, Bits::B64, FUEL, count);
            }
            Inst::ChargeBy => self.compiler.asm.alu(Alu::Sub, Bits::B64, FUEL, reg(0)),
            Inst::Fuel => self.compiler.asm.mov(Bits::B64, reg(0), FUEL),
            Inst::ChargeAndCheck(count) => self.charge_and_check(chosen.pc, count),
            Inst::CheckDepth(levels) => self.check_depth(chosen.pc, levels, reg(0)),
            Inst::Branch(test, cc) => {
                self.test(chosen, test, allocs);
                self.branch(block, cc, next);
            }
            Inst::Jump => {
                let to = self.destination(block, 0);
                if Some(to) != next {
                    self.jump_to(to);
                }
            }
            Inst::Return => {
                self.unwind();
                self.compiler.asm.ret();
            }
            Inst::Trap(code) => {
                let label = self.compiler.trap(code, chosen.pc);
                self.compiler.asm.jmp(label);
            }
        }
    }

    fn call(&mut self, pc: u32, site: u32) {
        let site = &self.machine.calls[site as usize];
        match site.target {
            Target::Local(entry) => self.call_local(pc, entry),
            Target::Helper(id) | Target::CallBack(id) => {
                let binding = (self.compiler.source.helper)(id);
                self.call_helper(pc, binding);
            }
            Target::Lookup(address) => self.call_lookup(pc, address),
            Target::Register => self.call_register(pc),
            Target::TailCall => self.tail_call(pc),
            Target::Packet(size) => self.load_packet(pc, size),
        }
        self.compiler.place(Place::NONE);
        self.compiler.place(pc);
    }
}

pub(super) fn size_bits(size: Size) -> Bits {
    match size {
        Size::B => Bits::B8,
        Size::H => Bits::B16,
        Size::W => Bits::B32,
        Size::Dw => Bits::B64,
    }
}

const fn bytes(bits: Bits) -> u32 {
    match bits {
        Bits::B8 => 1,
        Bits::B16 => 2,
        Bits::B32 => 4,
        Bits::B64 => 8,
    }
}
