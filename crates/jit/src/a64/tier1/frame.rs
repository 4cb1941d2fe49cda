//! The native frame: entering functions, leaving them, and the code that they leave to the end.

use skep_bpf::op::Width;

use super::{Compiler, StubKind};
use crate::a64::encode::{AddSub, BTI_C, FP, Gpr, Indirect, LR, SP, add_imm, indirect};
use crate::a64::regs::{MAY_GOTO, gpr};
use crate::abi::MAY_GOTO_LIMIT;

impl Compiler<'_> {
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
            self.asm.move_stack(-bytes);
        }
        self.asm.move_stacked(load, &regs, 0);
        if load {
            self.asm.move_stack(bytes);
        }
    }

    /// The code that functions jump to when something is rare.
    pub(super) fn stubs(&mut self) {
        for stub in std::mem::take(&mut self.stubs) {
            self.asm.bind(stub.label);
            match stub.kind {
                StubKind::Refuel { back, advance } => self.refuel_stub(stub.insn, back, advance),
                StubKind::Trap(code) => self.asm.trap_stub(self.trap, stub.insn, code),
                StubKind::Misaligned { code, bytes } => {
                    self.asm.misaligned_stub(self.trap, stub.insn, code, bytes);
                }
            }
        }
    }
}
