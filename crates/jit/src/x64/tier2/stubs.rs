//! What stands out of line: traps, refuelling, corners of division.

use super::Compiler;
use crate::abi::TrapCode;
use crate::code::Place;
use crate::ssa::ir::Bin;
use crate::x64::asm::{Bits, Cc, Gpr, Label, Unary};
use crate::x64::regs::SCRATCH;

/// Code that is reached seldom and emitted behind the program.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stub {
    label: Label,
    insn: u32,
    kind: StubKind,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum StubKind {
    /// Ends the run.
    Trap(TrapCode),
    /// Ends the run at a misaligned access.
    Misaligned { code: TrapCode, len: u32, address: Gpr },
    /// Asks for fuel and goes on, or traps.
    Refuel { resume: Label },
    /// The quotient is 0, the remainder the dividend.
    DivisionByZero { op: Bin, bits: Bits, resume: Label },
    /// The quotient is the negated dividend, the remainder 0.
    DivisionByMinusOne { op: Bin, bits: Bits, resume: Label },
}

impl Compiler<'_> {
    pub(super) fn stub(&mut self, insn: u32, kind: StubKind) -> Label {
        let label = self.asm.label();
        self.stubs.push(Stub { label, insn, kind });
        label
    }

    /// Where to jump for a trap at an instruction.
    pub(super) fn trap(&mut self, code: TrapCode, insn: u32) -> Label {
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
                StubKind::Misaligned { code, len, address } => {
                    self.asm.mov(Bits::B32, SCRATCH, address);
                    self.asm.mov_imm(Gpr::Rdx, len.into());
                    self.host.trap(&mut self.asm, stub.insn, code);
                }
                StubKind::Refuel { resume } => {
                    self.host.refuel(&mut self.asm);
                    let trap = self.trap(TrapCode::Runtime, stub.insn);
                    self.asm.jcc(Cc::Ne, trap);
                    self.asm.jmp(resume);
                }
                StubKind::DivisionByZero { op, bits, resume } => {
                    match op {
                        Bin::Mod | Bin::Smod => self.asm.mov(bits, Gpr::Rdx, Gpr::Rax),
                        _ => self.asm.zero(Gpr::Rax),
                    }
                    self.asm.jmp(resume);
                }
                StubKind::DivisionByMinusOne { op, bits, resume } => {
                    match op {
                        Bin::Smod => self.asm.zero(Gpr::Rdx),
                        _ => self.asm.unary(Unary::Neg, bits, Gpr::Rax),
                    }
                    self.asm.jmp(resume);
                }
            }
        }
        self.place(Place::NONE);
        self.host.pieces(&mut self.asm, self.source);
    }
}
