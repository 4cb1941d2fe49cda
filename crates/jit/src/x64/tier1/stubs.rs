//! What stands out of line: traps and refuelling.

use super::Compiler;
use super::jumps::Branch;
use crate::abi::TrapCode;
use crate::code::Place;
use crate::x64::asm::{Alu, Bits, Cc, Gpr, Label, Mem};
use crate::x64::regs::FUEL;

/// Code that is reached seldom and emitted behind the program.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stub {
    pub(super) label: Label,
    pub(super) insn: u32,
    pub(super) kind: StubKind,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum StubKind {
    /// Ends the run.
    Trap(TrapCode),
    /// Ends the run at a misaligned access of so many bytes at the address in the scratch register.
    Misaligned(TrapCode, u32),
    /// The fuel may be used up: asks for more and goes on, or traps.
    Refuel {
        resume: Label,
        /// What the fuel register does not know of yet.
        debt: u32,
        /// The jump that must be taken for the fuel to matter.
        branch: Option<Branch>,
    },
}

impl Compiler<'_> {
    pub(super) fn stub(&mut self, insn: usize, kind: StubKind) -> Label {
        let label = self.asm.label();
        self.stubs.push(Stub { label, insn: insn as u32, kind });
        label
    }

    /// Where to jump for a trap at an instruction.
    pub(super) fn trap(&mut self, code: TrapCode, insn: usize) -> Label {
        self.stub(insn, StubKind::Trap(code))
    }

    pub(super) fn emit_stubs(&mut self) {
        // Stubs may ask for further ones.
        let mut next = 0;
        while let Some(stub) = self.stubs.get(next).copied() {
            next += 1;
            self.place(stub.insn);
            self.asm.bind(stub.label);
            match stub.kind {
                StubKind::Trap(code) => self.host.trap(&mut self.asm, stub.insn, code),
                StubKind::Misaligned(code, len) => {
                    self.asm.mov_imm(Gpr::Rdx, len.into());
                    self.host.trap(&mut self.asm, stub.insn, code);
                }
                StubKind::Refuel { resume, debt, branch } => {
                    self.emit_refuel(stub.insn as usize, resume, debt, branch);
                }
            }
        }
        self.place(Place::NONE);
        self.host.pieces(&mut self.asm, self.source);
    }

    fn emit_refuel(&mut self, insn: usize, resume: Label, debt: u32, branch: Option<Branch>) {
        if let Some(branch) = branch {
            let cc = self.compare(branch);
            self.asm.jcc(cc.negated(), resume);
        }
        if debt != 0 {
            self.asm.alu_imm(Alu::Sub, Bits::B64, FUEL, debt as i32);
        }
        self.host.refuel(&mut self.asm);
        if debt != 0 {
            // Leaves the flags as they are.
            self.asm.lea(Bits::B64, FUEL, Mem::at(FUEL, debt as i32));
        }
        let trap = self.trap(TrapCode::Runtime, insn);
        self.asm.jcc(Cc::Ne, trap);
        self.asm.jmp(resume);
    }
}
