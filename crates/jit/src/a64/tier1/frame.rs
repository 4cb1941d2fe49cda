//! The native frame: entering code and functions, and leaving them, by exits and by traps.

use skep_bpf::insn::Reg;
use skep_bpf::op::{Size, Width};

use super::calls::{load_state, pair_state, store_state};
use super::{Compiler, StubKind};
use crate::a64::encode::{
    AddSub, BTI_C, FP, Gpr, Index, Indirect, LR, SP, Transfer, add, add_imm, adr, indirect, mov,
    pair, transfer_scaled, x,
};
use crate::a64::regs::{
    FRAME, FUEL, MAY_GOTO, RESULT, SCRATCH, SCRATCH2, SCRATCH3, STATE, WINDOW, gpr,
};
use crate::abi::{EXITED, FRAME_BYTES, MAY_GOTO_LIMIT, TRAPPED, TrapCode, offset};

/// What C preserves and generated code changes, in the order of the state's words.
const HOST: [(Gpr, Gpr); 5] =
    [(x(19), x(20)), (x(21), x(22)), (x(23), x(24)), (x(25), x(26)), (FP, LR)];

impl Compiler<'_> {
    /// The function that the host calls; gives its offset.
    pub(super) fn enter(&mut self) -> u32 {
        let at = self.asm.offset();
        self.place(crate::code::Place::NONE);
        let asm = &mut self.asm;
        asm.put(BTI_C);
        // The state pointer's register must be saved before it is changed.
        let saved = offset::EXIT_SAVED / 8;
        asm.put(pair(Width::W64, false, (STATE, WINDOW), RESULT, saved + 10, Index::None));
        asm.put(mov(Width::W64, STATE, RESULT));
        for (index, regs) in HOST.into_iter().enumerate() {
            asm.put(pair_state(false, regs, offset::EXIT_SAVED + 16 * index as i32));
        }
        asm.put(add_imm(Width::W64, AddSub::Add, SCRATCH, SP, 0, false));
        asm.put(store_state(SCRATCH, offset::EXIT_SP));
        asm.put(load_state(WINDOW, offset::WINDOW));
        asm.put(load_state(FUEL, offset::FUEL));
        asm.put(load_state(gpr(Reg::R10), offset::FRAME_TOP));
        asm.put(add(Width::W64, AddSub::Add, FRAME, WINDOW, gpr(Reg::R10)));
        asm.put(add_imm(Width::W64, AddSub::Sub, FRAME, FRAME, FRAME_BYTES, false));
        asm.put(pair_state(true, (gpr(Reg::R1), gpr(Reg::R2)), offset::ARGS));
        for reg in [Reg::R3, Reg::R4, Reg::R5] {
            asm.set(gpr(reg), 0);
        }
        asm.call(self.functions);
        asm.put(store_state(gpr(Reg::R0), offset::R0));
        asm.put(store_state(FUEL, offset::FUEL));
        asm.set(RESULT, EXITED);
        self.leave();
        at
    }

    /// Returns to the host, with the result in place.
    fn leave(&mut self) {
        for (index, regs) in HOST.into_iter().enumerate() {
            self.asm.put(pair_state(true, regs, offset::EXIT_SAVED + 16 * index as i32));
        }
        // The state pointer's register last, by itself.
        self.asm.put(pair_state(true, (STATE, WINDOW), offset::EXIT_SAVED + 80));
        self.asm.put(indirect(Indirect::Ret, LR));
    }

    /// The registers that the function saves, the return address first if it is.
    fn saved(&self) -> Vec<Gpr> {
        let mut regs = Vec::with_capacity(8);
        if self.function.calls {
            regs.extend([FP, LR]);
        }
        regs.extend(self.function.saved.iter().map(gpr));
        if self.function.may_goto {
            regs.push(MAY_GOTO);
        }
        regs
    }

    pub(super) fn prologue(&mut self) {
        self.asm.put(BTI_C);
        self.keep(false);
        if self.function.calls {
            self.asm.put(add_imm(Width::W64, AddSub::Add, FP, SP, 0, false));
        }
        if self.function.may_goto {
            self.asm.set(MAY_GOTO, MAY_GOTO_LIMIT.into());
        }
        self.zero(self.function.zeroed);
    }

    /// Returns to the caller.
    pub(super) fn epilogue(&mut self) {
        self.restore();
        self.asm.put(indirect(Indirect::Ret, LR));
    }

    /// Takes the function's frame away.
    pub(super) fn restore(&mut self) {
        self.keep(true);
    }

    /// Stores the registers that the function preserves in its frame, or loads them.
    fn keep(&mut self, load: bool) {
        let regs = self.saved();
        if regs.is_empty() {
            return;
        }
        let bytes = 8 * regs.len().next_multiple_of(2) as i32;
        if !load {
            self.move_stack(-bytes);
        }
        for (index, regs) in regs.chunks(2).enumerate() {
            let at = 2 * index as i32;
            self.asm.put(match *regs {
                [first, second] => pair(Width::W64, load, (first, second), SP, at, Index::None),
                _ => {
                    let word = Size::Dw;
                    let op = if load { Transfer::load(word) } else { Transfer::store(word) };
                    transfer_scaled(op, regs[0], SP, at as u32)
                }
            });
        }
        if load {
            self.move_stack(bytes);
        }
    }

    /// The code that functions jump to when something is rare.
    pub(super) fn stubs(&mut self) {
        for stub in std::mem::take(&mut self.stubs) {
            self.asm.bind(stub.label);
            match stub.kind {
                StubKind::Refuel { back, advance } => self.refuel_stub(stub.insn, back, advance),
                StubKind::Trap(code) => self.trap_stub(stub.insn, code),
                StubKind::Misaligned { code, bytes } => {
                    let word = |reg, offset: i32| {
                        transfer_scaled(Transfer::store(Size::W), reg, STATE, offset as u32 / 4)
                    };
                    let asm = &mut self.asm;
                    asm.put(add(Width::W64, AddSub::Sub, SCRATCH, SCRATCH, WINDOW));
                    asm.put(word(SCRATCH, offset::TRAP_ADDR));
                    asm.set(SCRATCH, bytes.into());
                    asm.put(word(SCRATCH, offset::TRAP_LEN));
                    self.trap_stub(stub.insn, code);
                }
            }
        }
    }

    fn trap_stub(&mut self, insn: u32, code: TrapCode) {
        self.asm.set(SCRATCH, insn.into());
        self.asm.set(SCRATCH2, code as u64);
        let trap = self.trap;
        self.asm.jump(trap);
    }

    /// Where traps leave, instruction and code in the scratch registers; gives the offset at which
    /// the fault handler goes on.
    pub(super) fn trap_exit(&mut self) -> u32 {
        let word = |reg, offset: i32| {
            transfer_scaled(Transfer::store(Size::W), reg, STATE, offset as u32 / 4)
        };
        self.asm.bind(self.trap);
        self.asm.put(word(SCRATCH, offset::TRAP_INSN));
        self.asm.put(word(SCRATCH2, offset::TRAP_CODE));
        self.asm.put(adr(SCRATCH3, 0));
        self.asm.put(store_state(SCRATCH3, offset::TRAP_PLACE));
        let at = self.asm.offset();
        self.asm.put(load_state(SCRATCH, offset::EXIT_SP));
        self.asm.put(add_imm(Width::W64, AddSub::Add, SP, SCRATCH, 0, false));
        self.asm.set(RESULT, TRAPPED);
        self.leave();
        at
    }
}
