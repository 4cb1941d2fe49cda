//! Jumps: comparison and branch, and the question for fuel on the way of backward jumps.

use skep_bpf::insn::{Reg, Src};
use skep_bpf::op::{Cond, Width};
use skep_bpf::program::Pc;

use super::alu::extended;
use super::{Compiler, StubKind};
use crate::a64::asm::Label;
use crate::a64::encode::{
    AddSub, BitMask, Condition, Gpr, Logic, ZR, add, add_imm, logic, logic_imm,
};
use crate::a64::regs::{FUEL, MAY_GOTO, SCRATCH, gpr};
use crate::flow::Payment;

/// What a branch tests.
#[derive(Clone, Copy)]
enum Test {
    /// The flags.
    Flags(Condition),
    /// Whether a register is zero, or is not.
    Zero { width: Width, nonzero: bool, reg: Gpr },
    /// Whether a bit of a register is set, or is not.
    Bit { nonzero: bool, reg: Gpr, bit: u32 },
}

impl Test {
    fn inverted(self) -> Test {
        match self {
            Test::Flags(condition) => Test::Flags(condition.inverted()),
            Test::Zero { width, nonzero, reg } => Test::Zero { width, nonzero: !nonzero, reg },
            Test::Bit { nonzero, reg, bit } => Test::Bit { nonzero: !nonzero, reg, bit },
        }
    }
}

impl Compiler<'_> {
    pub(super) fn block_label(&self, pc: Pc) -> Label {
        self.blocks.after(self.flow.block_at(pc))
    }

    /// Jumps, if `check` only with fuel.
    pub(super) fn jump(&mut self, target: Pc, check: bool) {
        let target = self.block_label(target);
        if !check {
            return self.asm.jump(target);
        }
        let stub = self.stub(StubKind::Refuel { back: target, advance: 0 });
        self.asm.branch_bit(false, FUEL, SIGN, target);
        self.asm.jump(stub);
    }

    pub(super) fn branch(
        &mut self,
        cond: Cond,
        width: Width,
        dst: Reg,
        src: Src,
        (target, check): (Pc, bool),
    ) {
        let test = match src {
            Src::Reg(src) => self.compare(cond, width, gpr(dst), gpr(src)),
            Src::Imm(imm) => self.compare_immediate(cond, width, gpr(dst), imm),
        };
        self.branch_if(test, target, check);
    }

    fn branch_if(&mut self, test: Test, target: Pc, check: bool) {
        if check {
            let next = self.asm.label();
            self.test(test.inverted(), next);
            self.jump(target, true);
            self.asm.bind(next);
        } else {
            let target = self.block_label(target);
            self.test(test, target);
        }
    }

    fn test(&mut self, test: Test, target: Label) {
        match test {
            Test::Flags(condition) => self.asm.branch(condition, target),
            Test::Zero { width, nonzero, reg } => {
                self.asm.branch_zero(width, nonzero, reg, target);
            }
            Test::Bit { nonzero, reg, bit } => self.asm.branch_bit(nonzero, reg, bit, target),
        }
    }

    fn compare(&mut self, cond: Cond, width: Width, left: Gpr, right: Gpr) -> Test {
        let word = if cond == Cond::Set {
            logic(width, Logic::Ands, ZR, left, right)
        } else {
            add(width, AddSub::Subs, ZR, left, right)
        };
        self.asm.put(word);
        Test::Flags(condition(cond))
    }

    fn compare_immediate(&mut self, cond: Cond, width: Width, left: Gpr, imm: i32) -> Test {
        let value = extended(width, imm);
        match (cond, imm) {
            (Cond::Eq, 0) => return Test::Zero { width, nonzero: false, reg: left },
            (Cond::Ne | Cond::Gt, 0) => return Test::Zero { width, nonzero: true, reg: left },
            (Cond::Slt, 0) => {
                return Test::Bit { nonzero: true, reg: left, bit: width.bits() - 1 };
            }
            (Cond::Sge, 0) => {
                return Test::Bit { nonzero: false, reg: left, bit: width.bits() - 1 };
            }
            (Cond::Set, _) if value.is_power_of_two() => {
                return Test::Bit { nonzero: true, reg: left, bit: value.trailing_zeros() };
            }
            _ => {}
        }
        if cond == Cond::Set {
            match BitMask::new(width, value) {
                Some(mask) => self.asm.put(logic_imm(width, Logic::Ands, ZR, left, mask)),
                None => {
                    self.asm.set(SCRATCH, value);
                    self.asm.put(logic(width, Logic::Ands, ZR, left, SCRATCH));
                }
            }
            return Test::Flags(Condition::Ne);
        }
        // Comparing with a negative number is adding its opposite: all flags are the same, except
        // for 0, which is not negative.
        let op = if imm < 0 { AddSub::Adds } else { AddSub::Subs };
        let size = imm.unsigned_abs();
        match (size >> 12, size & 0xfff) {
            (0, low) => self.asm.put(add_imm(width, op, ZR, left, low, false)),
            (high @ 0..0x1000, 0) => self.asm.put(add_imm(width, op, ZR, left, high, true)),
            _ => {
                self.asm.set(SCRATCH, value);
                self.asm.put(add(width, AddSub::Subs, ZR, left, SCRATCH));
            }
        }
        Test::Flags(condition(cond))
    }

    /// Jumps when the frame's budget is used up, else takes from it. Only the jump is paid for.
    pub(super) fn may_goto(&mut self, target: Pc, fuel: &Payment) {
        let test = Test::Zero { width: Width::W64, nonzero: false, reg: MAY_GOTO };
        if fuel.pay == 0 {
            self.branch_if(test, target, fuel.check);
        } else {
            let next = self.asm.label();
            self.test(test.inverted(), next);
            self.pay(fuel.pay);
            self.jump(target, fuel.check);
            self.asm.bind(next);
        }
        self.asm.put(add_imm(Width::W64, AddSub::Sub, MAY_GOTO, MAY_GOTO, 1, false));
    }
}

/// The sign of 64 bits.
pub(super) const SIGN: u32 = 63;

/// The condition on the flags after a comparison, or after a conjunction for [`Cond::Set`].
const fn condition(cond: Cond) -> Condition {
    match cond {
        Cond::Eq => Condition::Eq,
        Cond::Ne | Cond::Set => Condition::Ne,
        Cond::Gt => Condition::Hi,
        Cond::Ge => Condition::Hs,
        Cond::Lt => Condition::Lo,
        Cond::Le => Condition::Ls,
        Cond::Sgt => Condition::Gt,
        Cond::Sge => Condition::Ge,
        Cond::Slt => Condition::Lt,
        Cond::Sle => Condition::Le,
    }
}
