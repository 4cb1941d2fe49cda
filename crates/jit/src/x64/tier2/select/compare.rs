//! Comparisons, for branches and selections: what sets the flags, and the condition.

use regalloc2::VReg;
use skep_bpf::insn::Extend;
use skep_bpf::op::{Cond, Size, Width};

use super::super::inst::{Flags, Inst};
use super::{Selector, SmallVec, bits, immediate, reuse, size_bits, use_of};
use crate::ssa::ir::{Op, Val};
use crate::x64::asm::Cc;

fn condition(cond: Cond) -> Cc {
    match cond {
        Cond::Eq => Cc::E,
        Cond::Ne | Cond::Set => Cc::Ne,
        Cond::Gt => Cc::A,
        Cond::Ge => Cc::Ae,
        Cond::Lt => Cc::B,
        Cond::Le => Cc::Be,
        Cond::Sgt => Cc::G,
        Cond::Sge => Cc::Ge,
        Cond::Slt => Cc::L,
        Cond::Sle => Cc::Le,
    }
}

fn is_signed(cond: Cond) -> bool {
    matches!(cond, Cond::Sgt | Cond::Sge | Cond::Slt | Cond::Sle)
}

/// The condition after the operands are exchanged.
fn exchanged(cc: Cc) -> Cc {
    match cc {
        Cc::B => Cc::A,
        Cc::A => Cc::B,
        Cc::Ae => Cc::Be,
        Cc::Be => Cc::Ae,
        Cc::L => Cc::G,
        Cc::G => Cc::L,
        Cc::Ge => Cc::Le,
        Cc::Le => Cc::Ge,
        other => other,
    }
}

impl Selector<'_> {
    pub(super) fn select(&mut self, value: Val, cond: Cond, width: Width, values: [Val; 4]) {
        let [a, b, then, other] = values;
        let (test, cc, regs) = self.test(cond, width, a, b);
        let (then, other) = (self.reg(then), self.reg(other));
        let index = 1 + regs.len() + 1;
        let mut operands = SmallVec::new(&[reuse(self.vreg(value), index)]);
        for reg in regs {
            operands.push(use_of(reg));
        }
        operands.push(use_of(then));
        operands.push(use_of(other));
        self.push(Inst::Select(test, cc), operands.as_slice());
    }

    /// What sets the flags for a comparison, the condition, and the registers that it reads.
    pub(super) fn test(
        &mut self,
        cond: Cond,
        width: Width,
        a: Val,
        b: Val,
    ) -> (Flags, Cc, Vec<VReg>) {
        let cc = condition(cond);
        let size = bits(width);
        if let Some(number) = self.constant(b)
            && let Some(tested) = self.test_number((cond, cc, width), a, number)
        {
            return tested;
        }
        if cond == Cond::Set {
            let (a, b) = (self.reg(a), self.reg(b));
            return (Flags::Test(size), cc, vec![a, b]);
        }
        for (x, y, cc) in [(a, b, cc), (b, a, exchanged(cc))] {
            let Some((from, extend, addr, disp)) = self.loaded(y) else { continue };
            // Bytes compare as bytes if both are.
            let narrow =
                from == Size::B && extend == Extend::Zero && !is_signed(cond) && self.is_byte(x);
            if x != y && (size_bits(from) == size || narrow) {
                self.absorb(y);
                let x = self.reg(x);
                let (amode, reg) = self.amode(addr, disp);
                let regs = std::iter::once(x).chain(reg).collect();
                return (Flags::CmpMem(size_bits(from), amode), cc, regs);
            }
        }
        let (a, b) = (self.reg(a), self.reg(b));
        (Flags::Cmp(size), cc, vec![a, b])
    }

    pub(super) fn is_byte(&self, value: Val) -> bool {
        matches!(self.func.op(value), Op::Load { size: Size::B, extend: Extend::Zero, .. })
    }

    pub(super) fn test_number(
        &mut self,
        (cond, cc, width): (Cond, Cc, Width),
        a: Val,
        number: u64,
    ) -> Option<(Flags, Cc, Vec<VReg>)> {
        let size = bits(width);
        let is_set = cond == Cond::Set;
        if let Some((from, extend, addr, disp)) = self.loaded(a) {
            let byte = from == Size::B
                && extend == Extend::Zero
                && !is_signed(cond)
                && number & 0xff == number;
            let whole = size_bits(from) == size;
            let imm = if byte { Some(i32::from(number as i8)) } else { immediate(width, number) };
            if let (true, Some(imm)) = (byte || whole, imm) {
                self.absorb(a);
                let (amode, reg) = self.amode(addr, disp);
                let from = size_bits(from);
                let test = if is_set {
                    Flags::TestMemImm(from, amode, imm)
                } else {
                    Flags::CmpMemImm(from, amode, imm)
                };
                return Some((test, cc, reg.into_iter().collect()));
            }
        }
        let imm = immediate(width, number)?;
        let a = self.reg(a);
        Some(match (is_set, imm) {
            (true, imm) => (Flags::TestImm(size, imm), cc, vec![a]),
            // The flags are those of a comparison with 0.
            (false, 0) => (Flags::Test(size), cc, vec![a, a]),
            (false, imm) => (Flags::CmpImm(size, imm), cc, vec![a]),
        })
    }
}
