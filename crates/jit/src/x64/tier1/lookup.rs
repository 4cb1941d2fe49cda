//! Lookups of elements of maps that are known.

use skep_bpf::insn::Reg;
use skep_bpf::op::Size;

use super::Compiler;
use crate::abi::{TrapCode, offset};
use crate::source::{Array, Lookup};
use crate::x64::asm::{Alu, Bits, Cc};
use crate::x64::host::{STATE_WORD, state_field};
use crate::x64::regs::{SCRATCH, STATE, gpr};

impl Compiler<'_> {
    pub(super) fn lookup(&mut self, at: usize, lookup: Lookup) {
        match lookup {
            Lookup::Array(array) => self.element(at, array),
            Lookup::Call { address, object } => {
                self.asm.mov_imm(gpr(Reg::R1), object);
                self.call_plain(address);
                let trap = self.trap(TrapCode::Runtime, at);
                self.asm.test(Bits::B64, gpr(Reg::R0), gpr(Reg::R0));
                self.asm.jcc(Cc::S, trap);
            }
        }
    }

    /// The address of an array's element, or 0.
    fn element(&mut self, at: usize, array: Array) {
        let key = gpr(Reg::R0);
        let from = self.operand_of(at, Reg::R2, 0, Size::W, false);
        self.asm.load_indexed(Bits::B32, key, from);
        self.asm.imul_imm(Bits::B32, SCRATCH, key, array.stride as i32);
        if let Some((_, bytes)) = array.per_cpu {
            self.asm.load(Bits::B64, STATE, STATE_WORD);
            self.asm.load(Bits::B32, STATE, state_field(STATE, offset::PROCESSOR));
            self.asm.imul_imm(Bits::B32, STATE, STATE, bytes as i32);
            self.asm.alu(Alu::Add, Bits::B32, SCRATCH, STATE);
        }
        self.asm.alu_imm(Alu::Add, Bits::B32, SCRATCH, array.start as i32);
        // All ones if the key is below the number of elements, else 0.
        self.asm.alu_imm(Alu::Cmp, Bits::B32, key, array.entries as i32);
        self.asm.alu(Alu::Sbb, Bits::B32, key, key);
        self.asm.alu(Alu::And, Bits::B32, key, SCRATCH);
    }
}
