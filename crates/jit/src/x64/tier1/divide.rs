//! Division. The machine divides `rdx:rax` and stops on a divisor of 0 and on the one quotient
//! that does not fit; eBPF defines both.

use skep_bpf::insn::{Reg, Src};
use skep_bpf::op::{AluOp, Width};

use super::{Compiler, bits};
use crate::flow::RegSet;
use crate::x64::asm::{Alu, Bits, Cc, Gpr, Label, Shift, Unary};
use crate::x64::regs::{SCRATCH, gpr};

/// The second scratch register: the state pointer is reloaded where it is needed.
const SECOND: Gpr = Gpr::R11;

impl Compiler<'_> {
    pub(super) fn divide(&mut self, at: usize, op: AluOp, width: Width, dst: Reg, src: Src) {
        let is_signed = matches!(op, AluOp::Sdiv | AluOp::Smod);
        let gives_rest = matches!(op, AluOp::Mod | AluOp::Smod);
        if let Src::Imm(imm) = src
            && (self.divide_simply(is_signed, gives_rest, width, dst, imm)
                || self.divide_by_constant(at, is_signed, gives_rest, width, dst, imm))
        {
            return;
        }
        self.truncated = RegSet::EMPTY;
        // A quotient of small numbers is the same at either width.
        let is_narrow = |reg| self.narrow.has(reg);
        let size = match src {
            Src::Reg(src) if !is_signed && is_narrow(dst) && is_narrow(src) => Bits::B32,
            _ => bits(width),
        };
        let divisor = match src {
            Src::Imm(imm) => {
                self.asm.mov_imm(SECOND, i64::from(imm) as u64);
                SECOND
            }
            Src::Reg(reg) if matches!(gpr(reg), Gpr::Rax | Gpr::Rdx) => {
                self.asm.mov(Bits::B64, SECOND, gpr(reg));
                SECOND
            }
            Src::Reg(reg) => gpr(reg),
        };
        let done = self.asm.label();
        if matches!(src, Src::Reg(_)) {
            self.without_division(is_signed, gives_rest, width, dst, divisor, done);
        }
        let live = self.flow.live_after(at);
        let keeps = |reg: Reg| live.has(reg) && dst != reg;
        let (keeps_rax, keeps_rdx) = (keeps(Reg::R0), keeps(Reg::R3));
        if keeps_rax {
            self.asm.mov(Bits::B64, SCRATCH, Gpr::Rax);
        }
        // Nothing in between accesses guest memory, so the frame may move.
        if keeps_rdx {
            self.asm.push(Gpr::Rdx);
        }
        if gpr(dst) != Gpr::Rax {
            self.asm.mov(size, Gpr::Rax, gpr(dst));
        }
        if is_signed {
            self.asm.sign_to_rdx(size);
            self.asm.unary(Unary::Idiv, size, divisor);
        } else {
            self.divide_unsigned(size, divisor);
        }
        let result = if gives_rest { Gpr::Rdx } else { Gpr::Rax };
        if gpr(dst) != result {
            self.asm.mov(size, gpr(dst), result);
        }
        if keeps_rdx {
            self.asm.pop(Gpr::Rdx);
        }
        if keeps_rax {
            self.asm.mov(Bits::B64, Gpr::Rax, SCRATCH);
        }
        self.asm.bind(done);
    }

    /// Divides `rax`. Many wide numbers are small, and divided much faster as such.
    fn divide_unsigned(&mut self, size: Bits, divisor: Gpr) {
        let (small, done) = (self.asm.label(), self.asm.label());
        if size == Bits::B64 {
            self.asm.mov(Bits::B64, Gpr::Rdx, Gpr::Rax);
            self.asm.alu(Alu::Or, Bits::B64, Gpr::Rdx, divisor);
            self.asm.shift_imm(Shift::Shr, Bits::B64, Gpr::Rdx, 32);
            self.asm.jcc_short(Cc::E, small);
            self.asm.zero(Gpr::Rdx);
            self.asm.unary(Unary::Div, Bits::B64, divisor);
            self.asm.jmp_short(done);
            self.asm.bind(small);
        } else {
            self.asm.zero(Gpr::Rdx);
        }
        // `rdx` is 0 on both ways.
        self.asm.unary(Unary::Div, Bits::B32, divisor);
        self.asm.bind(done);
    }

    /// Divides by a number by multiplying, where that is possible.
    fn divide_by_constant(
        &mut self,
        at: usize,
        is_signed: bool,
        gives_rest: bool,
        width: Width,
        dst: Reg,
        imm: i32,
    ) -> bool {
        // A negative number of 64 bits is a large divisor.
        let is_large = width == Width::W64 && imm < 0;
        !is_signed
            && !is_large
            && self.divide_by_multiplying(at, gives_rest, width, dst, imm as u32)
    }

    /// What a division gives that is none: by 0, and by -1 where the quotient might not fit.
    fn without_division(
        &mut self,
        is_signed: bool,
        gives_rest: bool,
        width: Width,
        dst: Reg,
        divisor: Gpr,
        done: Label,
    ) {
        let (size, to) = (bits(width), gpr(dst));
        let not_zero = self.asm.label();
        self.asm.test(size, divisor, divisor);
        self.asm.jcc_short(Cc::Ne, not_zero);
        match (gives_rest, width) {
            (false, _) => self.asm.zero(to),
            (true, Width::W32) => self.asm.mov(Bits::B32, to, to),
            (true, Width::W64) => {}
        }
        self.asm.jmp_short(done);
        self.asm.bind(not_zero);
        if is_signed {
            let ordinary = self.asm.label();
            self.asm.alu_imm(Alu::Cmp, size, divisor, -1);
            self.asm.jcc_short(Cc::Ne, ordinary);
            if gives_rest {
                self.asm.zero(to);
            } else {
                self.asm.unary(Unary::Neg, size, to);
            }
            self.asm.jmp_short(done);
            self.asm.bind(ordinary);
        }
    }

    /// Divides by a number for which there is a simpler way.
    fn divide_simply(
        &mut self,
        is_signed: bool,
        gives_rest: bool,
        width: Width,
        dst: Reg,
        imm: i32,
    ) -> bool {
        let (size, to) = (bits(width), gpr(dst));
        let is_power = match width {
            Width::W32 => (imm as u32).is_power_of_two(),
            Width::W64 => imm > 0 && imm.count_ones() == 1,
        };
        match (imm, gives_rest) {
            (0, false) => self.asm.zero(to),
            (1, true) | (-1, true) if is_signed || imm == 1 => self.asm.zero(to),
            (0, true) | (1, false) => {
                if width == Width::W32 {
                    self.clear_upper(dst);
                }
            }
            (-1, false) if is_signed => self.asm.unary(Unary::Neg, size, to),
            (_, false) if is_power && !is_signed => {
                self.asm.shift_imm(Shift::Shr, size, to, imm.trailing_zeros() as u8);
            }
            (_, true) if is_power && !is_signed => {
                self.asm.alu_imm(Alu::And, Bits::B32, to, (imm as u32 - 1) as i32);
            }
            _ => return false,
        }
        true
    }
}
