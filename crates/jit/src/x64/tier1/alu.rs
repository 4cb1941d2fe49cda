//! Arithmetic, moves and byte swaps.

use skep_bpf::insn::{Extend, Imm64, Insn, Reg, Src};
use skep_bpf::op::{AluOp, AtomicOp, Endian, Movsx, Size, SwapBits, Width};
use skep_bpf::program::Pc;

use super::{Compiler, bits};
use crate::flow::RegSet;
use crate::x64::asm::{Alu, Bits, Gpr, Mem, Scale, Shift};
use crate::x64::regs::{SCRATCH, gpr};

/// Whether an instruction leaves the upper halves of what it writes clear, given the registers
/// whose upper halves are clear before it.
pub(super) fn gives_narrow(insn: &Insn<Pc>, narrow: RegSet) -> bool {
    match *insn {
        Insn::Alu { width: Width::W32, .. } | Insn::Neg { width: Width::W32, .. } => true,
        Insn::Alu { op, width: Width::W64, dst, src } => {
            let dst = narrow.has(dst);
            let (src_narrow, imm) = match src {
                Src::Reg(reg) => (narrow.has(reg), None),
                Src::Imm(imm) => (imm >= 0, Some(imm)),
            };
            match op {
                AluOp::Mov => src_narrow,
                AluOp::And => dst || src_narrow,
                AluOp::Or | AluOp::Xor => dst && src_narrow,
                AluOp::Div | AluOp::Mod => dst,
                AluOp::Rsh => dst || imm.is_some_and(|imm| imm & 63 >= 32),
                AluOp::Add
                | AluOp::Sub
                | AluOp::Mul
                | AluOp::Sdiv
                | AluOp::Smod
                | AluOp::Lsh
                | AluOp::Arsh => false,
            }
        }
        Insn::Movsx { op, .. } => op.row().width == Width::W32,
        Insn::Endian { bits, .. } => bits != SwapBits::B64,
        Insn::LoadImm64 { imm: Imm64::Value(value), .. } => u32::try_from(value).is_ok(),
        Insn::Load { size, extend: Extend::Zero, .. } | Insn::LoadAcquire { size, .. } => {
            size != Size::Dw
        }
        Insn::Atomic { op, width, .. } => {
            width == Width::W32 && (op.row().fetch || op == AtomicOp::Cmpxchg)
        }
        _ => false,
    }
}

impl Compiler<'_> {
    /// Sets a register to a number.
    pub(super) fn load_number(&mut self, dst: Reg, value: u64) {
        if value == 0 {
            self.asm.zero(gpr(dst));
        } else {
            self.asm.mov_imm(gpr(dst), value);
        }
    }

    /// Clears the upper half of a register unless it is clear.
    pub(super) fn clear_upper(&mut self, reg: Reg) {
        if !self.narrow.has(reg) {
            self.asm.mov(Bits::B32, gpr(reg), gpr(reg));
        }
    }

    pub(super) fn alu(&mut self, at: usize, op: AluOp, width: Width, dst: Reg, src: Src) {
        let op = match op {
            AluOp::Mov => return self.mov(width, dst, src),
            AluOp::Mul => return self.multiply(width, dst, src),
            AluOp::Div | AluOp::Sdiv | AluOp::Mod | AluOp::Smod => {
                return self.divide(at, op, width, dst, src);
            }
            AluOp::Lsh => return self.shift(Shift::Shl, width, dst, src),
            AluOp::Rsh => return self.shift(Shift::Shr, width, dst, src),
            AluOp::Arsh => return self.shift(Shift::Sar, width, dst, src),
            AluOp::Add => Alu::Add,
            AluOp::Sub => Alu::Sub,
            AluOp::Or => Alu::Or,
            AluOp::And => Alu::And,
            AluOp::Xor => Alu::Xor,
        };
        let (size, to) = (bits(width), gpr(dst));
        match src {
            Src::Reg(src) => self.asm.alu(op, size, to, gpr(src)),
            Src::Imm(0xff) if op == Alu::And => self.asm.movzx(Bits::B8, to, to),
            Src::Imm(0xffff) if op == Alu::And => self.asm.movzx(Bits::B16, to, to),
            // Clears the upper half either way.
            Src::Imm(imm) if op == Alu::And && imm >= 0 => {
                self.asm.alu_imm(op, Bits::B32, to, imm);
            }
            Src::Imm(imm) => self.asm.alu_imm(op, size, to, imm),
        }
    }

    fn mov(&mut self, width: Width, dst: Reg, src: Src) {
        match (width, src) {
            (Width::W64, Src::Reg(src)) if src == dst => {}
            (Width::W32, Src::Reg(src)) if src == dst => self.clear_upper(dst),
            (_, Src::Reg(src)) => self.asm.mov(bits(width), gpr(dst), gpr(src)),
            (Width::W64, Src::Imm(imm)) => self.load_number(dst, i64::from(imm) as u64),
            (Width::W32, Src::Imm(imm)) => self.load_number(dst, (imm as u32).into()),
        }
    }

    fn multiply(&mut self, width: Width, dst: Reg, src: Src) {
        let (size, to) = (bits(width), gpr(dst));
        match src {
            Src::Reg(src) => self.asm.imul(size, to, gpr(src)),
            Src::Imm(0) => self.asm.zero(to),
            Src::Imm(imm) if imm > 0 && (imm as u32).is_power_of_two() => {
                self.shift_by(Shift::Shl, width, dst, imm.trailing_zeros() as u8);
            }
            Src::Imm(imm @ (3 | 5 | 9)) => {
                let scale = match imm {
                    3 => Scale::X2,
                    5 => Scale::X4,
                    _ => Scale::X8,
                };
                self.asm.lea(size, to, Mem::indexed(to, to, scale, 0));
            }
            Src::Imm(imm) => self.asm.imul_imm(size, to, to, imm),
        }
    }

    fn shift(&mut self, op: Shift, width: Width, dst: Reg, src: Src) {
        match src {
            Src::Imm(imm) => {
                let count = imm as u32 & (width.bits() - 1);
                self.shift_by(op, width, dst, count as u8);
            }
            Src::Reg(src) if self.features.bmi2 => {
                self.asm.shiftx(op, bits(width), gpr(dst), gpr(dst), gpr(src));
            }
            Src::Reg(src) => self.shift_by_cl(op, bits(width), gpr(dst), gpr(src)),
        }
    }

    /// Shifts by a number below the width.
    fn shift_by(&mut self, op: Shift, width: Width, dst: Reg, count: u8) {
        match (count, width) {
            (0, Width::W32) => self.clear_upper(dst),
            (0, Width::W64) => {}
            _ => self.asm.shift_imm(op, bits(width), gpr(dst), count),
        }
    }

    fn shift_by_cl(&mut self, op: Shift, size: Bits, dst: Gpr, count: Gpr) {
        if count == Gpr::Rcx {
            self.asm.shift_cl(op, size, dst);
            return;
        }
        self.truncated = None;
        self.asm.mov(Bits::B64, SCRATCH, Gpr::Rcx);
        self.asm.mov(Bits::B64, Gpr::Rcx, count);
        if dst == Gpr::Rcx {
            self.asm.shift_cl(op, size, SCRATCH);
        } else {
            self.asm.shift_cl(op, size, dst);
        }
        self.asm.mov(Bits::B64, Gpr::Rcx, SCRATCH);
    }

    pub(super) fn movsx(&mut self, op: Movsx, dst: Reg, src: Reg) {
        let row = op.row();
        let from = match row.from_bits {
            8 => Bits::B8,
            16 => Bits::B16,
            _ => Bits::B32,
        };
        self.asm.movsx(bits(row.width), from, gpr(dst), gpr(src));
    }

    pub(super) fn endian(&mut self, op: Endian, size: SwapBits, dst: Reg) {
        let to = gpr(dst);
        match (op, size) {
            (Endian::Le, SwapBits::B16) => self.asm.movzx(Bits::B16, to, to),
            (Endian::Le, SwapBits::B32) => self.clear_upper(dst),
            (Endian::Le, SwapBits::B64) => {}
            (Endian::Be | Endian::Bswap, SwapBits::B16) => {
                self.asm.bswap(Bits::B32, to);
                self.asm.shift_imm(Shift::Shr, Bits::B32, to, 16);
            }
            (Endian::Be | Endian::Bswap, SwapBits::B32) => self.asm.bswap(Bits::B32, to),
            (Endian::Be | Endian::Bswap, SwapBits::B64) => self.asm.bswap(Bits::B64, to),
        }
    }
}
