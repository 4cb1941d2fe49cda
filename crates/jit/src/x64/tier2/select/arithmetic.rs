//! Arithmetic: constants as immediates, loads as memory operands, sums and shifts by `lea`.

use regalloc2::Operand;
use skep_bpf::op::Width;

use super::super::inst::Inst;
use super::{Selector, any_use_of, bits, immediate, late, preg, reuse, size_bits, use_of};
use crate::ssa::ir::{Bin, Op, Un, Val};
use crate::x64::asm::{Alu, Bits, Count, Gpr, Scale, Shift, Unary};

fn scale(amount: u64) -> Option<Scale> {
    Some(match amount {
        1 => Scale::X2,
        2 => Scale::X4,
        3 => Scale::X8,
        _ => return None,
    })
}

impl Selector<'_> {
    /// The shift of a value by a constant that `lea` can do, as index and scale.
    pub(super) fn scaled(&mut self, value: Val, width: Width) -> Option<(Val, Scale)> {
        let Some(Op::Binary(Bin::Lsh, of, index, amount)) = self.only_here(value) else {
            return None;
        };
        let scale = scale(self.constant(amount)?)?;
        // The low half of a 64-bit shift is the 32-bit shift.
        (of == width || width == Width::W32).then_some((index, scale))
    }

    pub(super) fn add(&mut self, value: Val, width: Width, a: Val, b: Val) {
        let size = bits(width);
        let dst = Operand::reg_def(self.vreg(value));
        if let Some(imm) = self.constant(b).and_then(|number| immediate(width, number)) {
            // A sum of three, where nobody else reads the sum of two.
            match self.only_here(a) {
                Some(Op::Binary(Bin::Add, of, x, y))
                    if (of == width || width == Width::W32) && self.constant(y).is_none() =>
                {
                    return self.lea(dst, (size, width), (x, y), imm);
                }
                Some(Op::Binary(Bin::Lsh, ..)) => {
                    if let Some((index, scale)) = self.scaled(a, width) {
                        let index = self.reg(index);
                        let operands = [dst, use_of(index)];
                        return self.push(Inst::LeaIndex(size, scale, imm), &operands);
                    }
                }
                _ => {}
            }
            let a = self.reg(a);
            return self.push(Inst::AddImm(size, imm), &[dst, use_of(a)]);
        }
        for (x, y) in [(a, b), (b, a)] {
            if self.scaled(y, width).is_some() {
                return self.lea(dst, (size, width), (x, y), 0);
            }
        }
        if self.alu_memory(value, Alu::Add, width, a, b) {
            return;
        }
        let (a, b) = (self.reg(a), self.reg(b));
        self.push(Inst::Add(size), &[dst, use_of(a), any_use_of(b)]);
    }

    pub(super) fn lea(
        &mut self,
        dst: Operand,
        (size, width): (Bits, Width),
        (x, y): (Val, Val),
        disp: i32,
    ) {
        let (base, (index, scale)) = match (self.scaled(y, width), self.scaled(x, width)) {
            (Some(scaled), _) => (x, scaled),
            (None, Some(scaled)) => (y, scaled),
            (None, None) => (x, (y, Scale::X1)),
        };
        let (base, index) = (self.reg(base), self.reg(index));
        self.push(Inst::Lea(size, scale, disp), &[dst, use_of(base), use_of(index)]);
    }

    /// Takes in a load of the operation's size; false if there is none.
    pub(super) fn alu_memory(&mut self, value: Val, op: Alu, width: Width, a: Val, b: Val) -> bool {
        let commutes = op != Alu::Sub;
        for (x, y) in [(a, b), (b, a)] {
            if y == a && !commutes {
                break;
            }
            if let Some((size, _, addr, disp)) = self.loaded(y)
                && size_bits(size) == bits(width)
                && x != y
            {
                self.absorb(y);
                let dst = reuse(self.vreg(value), 1);
                let x = self.reg(x);
                let size = bits(width);
                self.push_mem((addr, disp), &[dst, use_of(x)], |mem| Inst::AluMem(op, size, mem));
                return true;
            }
        }
        false
    }

    pub(super) fn binary(&mut self, value: Val, bin: Bin, width: Width, a: Val, b: Val) {
        match bin {
            Bin::Add => self.add(value, width, a, b),
            Bin::Sub => self.alu(value, Alu::Sub, width, a, b),
            Bin::And => self.alu(value, Alu::And, width, a, b),
            Bin::Or => self.alu(value, Alu::Or, width, a, b),
            Bin::Xor => self.alu(value, Alu::Xor, width, a, b),
            Bin::Mul => self.multiply(value, width, a, b),
            Bin::MulHigh => {
                let dst = Operand::reg_fixed_def(self.vreg(value), preg(Gpr::Rdx));
                let (a, b) = (self.reg(a), self.reg(b));
                let a = Operand::reg_fixed_use(a, preg(Gpr::Rax));
                self.push(Inst::MulHigh, &[dst, a, use_of(b)]);
            }
            Bin::Lsh => self.shift(value, Shift::Shl, width, a, b),
            Bin::Rsh => self.shift(value, Shift::Shr, width, a, b),
            Bin::Arsh => self.shift(value, Shift::Sar, width, a, b),
            Bin::Rotl => self.rotate(value, width, a, b),
            Bin::Div | Bin::Sdiv | Bin::Mod | Bin::Smod => self.divide(value, bin, width, a, b),
        }
    }

    pub(super) fn alu(&mut self, value: Val, op: Alu, width: Width, a: Val, b: Val) {
        let size = bits(width);
        if let Some(number) = self.constant(b) {
            if op == Alu::And && matches!(number, 0xff | 0xffff) {
                let from = if number == 0xff { Bits::B8 } else { Bits::B16 };
                let dst = Operand::reg_def(self.vreg(value));
                let a = self.reg(a);
                return self.push(Inst::Movzx(from), &[dst, use_of(a)]);
            }
            if let Some(imm) = immediate(width, number) {
                let dst = reuse(self.vreg(value), 1);
                let a = self.reg(a);
                return self.push(Inst::AluImm(op, size, imm), &[dst, use_of(a)]);
            }
        }
        if self.alu_memory(value, op, width, a, b) {
            return;
        }
        // The operand that nobody else reads gives its register.
        let swap = op != Alu::Sub && self.uses[a.index()] > 1 && self.uses[b.index()] == 1;
        let (a, b) = if swap { (b, a) } else { (a, b) };
        let dst = reuse(self.vreg(value), 1);
        let (a, b) = (self.reg(a), self.reg(b));
        self.push(Inst::Alu(op, size), &[dst, use_of(a), any_use_of(b)]);
    }

    pub(super) fn multiply(&mut self, value: Val, width: Width, a: Val, b: Val) {
        let size = bits(width);
        if let Some(imm) = self.constant(b).and_then(|number| immediate(width, number)) {
            let dst = Operand::reg_def(self.vreg(value));
            let a = self.reg(a);
            return self.push(Inst::ImulImm(size, imm), &[dst, use_of(a)]);
        }
        for (x, y) in [(a, b), (b, a)] {
            if let Some((from, _, addr, disp)) = self.loaded(y)
                && size_bits(from) == size
                && x != y
            {
                self.absorb(y);
                let dst = reuse(self.vreg(value), 1);
                let x = self.reg(x);
                let operands = [dst, use_of(x)];
                return self.push_mem((addr, disp), &operands, |mem| Inst::ImulMem(size, mem));
            }
        }
        let swap = self.uses[a.index()] > 1 && self.uses[b.index()] == 1;
        let (a, b) = if swap { (b, a) } else { (a, b) };
        let dst = reuse(self.vreg(value), 1);
        let (a, b) = (self.reg(a), self.reg(b));
        self.push(Inst::Imul(size), &[dst, use_of(a), any_use_of(b)]);
    }

    pub(super) fn shift(&mut self, value: Val, op: Shift, width: Width, a: Val, b: Val) {
        let size = bits(width);
        if let Some(number) = self.constant(b) {
            let count = (number & u64::from(width.bits() - 1)) as u8;
            let dst = reuse(self.vreg(value), 1);
            let a = self.reg(a);
            return self.push(Inst::ShiftImm(op, size, count), &[dst, use_of(a)]);
        }
        if self.features.bmi2 {
            let dst = Operand::reg_def(self.vreg(value));
            let (a, b) = (self.reg(a), self.reg(b));
            return self.push(Inst::Shiftx(op, size), &[dst, use_of(a), use_of(b)]);
        }
        self.shift_cl(value, op, size, a, b);
    }

    pub(super) fn shift_cl(&mut self, value: Val, op: Shift, size: Bits, a: Val, b: Val) {
        let dst = reuse(self.vreg(value), 1);
        let (a, b) = (self.reg(a), self.reg(b));
        let b = Operand::reg_fixed_use(b, preg(Gpr::Rcx));
        self.push(Inst::ShiftCl(op, size), &[dst, use_of(a), b]);
    }

    pub(super) fn rotate(&mut self, value: Val, width: Width, a: Val, b: Val) {
        let size = bits(width);
        let Some(number) = self.constant(b) else {
            return self.shift_cl(value, Shift::Rol, size, a, b);
        };
        let left = (number & u64::from(width.bits() - 1)) as u8;
        if self.features.bmi2 {
            let right = (width.bits() as u8 - left) & (width.bits() as u8 - 1);
            let dst = Operand::reg_def(self.vreg(value));
            let a = self.reg(a);
            return self.push(Inst::Rorx(size, right), &[dst, use_of(a)]);
        }
        let dst = reuse(self.vreg(value), 1);
        let a = self.reg(a);
        self.push(Inst::ShiftImm(Shift::Rol, size, left), &[dst, use_of(a)]);
    }

    pub(super) fn divide(&mut self, value: Val, op: Bin, width: Width, a: Val, b: Val) {
        let number = self.constant(b).map(|number| match width {
            Width::W32 => u64::from(number as u32),
            Width::W64 => number,
        });
        let minus_one = match width {
            Width::W32 => u64::from(u32::MAX),
            Width::W64 => u64::MAX,
        };
        let inst = Inst::Divide {
            op,
            bits: bits(width),
            may_be_zero: number.is_none_or(|number| number == 0) && !self.is_never_zero(b, width),
            may_be_minus_one: number.is_none_or(|number| number == minus_one),
        };
        let result = if matches!(op, Bin::Div | Bin::Sdiv) { Gpr::Rax } else { Gpr::Rdx };
        let dst = Operand::reg_fixed_def(self.vreg(value), preg(result));
        let (a, b) = (self.reg(a), self.reg(b));
        let a = Operand::reg_fixed_use(a, preg(Gpr::Rax));
        self.push(inst, &[dst, a, late(b)]);
    }

    /// Whether some bit of a value's part of so many bits is always set.
    pub(super) fn is_never_zero(&self, value: Val, width: Width) -> bool {
        match self.func.op(value) {
            Op::Binary(Bin::Or, set, _, bits) => self.constant(bits).is_some_and(|bits| {
                // An operation of 32 bits sets none above, whatever its operand has there.
                let has_all = (set, width) == (Width::W64, Width::W64);
                if has_all { bits != 0 } else { bits as u32 != 0 }
            }),
            _ => false,
        }
    }

    pub(super) fn unary(&mut self, value: Val, un: Un, width: Width, a: Val) {
        let size = bits(width);
        let fresh = Operand::reg_def(self.vreg(value));
        let in_place = reuse(self.vreg(value), 1);
        let count = |op| Inst::Count(op, size);
        let (dst, inst) = match un {
            Un::Zext => {
                // A 32-bit operation on the same operands would be the whole of it, but then the
                // operand is needed as it is.
                (fresh, Inst::Zext)
            }
            Un::Neg => (in_place, Inst::Unary(Unary::Neg, size)),
            Un::Sext8 => (fresh, Inst::Movsx(size, Bits::B8)),
            Un::Sext16 => (fresh, Inst::Movsx(size, Bits::B16)),
            Un::Sext32 => (fresh, Inst::Movsx(Bits::B64, Bits::B32)),
            Un::Swap16 => (in_place, Inst::Swap16),
            Un::Swap => {
                if self.features.movbe
                    && let Some((from, _, addr, disp)) = self.loaded(a)
                    && size_bits(from) == size
                {
                    self.absorb(a);
                    let operands = [fresh];
                    return self
                        .push_mem((addr, disp), &operands, |mem| Inst::LoadSwapped(size, mem));
                }
                (in_place, Inst::Bswap(size))
            }
            Un::Popcnt => (fresh, count(Count::Popcnt)),
            Un::Lzcnt => (fresh, count(Count::Lzcnt)),
            Un::Tzcnt => (fresh, count(Count::Tzcnt)),
        };
        let a = self.reg(a);
        self.push(inst, &[dst, use_of(a)]);
    }
}
