//! What stands out of line: traps, refuelling, corners of division, and the pieces shared by all.

use super::Compiler;
use super::emit::Frame;
use crate::abi::{TrapCode, offset};
use crate::code::Place;
use crate::ssa::ir::Bin;
use crate::x64::asm::{Alu, Asm, Bits, Cc, Gpr, Label, Mem, Unary};
use crate::x64::regs::{FUEL, SCRATCH, STATE};

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

/// Pieces that a program has at most once, and whether it does.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shared {
    /// The way out after a trap.
    pub(super) exit: Label,
    trap: Label,
    refuel: Label,
    pub(super) resolve: Label,
    pub(super) load_packet: Label,
    uses_trap: bool,
    uses_refuel: bool,
    pub(super) uses_resolve: bool,
    pub(super) uses_load_packet: bool,
}

impl Shared {
    pub(super) fn new(asm: &mut Asm) -> Shared {
        Shared {
            exit: asm.label(),
            trap: asm.label(),
            refuel: asm.label(),
            resolve: asm.label(),
            load_packet: asm.label(),
            uses_trap: false,
            uses_refuel: false,
            uses_resolve: false,
            uses_load_packet: false,
        }
    }
}

/// The registers that runtime functions may change and slow calls preserve.
const SLOW_SAVED: [Gpr; 7] = [Gpr::Rax, Gpr::Rdi, Gpr::Rsi, Gpr::Rdx, Gpr::Rcx, Gpr::R8, SCRATCH];

fn slow_slot(reg: Gpr) -> Mem {
    let index = SLOW_SAVED.iter().position(|saved| *saved == reg).unwrap_or(0);
    Mem::at(STATE, offset::SLOW_SAVED + index as i32 * 8)
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
                StubKind::Trap(code) => self.emit_trap(stub.insn, code),
                StubKind::Misaligned { code, len, address } => {
                    self.asm.mov(Bits::B32, SCRATCH, address);
                    self.asm.mov_imm(Gpr::Rdx, len.into());
                    self.emit_trap(stub.insn, code);
                }
                StubKind::Refuel { resume } => {
                    self.shared.uses_refuel = true;
                    self.asm.call(self.shared.refuel);
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
        self.emit_shared();
    }

    fn emit_trap(&mut self, insn: u32, code: TrapCode) {
        self.shared.uses_trap = true;
        self.asm.mov_imm(Gpr::Rax, insn.into());
        self.asm.mov_imm(Gpr::Rcx, (code as u32).into());
        self.asm.jmp(self.shared.trap);
    }

    fn emit_shared(&mut self) {
        if self.shared.uses_trap {
            self.emit_shared_trap();
        }
        if self.shared.uses_refuel {
            self.asm.bind(self.shared.refuel);
            self.slow_call(offset::REFUEL, |_| {}, |_| {});
        }
        if self.shared.uses_resolve {
            self.asm.bind(self.shared.resolve);
            let site = self.source.site;
            let arguments = |asm: &mut Asm| {
                asm.mov(Bits::B64, Gpr::Rdi, SCRATCH);
                asm.mov_imm(Gpr::Rsi, site);
            };
            let results = |asm: &mut Asm| asm.mov(Bits::B64, slow_slot(SCRATCH), Gpr::Rax);
            self.slow_call(offset::RESOLVE, arguments, results);
        }
        if self.shared.uses_load_packet {
            self.asm.bind(self.shared.load_packet);
            let arguments = |asm: &mut Asm| {
                // The size is where the caller left it.
                asm.load(Bits::B64, Gpr::Rsi, Mem::at(STATE, offset::SITE));
                asm.mov(Bits::B64, Gpr::Rdi, SCRATCH);
            };
            let results = |asm: &mut Asm| {
                asm.mov(Bits::B64, slow_slot(SCRATCH), Gpr::Rax);
                asm.load(Bits::B64, Gpr::Rax, Mem::at(STATE, offset::R0));
                asm.mov(Bits::B64, slow_slot(Gpr::Rax), Gpr::Rax);
            };
            self.slow_call(offset::LOAD_PACKET, arguments, results);
        }
    }

    /// The instruction is in `rax`, the code in `rcx`, an address in the scratch register, a
    /// length in `rdx`.
    fn emit_shared_trap(&mut self) {
        let asm = &mut self.asm;
        asm.bind(self.shared.trap);
        asm.load(Bits::B64, STATE, Frame::state());
        asm.mov(Bits::B32, Mem::at(STATE, offset::TRAP_INSN), Gpr::Rax);
        asm.mov(Bits::B32, Mem::at(STATE, offset::TRAP_CODE), Gpr::Rcx);
        asm.mov(Bits::B32, Mem::at(STATE, offset::TRAP_ADDR), SCRATCH);
        asm.mov(Bits::B32, Mem::at(STATE, offset::TRAP_LEN), Gpr::Rdx);
        asm.lea_label(Gpr::Rax, self.shared.trap);
        asm.mov(Bits::B64, Mem::at(STATE, offset::TRAP_PLACE), Gpr::Rax);
        asm.jmp(self.shared.exit);
    }

    /// A piece that is called and calls a runtime function; every register but that of the state
    /// is preserved. It returns with the zero flag set unless the function trapped.
    fn slow_call(
        &mut self,
        function: i32,
        arguments: impl FnOnce(&mut Asm),
        results: impl FnOnce(&mut Asm),
    ) {
        let asm = &mut self.asm;
        let state = Mem::at(Gpr::Rsp, 8);
        asm.load(Bits::B64, STATE, state);
        for reg in SLOW_SAVED {
            asm.mov(Bits::B64, slow_slot(reg), reg);
        }
        // In code that is not metered the register of the fuel holds a value.
        asm.mov(Bits::B64, Mem::at(STATE, offset::FUEL), FUEL);
        arguments(asm);
        asm.mov(Bits::B64, Gpr::R9, STATE);
        // The return address of this piece leaves the stack between two multiples of 16.
        asm.alu_imm(Alu::Sub, Bits::B64, Gpr::Rsp, 8);
        asm.call_rm(Mem::at(Gpr::R9, function));
        asm.alu_imm(Alu::Add, Bits::B64, Gpr::Rsp, 8);
        asm.load(Bits::B64, STATE, state);
        results(asm);
        for reg in SLOW_SAVED {
            asm.load(Bits::B64, reg, slow_slot(reg));
        }
        asm.load(Bits::B64, FUEL, Mem::at(STATE, offset::FUEL));
        asm.alu_imm(Alu::Cmp, Bits::B64, Mem::at(STATE, offset::TRAPPED), 0);
        asm.ret();
    }
}
