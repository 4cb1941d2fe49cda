//! Calls: functions of the program, helpers, tail calls, deprecated packet loads. Arguments are in
//! their registers, and everything that a call may change is dead or spilled.

use skep_bpf::insn::Reg;
use skep_bpf::op::{Size, Width};
use skep_bpf::program::Pc;

use super::allocate::CALLER_SAVED;
use super::emit::Emitter;
use super::{Compiler, StubKind};
use crate::a64::asm::Label;
use crate::a64::encode::{
    AddSub, Condition, Gpr, Indirect, LR, Select, ZR, add, add_imm, indirect, mov, select, x,
};
use crate::a64::host::{ARGUMENTS, LINK, load_state, store_state};
use crate::a64::regs::{FUEL, JUMP, RESULT, SCRATCH, SCRATCH2, gpr};
use crate::abi::{TrapCode, offset};
use crate::source::Binding;

/// Where the callee of a call through a register is.
pub(super) const CALLEE: Gpr = x(8);

/// What [`Compiler::refuel_routine`] keeps on the native stack, and how much that takes.
const KEPT: [Gpr; 14] = {
    let mut kept = [LR; 14];
    let mut index = 0;
    while index < CALLER_SAVED.len() {
        kept[index] = CALLER_SAVED[index];
        index += 1;
    }
    kept[12] = SCRATCH;
    kept
};
const KEPT_BYTES: i32 = 8 * KEPT.len() as i32;

impl Emitter<'_, '_> {
    pub(super) fn call_local(&mut self, pc: u32, entry: Pc) {
        // Every call leads to the start of a function.
        let callee = self.compiler.flow.function_at(entry).unwrap_or(0);
        self.check_depth(pc, 0);
        let label = self.compiler.functions.after(callee);
        let asm = &mut self.compiler.asm;
        asm.move_frame(true);
        asm.call(label);
        asm.move_frame(false);
    }

    /// Traps if a call from so many frames below this one would be too deep. A proof says that
    /// none is.
    pub(super) fn check_depth(&mut self, pc: u32, levels: u32) {
        if self.compiler.source.proof.is_none() {
            let too_deep = self.compiler.stub(pc, StubKind::Trap(TrapCode::CallDepth));
            self.compiler.asm.check_depth(too_deep, levels);
        }
    }

    pub(super) fn call_helper(&mut self, pc: u32, binding: Binding) {
        match binding {
            Binding::Generic { site, .. } => {
                self.compiler.asm.set_site(site);
                self.compiler.asm.call_runtime(offset::HELPER);
                self.stop_if_trapped(pc);
            }
            Binding::CallsBack { site, .. } => {
                self.compiler.asm.call_back(site);
                self.stop_if_trapped(pc);
            }
            Binding::Plain { address, .. } => {
                self.compiler.asm.set(SCRATCH, address);
                self.compiler.asm.call_c();
            }
        }
    }

    fn stop_if_trapped(&mut self, pc: u32) {
        let stub = self.compiler.stub(pc, StubKind::Trap(TrapCode::Runtime));
        self.compiler.asm.stop_if_trapped(stub);
    }

    /// The fuel was paid; whether it sufficed matters if a function is called.
    pub(super) fn call_register(&mut self, pc: u32) {
        let site = self.compiler.source.site;
        self.compiler.asm.resolve(CALLEE, site);
        let (numbered, done) = (self.compiler.asm.label(), self.compiler.asm.label());
        self.compiler.asm.branch_zero(Width::W64, false, JUMP, numbered);
        if self.compiler.source.metered {
            // Asking may change the register.
            self.compiler.asm.put(store_state(JUMP, offset::SITE));
            self.ask(pc);
            self.compiler.asm.put(load_state(JUMP, offset::SITE));
        }
        self.check_depth(pc, 0);
        let asm = &mut self.compiler.asm;
        asm.move_frame(true);
        asm.put(indirect(Indirect::Blr, JUMP));
        asm.move_frame(false);
        asm.jump(done);
        asm.bind(numbered);
        asm.call_runtime(offset::NUMBERED);
        self.stop_if_trapped(pc);
        self.compiler.asm.put(mov(Width::W64, gpr(Reg::R0), RESULT));
        self.compiler.asm.bind(done);
    }

    /// Goes on in another program if there is one: its frame takes the place of this one. The
    /// fuel was paid.
    pub(super) fn tail_call(&mut self, pc: u32) {
        let fails = self.compiler.asm.label();
        let asm = &mut self.compiler.asm;
        asm.set_site(self.compiler.source.site);
        asm.call_runtime(offset::TAIL_CALL);
        asm.branch_zero(Width::W64, false, RESULT, fails);
        asm.put(mov(Width::W64, JUMP, RESULT));
        self.unwind();
        let asm = &mut self.compiler.asm;
        asm.tail_call_registers();
        asm.put(indirect(Indirect::Br, JUMP));
        asm.bind(fails);
        self.stop_if_trapped(pc);
        self.compiler.asm.put(load_state(gpr(Reg::R0), offset::R0));
    }

    /// A load from the packet at the offset in the first argument's register. Outside the packet
    /// the value is one that no load gives.
    pub(super) fn load_packet(&mut self, pc: u32, size: Size) {
        let asm = &mut self.compiler.asm;
        asm.put(mov(Width::W32, ARGUMENTS[0], ARGUMENTS[0]));
        asm.set(ARGUMENTS[1], size.bytes().into());
        asm.call_runtime(offset::LOAD_PACKET);
        self.stop_if_trapped(pc);
        let (asm, r0) = (&mut self.compiler.asm, gpr(Reg::R0));
        asm.put(load_state(r0, offset::R0));
        asm.put(add_imm(Width::W64, AddSub::Subs, ZR, RESULT, 0, false));
        asm.put(select(Width::W64, Select::Csinv, r0, r0, ZR, Condition::Eq));
    }

    /// Asks for fuel if there is less than none.
    fn ask(&mut self, pc: u32) {
        let back = self.compiler.asm.label();
        let stub = self.compiler.stub(pc, StubKind::Refuel { back });
        self.compiler.asm.put(add(Width::W64, AddSub::Adds, ZR, FUEL, ZR));
        self.compiler.asm.branch(Condition::Mi, stub);
        self.compiler.asm.bind(back);
    }

    pub(super) fn charge_and_check(&mut self, pc: u32, count: i32) {
        let size = count.unsigned_abs();
        if count == 0 || size >= 1 << 12 {
            self.compiler.charge(count);
            return self.ask(pc);
        }
        let op = if count < 0 { AddSub::Adds } else { AddSub::Subs };
        let back = self.compiler.asm.label();
        let stub = self.compiler.stub(pc, StubKind::Refuel { back });
        self.compiler.asm.put(add_imm(Width::W64, op, FUEL, FUEL, size, false));
        self.compiler.asm.branch(Condition::Mi, stub);
        self.compiler.asm.bind(back);
    }
}

impl Compiler<'_> {
    pub(super) fn charge(&mut self, count: i32) {
        if count != 0 {
            self.asm.add_number(Width::W64, FUEL, FUEL, -i64::from(count), SCRATCH);
        }
    }

    /// Takes as many instructions from the fuel as a register says.
    pub(super) fn charge_by(&mut self, amount: Gpr) {
        self.asm.put(add(Width::W64, AddSub::Sub, FUEL, FUEL, amount));
    }

    pub(super) fn refuel_stub(&mut self, insn: u32, back: Label) {
        self.asm.put(store_state(LR, LINK));
        self.asm.set(SCRATCH, insn.into());
        self.asm.call(self.refuel);
        self.asm.put(load_state(LR, LINK));
        self.asm.jump(back);
    }

    /// Asks for fuel, with the instruction in the first scratch register. Everything but scratch
    /// registers is preserved.
    pub(super) fn refuel_routine(&mut self) {
        let asm = &mut self.asm;
        asm.bind(self.refuel);
        asm.put(store_state(FUEL, offset::FUEL));
        asm.move_stack(-KEPT_BYTES);
        asm.move_stacked(false, &KEPT, 0);
        asm.call_runtime(offset::REFUEL);
        asm.put(load_state(FUEL, offset::FUEL));
        asm.put(load_state(SCRATCH2, offset::TRAPPED));
        asm.move_stacked(true, &KEPT, 0);
        asm.move_stack(KEPT_BYTES);
        let trapped = asm.label();
        asm.branch_zero(Width::W64, true, SCRATCH2, trapped);
        asm.put(indirect(Indirect::Ret, LR));
        asm.bind(trapped);
        asm.set(SCRATCH2, TrapCode::Runtime as u64);
        asm.jump(self.trap);
    }
}
