//! Arithmetic, moves and byte swaps.

use skep_bpf::insn::{Extend, Imm64, Insn, Reg, Src};
use skep_bpf::op::{AluOp, AtomicOp, Endian, Movsx, Size, SwapBits, Width};
use skep_bpf::program::Pc;

use super::{Compiler, bits};
use crate::flow::RegSet;
use crate::x64::asm::{Alu, Bits, Gpr, Mem, Scale, Shift};
use crate::x64::regs::{SCRATCH, gpr};

/// Whether an instruction, other than arithmetic of two operands, leaves the upper halves of what
/// it writes clear.
pub(super) fn gives_narrow(insn: &Insn<Pc>) -> bool {
    match *insn {
        Insn::Neg { width, .. } => width == Width::W32,
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

/// When the upper half of a 64-bit operation's result is clear, by number of the operation: a bit
/// for each of four cases. The cases count 1 if the second operand's upper half is clear (of a
/// shift by a number: if it is by 32 or more) and 2 if the first one's is.
const NARROW: [u8; 16] = {
    const SECOND: u8 = 0b1010;
    const FIRST: u8 = 0b1100;
    let mut table = [0; 16];
    table[AluOp::Mov as usize] = SECOND;
    table[AluOp::And as usize] = FIRST | SECOND;
    table[AluOp::Or as usize] = FIRST & SECOND;
    table[AluOp::Xor as usize] = FIRST & SECOND;
    table[AluOp::Div as usize] = FIRST;
    table[AluOp::Mod as usize] = FIRST;
    table[AluOp::Rsh as usize] = FIRST | SECOND;
    table
};

/// [`gives_narrow`] of arithmetic, given the registers whose upper halves are clear before it;
/// without branches on what it is.
#[inline]
pub(super) fn result_is_narrow(
    op: AluOp,
    width: Width,
    dst: Reg,
    src: Src,
    narrow: RegSet,
) -> bool {
    let is_shift = op == AluOp::Rsh;
    let second = match src {
        Src::Reg(reg) => narrow.has(reg) & !is_shift,
        Src::Imm(imm) => {
            if is_shift {
                imm & 32 != 0
            } else {
                imm >= 0
            }
        }
    };
    let case = u8::from(narrow.has(dst)) << 1 | u8::from(second);
    (width == Width::W32) | (NARROW[op as usize & 15] >> case & 1 != 0)
}

/// The machine's operation for those of eBPF that it has as they are, by number.
const PLAIN: [Option<Alu>; 16] = {
    let mut table = [None; 16];
    table[AluOp::Add as usize] = Some(Alu::Add);
    table[AluOp::Sub as usize] = Some(Alu::Sub);
    table[AluOp::Or as usize] = Some(Alu::Or);
    table[AluOp::And as usize] = Some(Alu::And);
    table[AluOp::Xor as usize] = Some(Alu::Xor);
    table
};

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

    #[inline(always)]
    pub(super) fn alu(&mut self, at: usize, op: AluOp, width: Width, dst: Reg, src: Src) {
        if op == AluOp::Mov {
            return self.mov(width, dst, src);
        }
        let Some(op) = PLAIN[op as usize & 15] else {
            return self.alu_else(at, op, width, dst, src);
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

    /// Arithmetic for which the machine has no single instruction of the same form.
    #[inline(never)]
    fn alu_else(&mut self, at: usize, op: AluOp, width: Width, dst: Reg, src: Src) {
        match op {
            AluOp::Mul => self.multiply(width, dst, src),
            AluOp::Div | AluOp::Sdiv | AluOp::Mod | AluOp::Smod => {
                self.divide(at, op, width, dst, src);
            }
            AluOp::Lsh => self.shift(Shift::Shl, width, dst, src),
            AluOp::Rsh => self.shift(Shift::Shr, width, dst, src),
            AluOp::Arsh => self.shift(Shift::Sar, width, dst, src),
            // What `alu` knows.
            AluOp::Mov | AluOp::Add | AluOp::Sub | AluOp::Or | AluOp::And | AluOp::Xor => {}
        }
    }

    #[inline(always)]
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
        self.truncated = RegSet::EMPTY;
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
