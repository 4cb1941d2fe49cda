//! Arithmetic: one instruction where the machine has it, which agrees with BPF on division by
//! zero and on shift amounts.

use skep_bpf::insn::Src;
use skep_bpf::op::{AluOp, Endian, Movsx, SwapBits, Width};

use super::Compiler;
use crate::a64::encode::{
    AddSub, Binary, BitMask, Gpr, Logic, Multiply, Shift, Unary, ZR, add, binary, logic, logic_imm,
    mov, multiply, sbfx, shift_imm, ubfx, unary,
};
use crate::a64::regs::{SCRATCH, SCRATCH2, gpr};

impl Compiler<'_> {
    pub(super) fn alu(&mut self, op: AluOp, width: Width, dst: Gpr, src: Src) {
        match src {
            Src::Reg(src) => self.alu_register(op, width, dst, gpr(src)),
            Src::Imm(imm) => self.alu_immediate(op, width, dst, imm),
        }
    }

    fn alu_register(&mut self, op: AluOp, width: Width, dst: Gpr, src: Gpr) {
        let asm = &mut self.asm;
        match op {
            AluOp::Add => asm.put(add(width, AddSub::Add, dst, dst, src)),
            AluOp::Sub => asm.put(add(width, AddSub::Sub, dst, dst, src)),
            AluOp::Mul => asm.put(multiply(width, Multiply::Madd, dst, dst, src, ZR)),
            AluOp::Div => asm.put(binary(width, Binary::Udiv, dst, dst, src)),
            AluOp::Sdiv => asm.put(binary(width, Binary::Sdiv, dst, dst, src)),
            AluOp::Mod => self.remainder(Binary::Udiv, width, dst, src),
            AluOp::Smod => self.remainder(Binary::Sdiv, width, dst, src),
            AluOp::Or => asm.put(logic(width, Logic::Orr, dst, dst, src)),
            AluOp::And => asm.put(logic(width, Logic::And, dst, dst, src)),
            AluOp::Xor => asm.put(logic(width, Logic::Eor, dst, dst, src)),
            AluOp::Lsh => asm.put(binary(width, Binary::Lslv, dst, dst, src)),
            AluOp::Rsh => asm.put(binary(width, Binary::Lsrv, dst, dst, src)),
            AluOp::Arsh => asm.put(binary(width, Binary::Asrv, dst, dst, src)),
            AluOp::Mov if width == Width::W64 && dst == src => {}
            AluOp::Mov => asm.put(mov(width, dst, src)),
        }
    }

    /// The dividend less quotient times divisor; the quotient by zero is 0.
    fn remainder(&mut self, division: Binary, width: Width, dst: Gpr, src: Gpr) {
        self.asm.put(binary(width, division, SCRATCH2, dst, src));
        self.asm.put(multiply(width, Multiply::Msub, dst, SCRATCH2, src, dst));
    }

    fn alu_immediate(&mut self, op: AluOp, width: Width, dst: Gpr, imm: i32) {
        let amount = imm as u32 % width.bits();
        match op {
            AluOp::Add => self.asm.add_number(width, dst, dst, imm.into(), SCRATCH),
            AluOp::Sub => self.asm.add_number(width, dst, dst, -i64::from(imm), SCRATCH),
            AluOp::Mov => self.asm.set(dst, extended(width, imm)),
            AluOp::Lsh => self.shift(width, Shift::Lsl, dst, amount),
            AluOp::Rsh => self.shift(width, Shift::Lsr, dst, amount),
            AluOp::Arsh => self.shift(width, Shift::Asr, dst, amount),
            AluOp::Or => self.logic_immediate(width, Logic::Orr, dst, extended(width, imm)),
            AluOp::And => self.logic_immediate(width, Logic::And, dst, extended(width, imm)),
            AluOp::Xor => self.logic_immediate(width, Logic::Eor, dst, extended(width, imm)),
            AluOp::Div | AluOp::Mod | AluOp::Mul if extended(width, imm).is_power_of_two() => {
                let value = extended(width, imm);
                match op {
                    AluOp::Mul => self.shift(width, Shift::Lsl, dst, value.trailing_zeros()),
                    AluOp::Div => self.shift(width, Shift::Lsr, dst, value.trailing_zeros()),
                    _ => self.logic_immediate(width, Logic::And, dst, value - 1),
                }
            }
            AluOp::Mul | AluOp::Div | AluOp::Sdiv | AluOp::Mod | AluOp::Smod => {
                self.asm.set(SCRATCH, extended(width, imm));
                self.alu_register(op, width, dst, SCRATCH);
            }
        }
    }

    fn shift(&mut self, width: Width, shift: Shift, dst: Gpr, amount: u32) {
        // A shift by 0 still clears the upper half of a 32-bit result.
        if amount != 0 || width == Width::W32 {
            self.asm.put(shift_imm(width, shift, dst, dst, amount));
        }
    }

    fn logic_immediate(&mut self, width: Width, op: Logic, dst: Gpr, value: u64) {
        match BitMask::new(width, value) {
            Some(mask) => self.asm.put(logic_imm(width, op, dst, dst, mask)),
            None => {
                let operand = if value == 0 { ZR } else { SCRATCH };
                if value != 0 {
                    self.asm.set(SCRATCH, value);
                }
                self.asm.put(logic(width, op, dst, dst, operand));
            }
        }
    }

    pub(super) fn negate(&mut self, width: Width, dst: Gpr) {
        self.asm.put(add(width, AddSub::Sub, dst, ZR, dst));
    }

    pub(super) fn sign_extend(&mut self, op: Movsx, dst: Gpr, src: Gpr) {
        let row = op.row();
        self.asm.put(sbfx(row.width, dst, src, 0, row.from_bits.into()));
    }

    /// The guest is little endian, as the machine is.
    pub(super) fn swap_bytes(&mut self, op: Endian, bits: SwapBits, dst: Gpr) {
        let asm = &mut self.asm;
        match (op, bits) {
            (Endian::Le, SwapBits::B16) => asm.put(ubfx(Width::W32, dst, dst, 0, 16)),
            (Endian::Le, SwapBits::B32) => asm.put(mov(Width::W32, dst, dst)),
            (Endian::Le, SwapBits::B64) => {}
            (Endian::Be | Endian::Bswap, SwapBits::B16) => {
                asm.put(unary(Width::W32, Unary::Rev16, dst, dst));
                asm.put(ubfx(Width::W32, dst, dst, 0, 16));
            }
            (Endian::Be | Endian::Bswap, SwapBits::B32) => {
                asm.put(unary(Width::W32, Unary::Rev32, dst, dst));
            }
            (Endian::Be | Endian::Bswap, SwapBits::B64) => {
                asm.put(unary(Width::W64, Unary::Rev64, dst, dst));
            }
        }
    }
}

/// An immediate as an operation of a width takes it.
pub(super) const fn extended(width: Width, imm: i32) -> u64 {
    match width {
        Width::W32 => imm as u32 as u64,
        Width::W64 => imm as i64 as u64,
    }
}
