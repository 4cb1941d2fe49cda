//! Lookups of elements of maps that are known, as far as they need more than arithmetic.

use super::StubKind;
use super::emit::Emitter;
use crate::a64::regs::{RESULT, SCRATCH};
use crate::abi::TrapCode;

impl Emitter<'_, '_> {
    /// Calls a function that looks up an element.
    pub(super) fn call_lookup(&mut self, pc: u32, address: u64) {
        let trap = self.compiler.stub(pc, StubKind::Trap(TrapCode::Runtime));
        let asm = &mut self.compiler.asm;
        asm.set(SCRATCH, address);
        asm.call_c();
        asm.branch_bit(true, RESULT, 63, trap);
    }
}
