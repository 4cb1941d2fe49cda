//! What stands out of line: traps, refuelling, and the pieces that all of them share.

use super::Compiler;
use super::frame::state_field;
use super::jumps::Branch;
use crate::abi::{TrapCode, offset};
use crate::code::Place;
use crate::x64::asm::{Alu, Asm, Bits, Gpr, Label, Mem};
use crate::x64::regs::{FUEL, SCRATCH, STATE};

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

/// Pieces that a program has at most once, and whether it does.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shared {
    /// The way out after a trap.
    pub(super) exit: Label,
    trap: Label,
    refuel: Label,
    pub(super) resolve: Label,
    pub(super) load_packet: Label,
    pub(super) uses_refuel: bool,
    pub(super) uses_resolve: bool,
    pub(super) uses_load_packet: bool,
    uses_trap: bool,
}

/// The registers that calls may change and eBPF code does not expect to be changed.
const SLOW_SAVED: [Gpr; 7] = [Gpr::Rax, Gpr::Rdi, Gpr::Rsi, Gpr::Rdx, Gpr::Rcx, Gpr::R8, SCRATCH];

impl Shared {
    pub(super) fn new(asm: &mut Asm) -> Shared {
        Shared {
            exit: asm.label(),
            trap: asm.label(),
            refuel: asm.label(),
            resolve: asm.label(),
            load_packet: asm.label(),
            uses_refuel: false,
            uses_resolve: false,
            uses_load_packet: false,
            uses_trap: false,
        }
    }
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
                StubKind::Trap(code) => self.emit_trap(stub.insn, code),
                StubKind::Misaligned(code, len) => {
                    self.asm.mov_imm(Gpr::Rdx, len.into());
                    self.emit_trap(stub.insn, code);
                }
                StubKind::Refuel { resume, debt, branch } => {
                    self.emit_refuel(stub.insn as usize, resume, debt, branch);
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

    fn emit_refuel(&mut self, insn: usize, resume: Label, debt: u32, branch: Option<Branch>) {
        if let Some(branch) = branch {
            let cc = self.compare(branch);
            self.asm.jcc(cc.negated(), resume);
        }
        self.shared.uses_refuel = true;
        if debt != 0 {
            self.asm.alu_imm(Alu::Sub, Bits::B64, FUEL, debt as i32);
        }
        self.asm.call(self.shared.refuel);
        if debt != 0 {
            // Leaves the flags as they are.
            self.asm.lea(Bits::B64, FUEL, Mem::at(FUEL, debt as i32));
        }
        let trap = self.trap(TrapCode::Runtime, insn);
        self.asm.jcc(crate::x64::asm::Cc::Ne, trap);
        self.asm.jmp(resume);
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
            self.slow_call(
                offset::RESOLVE,
                |asm| {
                    asm.mov(Bits::B64, Gpr::Rdi, SCRATCH);
                    asm.mov_imm(Gpr::Rsi, site);
                },
                |asm| asm.mov(Bits::B64, state_field(STATE, slow_slot(SCRATCH)), Gpr::Rax),
            );
        }
        if self.shared.uses_load_packet {
            self.asm.bind(self.shared.load_packet);
            self.slow_call(
                offset::LOAD_PACKET,
                |asm| {
                    // The size is where the caller left it: see `load_packet`.
                    asm.load(Bits::B64, Gpr::Rsi, state_field(STATE, offset::SITE));
                    asm.mov(Bits::B64, Gpr::Rdi, SCRATCH);
                },
                |asm| {
                    asm.mov(Bits::B64, state_field(STATE, slow_slot(SCRATCH)), Gpr::Rax);
                    asm.load(Bits::B64, Gpr::Rax, state_field(STATE, offset::R0));
                    asm.mov(Bits::B64, state_field(STATE, slow_slot(Gpr::Rax)), Gpr::Rax);
                },
            );
        }
    }

    fn emit_shared_trap(&mut self) {
        let asm = &mut self.asm;
        asm.bind(self.shared.trap);
        asm.load(Bits::B64, STATE, super::frame::Frame::state());
        asm.mov(Bits::B32, state_field(STATE, offset::TRAP_INSN), Gpr::Rax);
        asm.mov(Bits::B32, state_field(STATE, offset::TRAP_CODE), Gpr::Rcx);
        asm.mov(Bits::B32, state_field(STATE, offset::TRAP_ADDR), SCRATCH);
        asm.mov(Bits::B32, state_field(STATE, offset::TRAP_LEN), Gpr::Rdx);
        asm.lea_label(Gpr::Rax, self.shared.trap);
        asm.mov(Bits::B64, state_field(STATE, offset::TRAP_PLACE), Gpr::Rax);
        asm.jmp(self.shared.exit);
    }

    /// A piece that is called and calls a runtime function, with every eBPF register preserved.
    /// It returns with the zero flag set unless the function trapped.
    fn slow_call(
        &mut self,
        function: i32,
        arguments: impl FnOnce(&mut Asm),
        results: impl FnOnce(&mut Asm),
    ) {
        let metered = self.source.metered;
        let asm = &mut self.asm;
        let state = Mem::at(Gpr::Rsp, 8);
        asm.load(Bits::B64, STATE, state);
        for reg in SLOW_SAVED {
            asm.mov(Bits::B64, state_field(STATE, slow_slot(reg)), reg);
        }
        if metered {
            asm.mov(Bits::B64, state_field(STATE, offset::FUEL), FUEL);
        }
        arguments(asm);
        asm.mov(Bits::B64, Gpr::R9, STATE);
        // The return address of this piece leaves the stack between two multiples of 16.
        asm.alu_imm(Alu::Sub, Bits::B64, Gpr::Rsp, 8);
        asm.call_rm(state_field(Gpr::R9, function));
        asm.alu_imm(Alu::Add, Bits::B64, Gpr::Rsp, 8);
        asm.load(Bits::B64, STATE, state);
        results(asm);
        for reg in SLOW_SAVED {
            asm.load(Bits::B64, reg, state_field(STATE, slow_slot(reg)));
        }
        if metered {
            asm.load(Bits::B64, FUEL, state_field(STATE, offset::FUEL));
        }
        asm.alu_imm(Alu::Cmp, Bits::B64, state_field(STATE, offset::TRAPPED), 0);
        asm.ret();
    }
}

/// Where a slow call keeps a register.
fn slow_slot(reg: Gpr) -> i32 {
    let index = SLOW_SAVED.iter().position(|saved| *saved == reg).unwrap_or(0);
    offset::SLOW_SAVED + index as i32 * 8
}
