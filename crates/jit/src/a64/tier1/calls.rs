//! Calls of functions, helpers and the runtime.
//!
//! Helpers find their arguments where C has them. A slow call keeps `r1` to `r5` in the state
//! meanwhile.

use skep_bpf::insn::{HelperId, PacketIndex, PacketSize, Reg};
use skep_bpf::op::Width;
use skep_bpf::program::Pc;

use super::control::SIGN;
use super::{Compiler, StubKind};
use crate::a64::asm::Label;
use crate::a64::encode::{Indirect, LR, indirect, mov};
use crate::a64::host::{ARGUMENTS, LINK, load_state, store_state};
use crate::a64::regs::{FUEL, JUMP, RESULT, SCRATCH, SCRATCH2, gpr};
use crate::abi::{TrapCode, offset};
use crate::flow::RegSet;
use crate::source::{Binding, CALLING_BACK};

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
            let stub = self.stub(StubKind::Trap(TrapCode::CallDepth));
            self.asm.check_depth(stub, 0);
        }
    }

    fn enter_frame(&mut self) {
        self.asm.move_frame(true);
    }

    fn leave_frame(&mut self) {
        self.asm.move_frame(false);
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
        if CALLING_BACK.contains(&id) {
            // Whether the fuel suffices is asked when a function is called.
            self.pay_debt();
        }
        match (self.source.helper)(id) {
            Binding::Generic { site, .. } => {
                self.asm.set_site(site);
                self.asm.call_runtime(offset::HELPER);
                self.finish_helper();
            }
            Binding::CallsBack { site, .. } => {
                self.asm.call_back(site);
                self.finish_helper();
            }
            Binding::Plain { address, .. } => {
                self.asm.set(SCRATCH, address);
                self.asm.call_c();
                self.asm.put(mov(Width::W64, gpr(Reg::R0), RESULT));
                self.zero(self.flow.zeroed_after(self.at));
            }
        }
    }

    /// What follows a helper that may trap.
    fn finish_helper(&mut self) {
        self.stop_if_trapped();
        self.asm.put(mov(Width::W64, gpr(Reg::R0), RESULT));
        self.zero(self.flow.zeroed_after(self.at));
    }

    fn stop_if_trapped(&mut self) {
        let stub = self.stub(StubKind::Trap(TrapCode::Runtime));
        self.asm.stop_if_trapped(stub);
    }

    /// A call through a register: of a function, else of a helper by number.
    pub(super) fn call_register(&mut self, callee: Reg) {
        self.pay_debt();
        self.asm.resolve(gpr(callee), self.source.site);
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
        self.asm.call_runtime(offset::NUMBERED);
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
        self.asm.set_site(self.source.site);
        self.asm.call_runtime(offset::TAIL_CALL);
        let fails = self.asm.label();
        self.asm.branch_zero(Width::W64, false, RESULT, fails);
        if self.source.metered {
            self.pay_debt();
        }
        self.asm.put(mov(Width::W64, JUMP, RESULT));
        self.restore();
        self.asm.tail_call_registers();
        self.asm.put(indirect(Indirect::Br, JUMP));
        self.asm.bind(fails);
        self.stop_if_trapped();
        self.asm.put(load_state(gpr(Reg::R0), offset::R0));
        self.zero(self.flow.zeroed_after(self.at));
    }

    /// A deprecated packet load: the function returns 0 if it reads outside the packet.
    pub(super) fn load_packet(&mut self, size: PacketSize, index: PacketIndex, imm: i32) {
        self.asm.move_arguments(false);
        match index {
            PacketIndex::Absolute => self.asm.set(ARGUMENTS[0], u64::from(imm as u32)),
            PacketIndex::Indirect(reg) => {
                self.asm.add_number(Width::W32, ARGUMENTS[0], gpr(reg), imm.into(), SCRATCH);
            }
        }
        self.asm.set(ARGUMENTS[1], size.size().bytes().into());
        self.asm.call_runtime(offset::LOAD_PACKET);
        self.stop_if_trapped();
        self.asm.put(mov(Width::W64, SCRATCH, RESULT));
        self.asm.move_arguments(true);
        let inside = self.asm.label();
        self.asm.branch_zero(Width::W64, false, SCRATCH, inside);
        self.pay_debt();
        self.asm.set(gpr(Reg::R0), 0);
        self.epilogue();
        self.asm.bind(inside);
        self.asm.put(load_state(gpr(Reg::R0), offset::R0));
    }

    /// Asks for fuel, with the instruction in the first scratch register. Everything but scratch
    /// registers is preserved.
    pub(super) fn refuel_routine(&mut self) {
        self.asm.bind(self.refuel);
        self.asm.put(store_state(FUEL, offset::FUEL));
        self.asm.move_arguments(false);
        let kept = offset::SLOW_SAVED + 40;
        self.asm.put(store_state(gpr(Reg::R0), kept));
        self.asm.put(store_state(SCRATCH, kept + 8));
        self.asm.put(store_state(LR, kept + 16));
        self.asm.call_runtime(offset::REFUEL);
        self.asm.put(load_state(FUEL, offset::FUEL));
        self.asm.put(load_state(SCRATCH2, offset::TRAPPED));
        self.asm.move_arguments(true);
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
        self.asm.put(store_state(LR, LINK));
        if advance != 0 {
            self.pay(advance as i32);
        }
        self.asm.set(SCRATCH, insn.into());
        let refuel = self.refuel;
        self.asm.call(refuel);
        if advance != 0 {
            self.pay(-(advance as i32));
        }
        self.asm.put(load_state(LR, LINK));
        self.asm.jump(back);
    }
}
