//! Entries and exits: the stub that enters the program, prologues, epilogues.
//!
//! A native frame holds, from its lowest word: the state pointer, the fuel during calls, the
//! budget of `may_goto`, a word for atomic operations, and above them the preserved registers.

use skep_bpf::insn::{Insn, Reg};

use super::Compiler;
use crate::abi::{MAY_GOTO_LIMIT, offset};
use crate::code::Place;
use crate::flow::RegSet;
use crate::x64::asm::{Alu, Bits, Gpr, Mem};
use crate::x64::regs::{FUEL, STATE, WINDOW, gpr};

/// Where things are in the native frame, in bytes from its lowest word.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Frame {
    /// The preserved registers that are pushed.
    pub(super) saved: RegSet,
    /// The size without those and the return address; 0 if the frame does not even hold the state.
    pub(super) bytes: i32,
    pub(super) fuel: i32,
    pub(super) may_goto: i32,
    pub(super) scratch: i32,
}

impl Frame {
    pub(super) fn state() -> Mem {
        Mem::at(Gpr::Rsp, 0)
    }

    pub(super) fn fuel(self) -> Mem {
        Mem::at(Gpr::Rsp, self.fuel)
    }

    pub(super) fn may_goto(self) -> Mem {
        Mem::at(Gpr::Rsp, self.may_goto)
    }

    pub(super) fn scratch(self) -> Mem {
        Mem::at(Gpr::Rsp, self.scratch)
    }
}

/// The registers that the host's convention preserves and functions may change.
const PRESERVED: [Gpr; 4] = [Gpr::Rbx, Gpr::R13, Gpr::R14, Gpr::R15];

pub(super) fn state_field(state: Gpr, offset: i32) -> Mem {
    Mem::at(state, offset)
}

impl Compiler<'_> {
    /// Whether anything but the first function's straight code can run, so that a trap may leave
    /// preserved registers changed.
    fn keeps_registers(&self) -> bool {
        let mut functions = self.flow.functions.iter();
        functions.any(|function| function.nests || !function.saved.is_empty())
    }

    /// The code of type [`crate::abi::Enter`].
    pub(super) fn enter(&mut self) {
        self.place(Place::NONE);
        let keeps = self.keeps_registers();
        let asm = &mut self.asm;
        asm.endbr64();
        asm.push(Gpr::Rbp);
        asm.push(WINDOW);
        asm.push(Gpr::Rdi);
        asm.mov(Bits::B64, STATE, Gpr::Rdi);
        if keeps {
            for (index, reg) in PRESERVED.into_iter().enumerate() {
                let at = state_field(STATE, offset::EXIT_SAVED + index as i32 * 8);
                asm.mov(Bits::B64, at, reg);
            }
        }
        asm.mov(Bits::B64, state_field(STATE, offset::EXIT_SP), Gpr::Rsp);
        asm.load(Bits::B64, WINDOW, state_field(STATE, offset::WINDOW));
        asm.load(Bits::B64, gpr(Reg::R10), state_field(STATE, offset::FRAME_TOP));
        if self.source.metered {
            asm.load(Bits::B64, FUEL, state_field(STATE, offset::FUEL));
        }
        asm.load(Bits::B64, gpr(Reg::R2), state_field(STATE, offset::ARGS + 8));
        asm.load(Bits::B64, gpr(Reg::R1), state_field(STATE, offset::ARGS));
        if self.source.proof.is_none() {
            let given = RegSet::arguments(2);
            let undefined = RegSet::ARGUMENTS - given;
            self.zero(self.flow.functions[0].live_in & undefined);
        }
        let asm = &mut self.asm;
        asm.call(self.first_entry);
        asm.pop(STATE);
        asm.mov(Bits::B64, state_field(STATE, offset::R0), Gpr::Rax);
        if self.source.metered {
            asm.mov(Bits::B64, state_field(STATE, offset::FUEL), FUEL);
        }
        asm.zero(Gpr::Rax);
        asm.pop(WINDOW);
        asm.pop(Gpr::Rbp);
        asm.ret();
        // The way out after a trap; the state is in the lowest word of the frame.
        asm.bind(self.shared.exit);
        asm.load(Bits::B64, STATE, Frame::state());
        asm.load(Bits::B64, Gpr::Rsp, state_field(STATE, offset::EXIT_SP));
        if keeps {
            for (index, reg) in PRESERVED.into_iter().enumerate() {
                let at = state_field(STATE, offset::EXIT_SAVED + index as i32 * 8);
                asm.load(Bits::B64, reg, at);
            }
        }
        asm.mov_imm(Gpr::Rax, crate::abi::TRAPPED);
        asm.pop(STATE);
        asm.pop(WINDOW);
        asm.pop(Gpr::Rbp);
        asm.ret();
    }

    /// Whether a function's code ever needs the state.
    fn needs_state(&self, index: usize) -> bool {
        let function = self.flow.functions[index];
        let blocks = function.blocks.0 as usize..function.blocks.1 as usize;
        let stops = |insn: &Insn<_>| matches!(insn, Insn::AddrSpaceCast { .. });
        function.calls
            || function.accesses
            || self.flow.blocks[blocks].iter().any(|block| block.fuel.check || !block.is_reached)
            || self.source.insns[function.entry as usize..function.end as usize].iter().any(stops)
    }

    pub(super) fn prologue(&mut self, index: usize) {
        let function = self.flow.functions[index];
        let mut frame = Frame { saved: function.saved, ..Frame::default() };
        if self.needs_state(index) {
            let mut bytes = 8;
            let mut slot = |is_needed: bool| {
                let at = bytes;
                bytes += if is_needed { 8 } else { 0 };
                at
            };
            frame.fuel = slot(self.source.metered && function.calls);
            frame.may_goto = slot(function.may_goto);
            frame.scratch = slot(function.fetches);
            // The return address and the saved registers lie above; C wants multiples of 16.
            let above = 8 + 8 * frame.saved.len() as i32;
            frame.bytes = bytes + (bytes + above) % 16;
        } else if function.may_goto {
            (frame.may_goto, frame.bytes) = (8, 16);
        }
        self.frame = frame;
        for reg in frame.saved.iter() {
            self.asm.push(gpr(reg));
        }
        if frame.bytes > 8 {
            self.asm.alu_imm(Alu::Sub, Bits::B64, Gpr::Rsp, frame.bytes - 8);
        }
        if frame.bytes > 0 {
            self.asm.push(STATE);
        }
        if function.may_goto {
            self.asm.store_imm(Bits::B32, frame.may_goto(), MAY_GOTO_LIMIT as i32);
        }
        self.zero(function.zeroed);
    }

    /// Takes the frame down; the return address is the lowest word then.
    pub(super) fn unwind(&mut self) {
        let frame = self.frame;
        if frame.bytes > 0 {
            self.asm.alu_imm(Alu::Add, Bits::B64, Gpr::Rsp, frame.bytes);
        }
        let mut saved: Vec<Reg> = frame.saved.iter().collect();
        saved.reverse();
        for reg in saved {
            self.asm.pop(gpr(reg));
        }
    }
}
