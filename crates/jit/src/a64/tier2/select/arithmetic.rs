//! Arithmetic: shifts, extensions, products and masks as part of the operation that reads them.

use skep_bpf::op::Width;

use super::super::inst::Inst;
use super::{Selector, signed, unsigned};
use crate::a64::encode::{AddSub, Binary, BitMask, Logic, Multiply, Shift, Unary};
use crate::ssa::ir::{Bin, Op, Un, Val};

impl Selector<'_> {
    pub(super) fn binary(&mut self, value: Val, bin: Bin, width: Width, a: Val, b: Val) {
        let plain = |op| Inst::Binary(width, op);
        match bin {
            Bin::Add => self.add(value, width, a, b),
            Bin::Sub => self.subtract(value, width, a, b),
            Bin::And => self.and(value, width, a, b),
            Bin::Or => self.logic(value, Logic::Orr, width, a, b),
            Bin::Xor => self.logic(value, Logic::Eor, width, a, b),
            Bin::Mul => self.push_result(value, Inst::Multiply(width), &[a, b]),
            Bin::MulHigh => self.push_result(value, Inst::MultiplyHigh(width), &[a, b]),
            Bin::Lsh => self.shift(value, (Shift::Lsl, Binary::Lslv), width, a, b),
            Bin::Rsh => self.shift(value, (Shift::Lsr, Binary::Lsrv), width, a, b),
            Bin::Arsh => self.shift(value, (Shift::Asr, Binary::Asrv), width, a, b),
            Bin::Rotl => match self.constant(b) {
                Some(number) => {
                    let left = number as u32 & (width.bits() - 1);
                    let right = (width.bits() - left) & (width.bits() - 1);
                    self.push_result(value, Inst::ShiftImm(width, Shift::Ror, right), &[a]);
                }
                None => self.push_result(value, Inst::RotateLeft(width), &[a, b]),
            },
            Bin::Div => self.push_result(value, plain(Binary::Udiv), &[a, b]),
            Bin::Sdiv => self.push_result(value, plain(Binary::Sdiv), &[a, b]),
            Bin::Mod => self.push_result(value, Inst::Remainder(width, Binary::Udiv), &[a, b]),
            Bin::Smod => self.push_result(value, Inst::Remainder(width, Binary::Sdiv), &[a, b]),
        }
    }

    fn add(&mut self, value: Val, width: Width, a: Val, b: Val) {
        if let Some(number) = self.constant(b) {
            let imm = signed(width, number);
            if imm.unsigned_abs() >> 24 == 0 {
                return self.push_result(value, Inst::AddImm(width, imm), &[a]);
            }
        }
        for (x, y) in [(a, b), (b, a)] {
            if let Some((inner, shift, amount)) = self.shifted(y, width) {
                let inst = Inst::Add(width, AddSub::Add, shift, amount);
                return self.push_result(value, inst, &[x, inner]);
            }
            if let Some((first, second)) = self.product(y, width) {
                let inst = Inst::MultiplyAdd(width, Multiply::Madd);
                return self.push_result(value, inst, &[first, second, x]);
            }
            if let (Width::W64, Some(Op::Unary(Un::Zext, _, inner))) = (width, self.only_here(y)) {
                return self.push_result(value, Inst::AddExtended(AddSub::Add), &[x, inner]);
            }
        }
        self.push_result(value, Inst::Add(width, AddSub::Add, Shift::Lsl, 0), &[a, b]);
    }

    fn subtract(&mut self, value: Val, width: Width, a: Val, b: Val) {
        if let Some(number) = self.constant(b) {
            let imm = signed(width, number);
            if imm.unsigned_abs() >> 24 == 0 {
                return self.push_result(value, Inst::AddImm(width, -imm), &[a]);
            }
        }
        if self.constant(a).is_some_and(|number| unsigned(width, number) == 0) {
            return self.push_result(value, Inst::Negate(width), &[b]);
        }
        if let Some((inner, shift, amount)) = self.shifted(b, width) {
            let inst = Inst::Add(width, AddSub::Sub, shift, amount);
            return self.push_result(value, inst, &[a, inner]);
        }
        if let Some((first, second)) = self.product(b, width) {
            let inst = Inst::MultiplyAdd(width, Multiply::Msub);
            return self.push_result(value, inst, &[first, second, a]);
        }
        if let (Width::W64, Some(Op::Unary(Un::Zext, _, inner))) = (width, self.only_here(b)) {
            return self.push_result(value, Inst::AddExtended(AddSub::Sub), &[a, inner]);
        }
        self.push_result(value, Inst::Add(width, AddSub::Sub, Shift::Lsl, 0), &[a, b]);
    }

    fn and(&mut self, value: Val, width: Width, a: Val, b: Val) {
        // A field: shifted down, and the low bits of that.
        if let Some(mask) = self.constant(b).map(|number| unsigned(width, number))
            && mask != 0
            && mask & mask.wrapping_add(1) == 0
            && let Some(Op::Binary(Bin::Rsh, of, inner, amount)) = self.only_here(a)
            && let Some(amount) = self.constant(amount)
            && (of == width || of == Width::W64)
        {
            let lsb = amount as u32 & (of.bits() - 1);
            let bits = mask.trailing_ones().min(of.bits() - lsb);
            return self.push_result(value, Inst::Extract(of, lsb, bits), &[inner]);
        }
        self.logic(value, Logic::And, width, a, b);
    }

    fn logic(&mut self, value: Val, op: Logic, width: Width, a: Val, b: Val) {
        if op == Logic::Eor && self.constant(b).is_some_and(|number| signed(width, number) == -1) {
            return self.push_result(value, Inst::Not(width), &[a]);
        }
        if let Some(mask) = self.constant(b).and_then(|number| BitMask::new(width, number)) {
            return self.push_result(value, Inst::LogicImm(width, op, mask), &[a]);
        }
        for (x, y) in [(a, b), (b, a)] {
            if let Some((inner, shift, amount)) = self.shifted(y, width) {
                let inst = Inst::Logic(width, op, false, shift, amount);
                return self.push_result(value, inst, &[x, inner]);
            }
            if let Some(Op::Binary(Bin::Xor, of, inner, ones)) = self.only_here(y)
                && of == width
                && self.constant(ones).is_some_and(|number| signed(width, number) == -1)
            {
                let inst = Inst::Logic(width, op, true, Shift::Lsl, 0);
                return self.push_result(value, inst, &[x, inner]);
            }
        }
        self.push_result(value, Inst::Logic(width, op, false, Shift::Lsl, 0), &[a, b]);
    }

    fn shift(
        &mut self,
        value: Val,
        (shift, by_register): (Shift, Binary),
        width: Width,
        a: Val,
        b: Val,
    ) {
        match self.constant(b) {
            Some(number) => {
                let amount = number as u32 & (width.bits() - 1);
                self.push_result(value, Inst::ShiftImm(width, shift, amount), &[a]);
            }
            None => self.push_result(value, Inst::Binary(width, by_register), &[a, b]),
        }
    }

    pub(super) fn unary(&mut self, value: Val, un: Un, width: Width, a: Val) {
        let inst = match un {
            Un::Neg => Inst::Negate(width),
            Un::Zext => Inst::Move(Width::W32),
            Un::Sext8 => Inst::SignExtend(width, 8),
            Un::Sext16 => Inst::SignExtend(width, 16),
            Un::Sext32 => Inst::SignExtend(Width::W64, 32),
            Un::Swap16 => Inst::Swap16,
            Un::Swap => match width {
                Width::W32 => Inst::Unary(Width::W32, Unary::Rev32),
                Width::W64 => Inst::Unary(Width::W64, Unary::Rev64),
            },
            Un::Popcnt => Inst::CountOnes(width),
            Un::Lzcnt => Inst::Unary(width, Unary::Clz),
            Un::Tzcnt => Inst::TrailingZeros(width),
        };
        self.push_result(value, inst, &[a]);
    }
}
