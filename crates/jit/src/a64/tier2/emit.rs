//! Writes the machine code of a function whose registers are allocated.
//!
//! A native frame holds, from its lowest word: spilled values, preserved registers, and the return
//! address if the function calls. Blocks that came out empty are skipped by the jumps that lead to
//! them.

mod memory;

use regalloc2::{Allocation, Edit, Output};
use skep_bpf::insn::Extend;
use skep_bpf::op::{Size, Width};

use self::memory::host_address;
use super::allocate::PRESERVED;
use super::inst::{Inst, Test};
use super::select::{Chosen, Machine};
use super::{Compiler, StubKind};
use crate::a64::asm::Label;
use crate::a64::encode::{
    AddSub, BTI_C, Binary, BitMask, Condition, Extension, FP, Gpr, Indirect, LR, Logic, Multiply,
    SP, Select, Shift, Transfer, Unary, Vector, ZR, add, add_extended, add_imm, add_shifted, addv,
    binary, cnt, fmov_from, fmov_to, indirect, ldar, logic, logic_imm, logic_shifted, mov,
    multiply, sbfx, select, shift_imm, stlr, transfer_register, transfer_scaled, ubfx, unary, x,
};
use crate::a64::host::load_state;
use crate::a64::regs::{FUEL, SCRATCH, SCRATCH2, gpr as guest};
use crate::abi::TrapCode;
use crate::code::Place;
use crate::ssa::ir::Target;
use skep_bpf::insn::Reg;

/// The register that ones are counted in.
const COUNTED: Vector = Vector(31);

/// A function while it is written.
pub(super) struct Emitter<'a, 'b> {
    pub(super) compiler: &'a mut Compiler<'b>,
    machine: &'a Machine,
    output: &'a Output,
    /// The registers that the frame preserves, the return address last.
    saved: Vec<Gpr>,
    /// The size of the frame.
    bytes: i32,
    /// The first of the blocks' labels.
    labels: Label,
    /// Where jumps to a block lead in the end.
    leads_to: Vec<usize>,
}

/// Writes a function.
pub(super) fn emit(compiler: &mut Compiler<'_>, machine: &Machine, output: &Output) {
    let saved = saved(machine, output);
    let words = output.num_spillslots + saved.len();
    let bytes = 8 * words.next_multiple_of(2) as i32;
    let labels = compiler.asm.labels(machine.blocks.len());
    let leads_to = destinations(machine, output);
    let mut emitter = Emitter { compiler, machine, output, saved, bytes, labels, leads_to };
    emitter.prologue();
    let order: Vec<usize> =
        (0..machine.blocks.len()).filter(|index| emitter.leads_to[*index] == *index).collect();
    for (index, block) in order.iter().enumerate() {
        emitter.block(*block, order.get(index + 1).copied());
    }
}

/// The registers that a function must preserve.
fn saved(machine: &Machine, output: &Output) -> Vec<Gpr> {
    let mut used = [false; 32];
    let mut see = |allocation: &Allocation| {
        if let Some(reg) = allocation.as_reg() {
            used[reg.hw_enc() & 31] = true;
        }
    };
    output.allocs.iter().for_each(&mut see);
    for (_, Edit::Move { from, to }) in &output.edits {
        see(from);
        see(to);
    }
    let is_used = |reg: &Gpr| used[usize::from(reg.number())];
    let mut saved: Vec<Gpr> = PRESERVED.into_iter().filter(is_used).collect();
    if machine.insts.iter().any(|chosen| matches!(chosen.inst, Inst::Call(_))) {
        saved.extend([FP, LR]);
    }
    saved
}

/// For each block, itself, or where it leads if nothing is left of it but a jump.
fn destinations(machine: &Machine, output: &Output) -> Vec<usize> {
    let mut is_empty = vec![false; machine.blocks.len()];
    let mut edits = output.edits.iter().peekable();
    for (index, is_empty) in is_empty.iter_mut().enumerate() {
        let (start, end) = machine.blocks.insts(index);
        let mut has_edits = false;
        while edits.next_if(|(point, _)| point.inst().index() < end).is_some() {
            has_edits = true;
        }
        let jumps = matches!(machine.insts[start].inst, Inst::Jump);
        *is_empty = end - start == 1 && jumps && !has_edits && index != 0;
    }
    let end_of = |index: usize| {
        let mut to = index;
        // A cycle of empty blocks leads to one of them.
        for _ in 0..64 {
            if !is_empty[to] {
                break;
            }
            to = machine.blocks.succs(to).first().map_or(to, |to| to.index());
        }
        to
    };
    (0..machine.blocks.len()).map(end_of).collect()
}

fn gpr(allocation: Allocation) -> Gpr {
    // Operands are constrained to registers.
    x(allocation.as_reg().map_or(0, |reg| reg.hw_enc()) as u8 & 31)
}

impl Emitter<'_, '_> {
    fn prologue(&mut self) {
        let asm = &mut self.compiler.asm;
        asm.put(BTI_C);
        if self.bytes > 0 {
            asm.move_stack(-self.bytes);
        }
        let at = 8 * self.output.num_spillslots as i32;
        self.keep(false, at);
        if self.saved.last() == Some(&LR) {
            let link = at + 8 * (self.saved.len() as i32 - 2);
            self.compiler.asm.add_number(Width::W64, FP, SP, link.into(), SCRATCH);
        }
    }

    /// Takes the frame down.
    pub(super) fn unwind(&mut self) {
        self.keep(true, 8 * self.output.num_spillslots as i32);
        if self.bytes > 0 {
            self.compiler.asm.move_stack(self.bytes);
        }
    }

    fn keep(&mut self, load: bool, at: i32) {
        // Pairs reach 504 bytes.
        if at + 8 * self.saved.len() as i32 <= 500 {
            return self.compiler.asm.move_stacked(load, &self.saved, at);
        }
        for index in 0..self.saved.len() {
            self.stacked(load, self.saved[index], at + 8 * index as i32);
        }
    }

    /// Loads or stores a word of the frame.
    fn stacked(&mut self, load: bool, reg: Gpr, at: i32) {
        let op = if load { Transfer::load(Size::Dw) } else { Transfer::store(Size::Dw) };
        let asm = &mut self.compiler.asm;
        if at < 8 * 4096 {
            asm.put(transfer_scaled(op, reg, SP, at as u32 / 8));
        } else {
            asm.set(SCRATCH, at as u64);
            asm.put(transfer_register(op, reg, SP, SCRATCH, (Extension::Uxtx, false)));
        }
    }

    fn block(&mut self, index: usize, next: Option<usize>) {
        self.compiler.asm.bind(self.labels.after(index));
        let (start, end) = self.machine.blocks.insts(index);
        let first = regalloc2::ProgPoint::before(regalloc2::Inst::new(start));
        let edits = &self.output.edits;
        let mut edit = edits.partition_point(|(at, _)| *at < first);
        let mut last_place = None;
        for at in start..end {
            let inst = regalloc2::Inst::new(at);
            while let Some((point, Edit::Move { from, to })) = edits.get(edit)
                && *point <= regalloc2::ProgPoint::before(inst)
            {
                self.edit(*from, *to);
                edit += 1;
            }
            let chosen = self.machine.insts[at];
            if last_place != Some(chosen.pc) {
                self.compiler.place(chosen.pc);
                last_place = Some(chosen.pc);
            }
            self.inst(index, &chosen, self.output.inst_allocs(inst), next);
        }
    }

    fn edit(&mut self, from: Allocation, to: Allocation) {
        let slot =
            |allocation: Allocation| allocation.as_stack().map(|slot| 8 * slot.index() as i32);
        match (slot(from), slot(to)) {
            (None, None) => self.compiler.asm.put(mov(Width::W64, gpr(to), gpr(from))),
            (Some(slot), None) => self.stacked(true, gpr(to), slot),
            (None, Some(slot)) => self.stacked(false, gpr(from), slot),
            (Some(from), Some(to)) => {
                self.stacked(true, SCRATCH2, from);
                self.stacked(false, SCRATCH2, to);
            }
        }
    }

    fn inst(&mut self, block: usize, chosen: &Chosen, allocs: &[Allocation], next: Option<usize>) {
        let reg = |index: usize| gpr(allocs[index]);
        let asm = &mut self.compiler.asm;
        match chosen.inst {
            Inst::Args => {}
            Inst::Imm(number) => asm.set(reg(0), number),
            Inst::Processor => {
                self.compiler.asm.put(load_state(reg(0), crate::abi::offset::PROCESSOR))
            }
            Inst::FrameAddress(disp) => {
                asm.add_number(Width::W64, reg(0), guest(Reg::R10), disp.into(), SCRATCH);
            }
            Inst::HostAddress => asm.put(host_address(reg(0), reg(1))),
            Inst::Move(width) => asm.put(mov(width, reg(0), reg(1))),
            Inst::Add(width, op, shift, amount) => {
                asm.put(add_shifted(width, op, reg(0), reg(1), reg(2), (shift, amount)));
            }
            Inst::AddExtended(op) => {
                let low = (Extension::Uxtw, 0);
                asm.put(add_extended(Width::W64, op, reg(0), reg(1), reg(2), low));
            }
            Inst::AddImm(width, imm) => asm.add_number(width, reg(0), reg(1), imm, SCRATCH),
            Inst::Logic(width, op, invert, shift, amount) => {
                let shifted = (shift, amount);
                asm.put(logic_shifted(width, op, invert, reg(0), reg(1), reg(2), shifted));
            }
            Inst::LogicImm(width, op, mask) => asm.put(logic_imm(width, op, reg(0), reg(1), mask)),
            Inst::MultiplyAdd(width, op) => {
                asm.put(multiply(width, op, reg(0), reg(1), reg(2), reg(3)));
            }
            Inst::Multiply(width) => {
                asm.put(multiply(width, Multiply::Madd, reg(0), reg(1), reg(2), ZR));
            }
            Inst::MultiplyHigh(Width::W64) => {
                asm.put(multiply(Width::W64, Multiply::Umulh, reg(0), reg(1), reg(2), ZR));
            }
            Inst::MultiplyHigh(Width::W32) => {
                asm.put(multiply(Width::W64, Multiply::Umaddl, reg(0), reg(1), reg(2), ZR));
                asm.put(shift_imm(Width::W64, Shift::Lsr, reg(0), reg(0), 32));
            }
            Inst::Binary(width, op) => asm.put(binary(width, op, reg(0), reg(1), reg(2))),
            Inst::Remainder(width, op) => {
                asm.put(binary(width, op, SCRATCH2, reg(1), reg(2)));
                asm.put(multiply(width, Multiply::Msub, reg(0), SCRATCH2, reg(2), reg(1)));
            }
            Inst::RotateLeft(width) => {
                asm.put(add(width, AddSub::Sub, SCRATCH2, ZR, reg(2)));
                asm.put(binary(width, Binary::Rorv, reg(0), reg(1), SCRATCH2));
            }
            Inst::ShiftImm(width, shift, amount) => {
                asm.put(shift_imm(width, shift, reg(0), reg(1), amount));
            }
            Inst::Extract(width, lsb, bits) => asm.put(ubfx(width, reg(0), reg(1), lsb, bits)),
            Inst::SignExtend(width, bits) => asm.put(sbfx(width, reg(0), reg(1), 0, bits)),
            Inst::Negate(width) => asm.put(add(width, AddSub::Sub, reg(0), ZR, reg(1))),
            Inst::Not(width) => {
                let all = (Shift::Lsl, 0);
                asm.put(logic_shifted(width, Logic::Orr, true, reg(0), ZR, reg(1), all));
            }
            Inst::Unary(width, op) => asm.put(unary(width, op, reg(0), reg(1))),
            Inst::Swap16 => {
                asm.put(unary(Width::W32, Unary::Rev16, reg(0), reg(1)));
                asm.put(ubfx(Width::W32, reg(0), reg(0), 0, 16));
            }
            Inst::TrailingZeros(width) => {
                asm.put(unary(width, Unary::Rbit, reg(0), reg(1)));
                asm.put(unary(width, Unary::Clz, reg(0), reg(0)));
            }
            Inst::CountOnes(width) => {
                asm.put(mov(width, SCRATCH2, reg(1)));
                asm.put(fmov_to(COUNTED, SCRATCH2));
                asm.put(cnt(COUNTED, COUNTED));
                asm.put(addv(COUNTED, COUNTED));
                asm.put(fmov_from(Width::W32, reg(0), COUNTED));
            }
            Inst::Select(test) => {
                let condition = self.flags(test, &allocs[1..]);
                let (then, other) = (gpr(allocs[allocs.len() - 2]), gpr(allocs[allocs.len() - 1]));
                let word = select(Width::W64, Select::Csel, reg(0), then, other, condition);
                self.compiler.asm.put(word);
            }
            Inst::Load(size, extend, amode) => {
                let transfer = match extend {
                    Extend::Sign if size != Size::Dw => Transfer::load_signed(size, Width::W64),
                    Extend::Sign | Extend::Zero => Transfer::load(size),
                };
                self.transfer(chosen, transfer, reg(0), (amode, allocs.get(1)), false);
            }
            Inst::Store(size, amode) => {
                let place = (amode, allocs.get(1));
                self.transfer(chosen, Transfer::store(size), reg(0), place, true);
            }
            Inst::StoreZero(size, amode) => {
                let place = (amode, allocs.first());
                self.transfer(chosen, Transfer::store(size), ZR, place, true);
            }
            Inst::LoadAcquire(size, amode) => {
                let place = (amode, allocs.get(1));
                let code = TrapCode::MisalignedOrdered;
                let access = self.aligned_address(chosen, place, size.bytes(), code);
                self.access(access, false);
                self.compiler.asm.put(ldar(size, reg(0), SCRATCH));
            }
            Inst::StoreRelease(size, amode) => {
                let place = (amode, allocs.get(1));
                let code = TrapCode::MisalignedOrdered;
                let access = self.aligned_address(chosen, place, size.bytes(), code);
                self.access(access, true);
                self.compiler.asm.put(stlr(size, reg(0), SCRATCH));
            }
            Inst::Atomic(op, width, amode) => self.atomic(chosen, op, width, amode, allocs),
            Inst::Call(site) => self.call(chosen.pc, site),
            Inst::Charge(count) => self.compiler.charge(count),
            Inst::ChargeBy => self.compiler.charge_by(reg(0)),
            Inst::Fuel => self.compiler.asm.put(mov(Width::W64, reg(0), FUEL)),
            Inst::ChargeAndCheck(count) => self.charge_and_check(chosen.pc, count),
            Inst::CheckDepth(levels) => self.check_depth(chosen.pc, levels),
            Inst::Branch(test) => self.branch(block, test, allocs, next),
            Inst::Jump => {
                let to = self.destination(block, 0);
                if Some(to) != next {
                    let label = self.labels.after(to);
                    self.compiler.asm.jump(label);
                }
            }
            Inst::Return => {
                self.unwind();
                self.compiler.asm.put(indirect(Indirect::Ret, LR));
            }
            Inst::Trap(code) => {
                let stub = self.compiler.stub(chosen.pc, StubKind::Trap(code));
                self.compiler.asm.jump(stub);
            }
        }
    }

    /// Where the edge of a block with a number leads in the end.
    fn destination(&self, block: usize, edge: usize) -> usize {
        self.leads_to[self.machine.blocks.succs(block)[edge].index()]
    }

    fn branch(&mut self, block: usize, test: Test, allocs: &[Allocation], next: Option<usize>) {
        let (then, other) = (self.destination(block, 0), self.destination(block, 1));
        let (to_then, to_other) = (self.labels.after(then), self.labels.after(other));
        if then == other {
            if Some(then) != next {
                self.compiler.asm.jump(to_then);
            }
        } else if Some(then) == next {
            self.branch_on(test, false, allocs, to_other);
        } else {
            self.branch_on(test, true, allocs, to_then);
            if Some(other) != next {
                self.compiler.asm.jump(to_other);
            }
        }
    }

    /// Branches if the test holds, or if it does not.
    fn branch_on(&mut self, test: Test, holds: bool, allocs: &[Allocation], to: Label) {
        match test {
            Test::Zero { width, nonzero } => {
                let reg = gpr(allocs[0]);
                self.compiler.asm.branch_zero(width, nonzero == holds, reg, to);
            }
            Test::Bit { nonzero, bit } => {
                self.compiler.asm.branch_bit(nonzero == holds, gpr(allocs[0]), bit, to);
            }
            Test::Compare(..) | Test::CompareImm(..) | Test::Bits(_) | Test::BitsImm(..) => {
                let condition = self.flags(test, allocs);
                let condition = if holds { condition } else { condition.inverted() };
                self.compiler.asm.branch(condition, to);
            }
        }
    }

    /// Sets the flags for a test; gives the condition.
    fn flags(&mut self, test: Test, allocs: &[Allocation]) -> Condition {
        let reg = |index: usize| gpr(allocs[index]);
        let asm = &mut self.compiler.asm;
        let if_set = |nonzero: bool| if nonzero { Condition::Ne } else { Condition::Eq };
        match test {
            Test::Compare(width, condition) => {
                asm.put(add(width, AddSub::Subs, ZR, reg(0), reg(1)));
                condition
            }
            Test::CompareImm(width, condition, op, imm, upper) => {
                asm.put(add_imm(width, op, ZR, reg(0), imm, upper));
                condition
            }
            Test::Bits(width) => {
                asm.put(logic(width, Logic::Ands, ZR, reg(0), reg(1)));
                Condition::Ne
            }
            Test::BitsImm(width, mask) => {
                asm.put(logic_imm(width, Logic::Ands, ZR, reg(0), mask));
                Condition::Ne
            }
            Test::Zero { width, nonzero } => {
                asm.put(add_imm(width, AddSub::Subs, ZR, reg(0), 0, false));
                if_set(nonzero)
            }
            Test::Bit { nonzero, bit } => {
                // A single bit is always a mask; the sign would be one for the whole.
                if let Some(mask) = BitMask::new(Width::W64, 1 << bit) {
                    asm.put(logic_imm(Width::W64, Logic::Ands, ZR, reg(0), mask));
                }
                if_set(nonzero)
            }
        }
    }

    fn call(&mut self, pc: u32, site: u32) {
        match self.machine.calls[site as usize].target {
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
