//! Calls of functions, helpers and the runtime.
//!
//! Helpers find their arguments where C has them. A slow call keeps `r1` to `r5` in the state
//! meanwhile.

use skep_bpf::insn::{HelperId, PacketIndex, PacketSize, Reg};
use skep_bpf::op::{Size, Width};
use skep_bpf::program::Pc;

use super::control::SIGN;
use super::{Compiler, StubKind};
use crate::a64::asm::Label;
use crate::a64::encode::{
    AddSub, Condition, Gpr, Index, Indirect, LR, SP, Transfer, ZR, add, add_imm, indirect, mov,
    pair, transfer_scaled, x,
};
use crate::a64::regs::{FRAME, FUEL, JUMP, RESULT, SCRATCH, SCRATCH2, STATE, STATE_ARG, gpr};
use crate::abi::{FRAME_BYTES, TrapCode, offset};
use crate::flow::RegSet;
use crate::source::Binding;

/// `r1` to `r5`.
const ARGUMENTS: [Gpr; 5] = [x(0), x(1), x(2), x(3), x(4)];

/// A word of the state, at an offset in bytes.
pub(super) const fn load_state(to: Gpr, offset: i32) -> u32 {
    transfer_scaled(Transfer::load(Size::Dw), to, STATE, offset as u32 / 8)
}

/// As [`load_state`], stored.
pub(super) const fn store_state(from: Gpr, offset: i32) -> u32 {
    transfer_scaled(Transfer::store(Size::Dw), from, STATE, offset as u32 / 8)
}

/// Two words of the state, at an offset in bytes.
pub(super) const fn pair_state(load: bool, regs: (Gpr, Gpr), offset: i32) -> u32 {
    pair(Width::W64, load, regs, STATE, offset / 8, Index::None)
}

impl Compiler<'_> {
    pub(super) fn call_local(&mut self, entry: Pc) {
        let Some(callee) = self.flow.function_at(entry) else {
            // Calls lead to functions' entries, as the program was checked.
            return self.trap_always(TrapCode::Unreachable);
        };
        self.pay_debt();
        self.ask_for_call();
        self.enter_frame();
        let callee = self.functions.after(callee);
        self.asm.call(callee);
        self.leave_frame();
    }

    /// Stops where the fuel or the frames are used up, in this order.
    fn ask_for_call(&mut self) {
        if self.source.metered {
            let back = self.asm.label();
            let stub = self.stub(StubKind::Refuel { back, advance: 0 });
            self.asm.branch_bit(true, FUEL, SIGN, stub);
            self.asm.bind(back);
        }
        if self.source.proof.is_none() {
            self.asm.put(load_state(SCRATCH, offset::LOWEST_FRAME));
            self.asm.put(add(Width::W64, AddSub::Subs, ZR, gpr(Reg::R10), SCRATCH));
            let stub = self.stub(StubKind::Trap(TrapCode::CallDepth));
            self.asm.branch(Condition::Eq, stub);
        }
    }

    fn enter_frame(&mut self) {
        self.move_pointer(gpr(Reg::R10), -(FRAME_BYTES as i32));
        self.move_pointer(FRAME, -(FRAME_BYTES as i32));
    }

    fn leave_frame(&mut self) {
        self.move_pointer(gpr(Reg::R10), FRAME_BYTES as i32);
        self.move_pointer(FRAME, FRAME_BYTES as i32);
        self.zero(self.flow.zeroed_after(self.at));
    }

    pub(super) fn zero(&mut self, regs: RegSet) {
        for reg in regs.iter() {
            self.asm.set(gpr(reg), 0);
        }
    }

    pub(super) fn call_helper(&mut self, id: HelperId) {
        if id == HelperId::TAIL_CALL {
            return self.tail_call();
        }
        match (self.source.helper)(id) {
            Binding::Generic { site, .. } => {
                self.set_site(site);
                self.call_runtime(offset::HELPER);
                self.finish_helper();
            }
            Binding::Plain { address, .. } => {
                self.asm.set(SCRATCH, address);
                self.call_c();
                self.asm.put(mov(Width::W64, gpr(Reg::R0), RESULT));
                self.zero(self.flow.zeroed_after(self.at));
            }
        }
    }

    fn set_site(&mut self, site: u64) {
        self.asm.set(SCRATCH, site);
        self.asm.put(store_state(SCRATCH, offset::SITE));
    }

    /// Calls a runtime function, whose arguments are in place.
    fn call_runtime(&mut self, function: i32) {
        self.asm.put(load_state(SCRATCH, function));
        self.call_c();
    }

    /// Calls the function in the scratch register.
    fn call_c(&mut self) {
        self.asm.put(mov(Width::W64, STATE_ARG, STATE));
        self.asm.put(indirect(Indirect::Blr, SCRATCH));
    }

    /// What follows a helper that may trap.
    fn finish_helper(&mut self) {
        self.stop_if_trapped();
        self.asm.put(mov(Width::W64, gpr(Reg::R0), RESULT));
        self.zero(self.flow.zeroed_after(self.at));
    }

    fn stop_if_trapped(&mut self) {
        self.asm.put(load_state(SCRATCH, offset::TRAPPED));
        let stub = self.stub(StubKind::Trap(TrapCode::Runtime));
        self.asm.branch_zero(Width::W64, true, SCRATCH, stub);
    }

    /// A call through a register: of a function, else of a helper by number.
    pub(super) fn call_register(&mut self, callee: Reg) {
        self.pay_debt();
        self.save_arguments();
        // The callee may be in an argument's register.
        self.asm.put(mov(Width::W64, SCRATCH2, gpr(callee)));
        self.set_site(self.source.site);
        self.asm.put(mov(Width::W64, ARGUMENTS[1], SCRATCH));
        self.asm.put(mov(Width::W64, ARGUMENTS[0], SCRATCH2));
        self.call_runtime(offset::RESOLVE);
        self.asm.put(mov(Width::W64, JUMP, RESULT));
        self.load_arguments();
        let (numbered, done) = (self.asm.label(), self.asm.label());
        self.asm.branch_zero(Width::W64, false, JUMP, numbered);
        // Asking may change the register.
        self.asm.put(store_state(JUMP, offset::SITE));
        self.ask_for_call();
        self.asm.put(load_state(JUMP, offset::SITE));
        self.enter_frame();
        self.asm.put(indirect(Indirect::Blr, JUMP));
        self.leave_frame();
        self.asm.jump(done);
        self.asm.bind(numbered);
        self.call_runtime(offset::NUMBERED);
        self.finish_helper();
        self.asm.bind(done);
    }

    /// Goes on in another program, or here if there is none.
    fn tail_call(&mut self) {
        if self.source.metered {
            // Paid only if the call takes place, but asked for before.
            self.asm.add_number(Width::W64, SCRATCH, FUEL, -i64::from(self.debt), SCRATCH2);
            let back = self.asm.label();
            let advance = self.debt;
            let stub = self.stub(StubKind::Refuel { back, advance });
            self.asm.branch_bit(true, SCRATCH, SIGN, stub);
            self.asm.bind(back);
        }
        self.set_site(self.source.site);
        self.call_runtime(offset::TAIL_CALL);
        let fails = self.asm.label();
        self.asm.branch_zero(Width::W64, false, RESULT, fails);
        if self.source.metered {
            self.pay_debt();
        }
        self.asm.put(mov(Width::W64, JUMP, RESULT));
        self.restore();
        self.asm.put(load_state(gpr(Reg::R1), offset::ARGS));
        for reg in [Reg::R2, Reg::R3, Reg::R4, Reg::R5] {
            self.asm.set(gpr(reg), 0);
        }
        self.asm.put(indirect(Indirect::Br, JUMP));
        self.asm.bind(fails);
        self.stop_if_trapped();
        self.asm.put(load_state(gpr(Reg::R0), offset::R0));
        self.zero(self.flow.zeroed_after(self.at));
    }

    /// A deprecated packet load: the function returns 0 if it reads outside the packet.
    pub(super) fn load_packet(&mut self, size: PacketSize, index: PacketIndex, imm: i32) {
        self.save_arguments();
        match index {
            PacketIndex::Absolute => self.asm.set(ARGUMENTS[0], u64::from(imm as u32)),
            PacketIndex::Indirect(reg) => {
                self.asm.add_number(Width::W32, ARGUMENTS[0], gpr(reg), imm.into(), SCRATCH);
            }
        }
        self.asm.set(ARGUMENTS[1], size.size().bytes().into());
        self.call_runtime(offset::LOAD_PACKET);
        self.stop_if_trapped();
        self.asm.put(mov(Width::W64, SCRATCH, RESULT));
        self.load_arguments();
        let inside = self.asm.label();
        self.asm.branch_zero(Width::W64, false, SCRATCH, inside);
        self.pay_debt();
        self.asm.set(gpr(Reg::R0), 0);
        self.epilogue();
        self.asm.bind(inside);
        self.asm.put(load_state(gpr(Reg::R0), offset::R0));
    }

    fn save_arguments(&mut self) {
        self.move_arguments(false);
    }

    fn load_arguments(&mut self) {
        self.move_arguments(true);
    }

    fn move_arguments(&mut self, load: bool) {
        let [r1, r2, r3, r4, r5] = ARGUMENTS;
        self.asm.put(pair_state(load, (r1, r2), offset::SLOW_SAVED));
        self.asm.put(pair_state(load, (r3, r4), offset::SLOW_SAVED + 16));
        let last = offset::SLOW_SAVED + 32;
        self.asm.put(if load { load_state(r5, last) } else { store_state(r5, last) });
    }

    /// Asks for fuel, with the instruction in the first scratch register. Everything but scratch
    /// registers is preserved.
    pub(super) fn refuel_routine(&mut self) {
        self.asm.bind(self.refuel);
        self.asm.put(store_state(FUEL, offset::FUEL));
        self.save_arguments();
        let kept = offset::SLOW_SAVED + 40;
        self.asm.put(store_state(gpr(Reg::R0), kept));
        self.asm.put(store_state(SCRATCH, kept + 8));
        self.asm.put(store_state(LR, kept + 16));
        self.call_runtime(offset::REFUEL);
        self.asm.put(load_state(FUEL, offset::FUEL));
        self.asm.put(load_state(SCRATCH2, offset::TRAPPED));
        self.load_arguments();
        self.asm.put(load_state(gpr(Reg::R0), kept));
        self.asm.put(load_state(SCRATCH, kept + 8));
        self.asm.put(load_state(LR, kept + 16));
        let trapped = self.asm.label();
        self.asm.branch_zero(Width::W64, true, SCRATCH2, trapped);
        self.asm.put(indirect(Indirect::Ret, LR));
        self.asm.bind(trapped);
        self.asm.set(SCRATCH2, TrapCode::Runtime as u64);
        let trap = self.trap;
        self.asm.jump(trap);
    }

    pub(super) fn refuel_stub(&mut self, insn: u32, back: Label, advance: u32) {
        let saved = offset::SLOW_SAVED + 64;
        self.asm.put(store_state(LR, saved));
        if advance != 0 {
            self.pay(advance as i32);
        }
        self.asm.set(SCRATCH, insn.into());
        let refuel = self.refuel;
        self.asm.call(refuel);
        if advance != 0 {
            self.pay(-(advance as i32));
        }
        self.asm.put(load_state(LR, saved));
        self.asm.jump(back);
    }

    /// Reserves or releases native stack.
    pub(super) fn move_stack(&mut self, bytes: i32) {
        let op = if bytes < 0 { AddSub::Sub } else { AddSub::Add };
        self.asm.put(add_imm(Width::W64, op, SP, SP, bytes.unsigned_abs(), false));
    }
}
