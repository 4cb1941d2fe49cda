//! Jumps, and the fuel that they take.

use skep_bpf::insn::{Reg, Src};
use skep_bpf::op::Cond;
use skep_bpf::program::Pc;

use super::Compiler;
use super::stubs::StubKind;
use crate::x64::asm::{Alu, Bits, Cc};
use crate::x64::regs::gpr;

/// A comparison.
#[derive(Clone, Copy, Debug)]
pub(super) struct Branch {
    pub(super) cond: Cond,
    pub(super) bits: Bits,
    pub(super) dst: Reg,
    pub(super) src: Src,
}

/// The machine's condition after a comparison.
pub(super) fn condition(cond: Cond) -> Cc {
    match cond {
        Cond::Eq => Cc::E,
        Cond::Gt => Cc::A,
        Cond::Ge => Cc::Ae,
        Cond::Set | Cond::Ne => Cc::Ne,
        Cond::Sgt => Cc::G,
        Cond::Sge => Cc::Ge,
        Cond::Lt => Cc::B,
        Cond::Le => Cc::Be,
        Cond::Slt => Cc::L,
        Cond::Sle => Cc::Le,
    }
}

impl Compiler<'_> {
    /// Compares; the condition under which the jump is taken.
    pub(super) fn compare(&mut self, branch: Branch) -> Cc {
        let Branch { cond, bits, dst, src } = branch;
        let dst = gpr(dst);
        match (cond, src) {
            (Cond::Set, Src::Reg(src)) => self.asm.test(bits, dst, gpr(src)),
            (Cond::Set, Src::Imm(imm)) => {
                // A positive mask has no upper half to look at.
                let bits = if imm >= 0 { Bits::B32 } else { bits };
                self.asm.test_imm(bits, dst, imm);
            }
            (_, Src::Imm(0)) => self.asm.test(bits, dst, dst),
            (_, Src::Reg(src)) => self.asm.alu(Alu::Cmp, bits, dst, gpr(src)),
            (_, Src::Imm(imm)) => self.asm.alu_imm(Alu::Cmp, bits, dst, imm),
        }
        condition(cond)
    }

    /// Pays before the jump at the end of a block, and asks for fuel if the jump leads backward.
    pub(super) fn pay_for_jump(&mut self, at: usize, block: usize, branch: Option<Branch>) {
        if !self.source.metered {
            return;
        }
        let fuel = self.flow.blocks[block].fuel;
        self.pay(fuel.pay);
        if fuel.check {
            if fuel.pay == 0 {
                self.asm.test(Bits::B64, crate::x64::regs::FUEL, crate::x64::regs::FUEL);
            }
            let resume = self.asm.label();
            let stub = self.stub(at, StubKind::Refuel { resume, debt: 0, branch });
            self.asm.jcc(Cc::S, stub);
            self.asm.bind(resume);
        }
    }

    pub(super) fn jump(&mut self, at: usize, block: usize, target: Pc) {
        self.pay_for_jump(at, block, None);
        if self.flow.block_at(target) != block + 1 {
            let label = self.block_label(target);
            self.asm.jmp(label);
        }
    }

    pub(super) fn branch(&mut self, at: usize, block: usize, branch: Branch, target: Pc) {
        self.pay_for_jump(at, block, Some(branch));
        let cc = self.compare(branch);
        self.branch_on(cc, block, target);
    }

    /// Jumps under a condition at the end of a block that was paid for.
    pub(super) fn branch_on(&mut self, cc: Cc, block: usize, target: Pc) {
        let label = self.block_label(target);
        let next = block + 1;
        let is_reached = |block: usize| self.flow.blocks[block].is_reached;
        if is_reached(self.flow.block_at(target)) {
            if is_reached(next) {
                self.asm.jcc(cc, label);
            } else {
                self.asm.jmp(label);
            }
        }
        let pay_next = self.flow.blocks[block].fuel.pay_next;
        self.pay(pay_next);
    }

    pub(super) fn may_goto(&mut self, at: usize, block: usize, target: Pc) {
        let budget = self.frame.may_goto();
        let (go_on, label) = (self.asm.label(), self.block_label(target));
        self.asm.alu_imm(Alu::Sub, Bits::B32, budget, 1);
        self.asm.jcc(Cc::Ae, go_on);
        // Used up: it stays 0.
        self.asm.store_imm(Bits::B32, budget, 0);
        self.pay_for_jump(at, block, None);
        self.asm.jmp(label);
        self.asm.bind(go_on);
        let pay_next = self.flow.blocks[block].fuel.pay_next;
        self.pay(pay_next);
    }

    pub(super) fn exit(&mut self, block: usize) {
        let pay = self.flow.blocks[block].fuel.pay;
        self.pay(pay);
        self.unwind();
        self.asm.ret();
    }
}
