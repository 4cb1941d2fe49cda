//! `bpf_loop` of a function that is known: a loop that calls it.

use skep_bpf::insn::Reg;
use skep_bpf::program::Pc;

use super::Compiler;
use super::stubs::StubKind;
use crate::flow::RegSet;
use crate::source::MAX_LOOPS;
use crate::x64::asm::{Alu, Bits, Cc, Gpr, Mem};
use crate::x64::regs::{FUEL, SCRATCH, gpr};

/// What Linux returns for flags that are not 0.
const EINVAL: i64 = 22;
/// What Linux returns for too many turns.
const E2BIG: i64 = 7;

impl Compiler<'_> {
    /// The call at an index, up to which everything is paid for.
    pub(super) fn repeat(&mut self, at: usize, entry: Pc) {
        // References lead to the starts of functions.
        let callee = self.flow.function_at(entry).unwrap_or(0);
        let word = |index: i32| Mem::at(Gpr::Rsp, self.frame.turns + 8 * index);
        let (turn, turns, context) = (word(0), word(1), word(2));
        let [invalid, too_big, head, made, done] = [(); 5].map(|()| self.asm.label());
        let (result, flags) = (gpr(Reg::R0), gpr(Reg::R4));
        self.asm.test(Bits::B64, flags, flags);
        self.asm.jcc(Cc::Ne, invalid);
        self.asm.mov(Bits::B32, result, gpr(Reg::R1));
        self.asm.alu_imm(Alu::Cmp, Bits::B32, result, MAX_LOOPS as i32);
        self.asm.jcc(Cc::A, too_big);
        self.asm.test(Bits::B32, result, result);
        self.asm.jcc(Cc::E, done);
        self.asm.mov(Bits::B64, turns, result);
        self.asm.mov(Bits::B64, context, gpr(Reg::R3));
        self.asm.store_imm(Bits::B64, turn, 0);
        self.asm.bind(head);
        if self.source.metered {
            let resume = self.asm.label();
            let stub = self.stub(at, StubKind::Refuel { resume, debt: 0, branch: None });
            self.asm.test(Bits::B64, FUEL, FUEL);
            self.asm.jcc(Cc::S, stub);
            self.asm.bind(resume);
        }
        self.asm.load(Bits::B64, gpr(Reg::R1), turn);
        self.asm.load(Bits::B64, gpr(Reg::R2), context);
        self.zero(RegSet::ARGUMENTS - RegSet::arguments(2));
        self.enter_frame(at);
        self.asm.call(self.first_entry.nth(callee));
        self.leave_frame();
        self.asm.load(Bits::B64, SCRATCH, turn);
        self.asm.alu_imm(Alu::Add, Bits::B64, SCRATCH, 1);
        self.asm.mov(Bits::B64, turn, SCRATCH);
        self.asm.test(Bits::B64, result, result);
        self.asm.jcc(Cc::Ne, made);
        self.asm.alu_from(Alu::Cmp, Bits::B64, SCRATCH, turns);
        self.asm.jcc(Cc::B, head);
        self.asm.bind(made);
        self.asm.mov(Bits::B64, result, SCRATCH);
        self.asm.jmp(done);
        self.asm.bind(invalid);
        self.asm.mov_imm(result, EINVAL.wrapping_neg() as u64);
        self.asm.jmp(done);
        self.asm.bind(too_big);
        self.asm.mov_imm(result, E2BIG.wrapping_neg() as u64);
        self.asm.bind(done);
    }
}
