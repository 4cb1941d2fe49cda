//! The native frame: entering functions and leaving them.
//!
//! A native frame holds, from its lowest word: the state pointer, the fuel during calls, the
//! budget of `may_goto`, a word for atomic operations, three for loops, and above them the preserved
//! registers.

use skep_bpf::insn::Reg;

use super::Compiler;
use crate::abi::MAY_GOTO_LIMIT;
use crate::code::Place;
use crate::flow::{Block, RegSet};
use crate::x64::asm::{Alu, Bits, Gpr, Mem};
use crate::x64::host::Host;
use crate::x64::regs::{STATE, gpr};

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
    /// Three words for loops of `bpf_loop`.
    pub(super) turns: i32,
}

impl Frame {
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
        let program = (self.source, self.flow);
        self.host.enter(&mut self.asm, program, self.first_entry, keeps);
        // Functions that call back nest, so that registers are kept.
        if keeps && self.source.has_callbacks() {
            self.code.callback = Some(self.asm.offset() as u32);
            Host::callback(&mut self.asm);
        }
    }

    /// Whether a function's code ever needs the state.
    fn needs_state(&self, index: usize) -> bool {
        let function = self.flow.functions[index];
        let blocks = function.blocks.0 as usize..function.blocks.1 as usize;
        let stops = |block: &Block| block.fuel.check || !block.is_reached;
        function.calls
            || function.accesses
            || function.casts
            || self.flow.blocks[blocks].iter().any(stops)
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
            let loops = function.repeats;
            frame.turns = slot(loops);
            slot(loops);
            slot(loops);
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
