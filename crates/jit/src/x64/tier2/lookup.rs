//! Lookups of elements of maps that are known, as far as they need more than arithmetic.

use super::emit::Emitter;
use crate::abi::{TrapCode, offset};
use crate::x64::asm::{Bits, Cc, Gpr, Mem};
use crate::x64::host::STATE_WORD;

impl Emitter<'_, '_> {
    /// Calls a function that looks up an element.
    pub(super) fn call_lookup(&mut self, pc: u32, address: u64) {
        self.call_plain(address);
        let trap = self.compiler.trap(TrapCode::Runtime, pc);
        let asm = &mut self.compiler.asm;
        asm.test(Bits::B64, Gpr::Rax, Gpr::Rax);
        asm.jcc(Cc::S, trap);
    }

    /// The number of the processor.
    pub(super) fn processor(&mut self, to: Gpr) {
        let asm = &mut self.compiler.asm;
        asm.load(Bits::B64, to, STATE_WORD);
        asm.load(Bits::B32, to, Mem::at(to, offset::PROCESSOR));
    }
}
