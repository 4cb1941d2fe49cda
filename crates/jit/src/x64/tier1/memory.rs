//! Loads, stores and atomics: the window's base plus the low half of a register plus an offset.
//!
//! The sum of the low half and the offset may leave the window; there it meets a guard or a page
//! that is never mapped, as the wrapped address would.

use skep_bpf::insn::{Extend, Mem as Operand, Reg, Src};
use skep_bpf::op::{AluOp, AtomicOp, Size, Width};

use super::stubs::StubKind;
use super::{Compiler, bits};
use crate::abi::TrapCode;
use crate::flow::RegSet;
use crate::x64::asm::{Alu, Bits, Cc, Gpr, Indexed, Mem, Scale};
use crate::x64::regs::{SCRATCH, WINDOW, gpr};

pub(super) fn size_bits(size: Size) -> Bits {
    match size {
        Size::B => Bits::B8,
        Size::H => Bits::B16,
        Size::W => Bits::B32,
        Size::Dw => Bits::B64,
    }
}

impl Compiler<'_> {
    /// The machine's form of an operand, with the access noted: the next instruction makes it.
    #[inline(always)]
    pub(super) fn operand(&mut self, at: usize, mem: Operand, size: Size, write: bool) -> Indexed {
        self.operand_of(at, mem.base, mem.offset.into(), size, write)
    }

    /// The same of a register and a distance of less than 64 KiB.
    #[inline(always)]
    pub(super) fn operand_of(
        &mut self,
        at: usize,
        base: Reg,
        disp: i32,
        size: Size,
        write: bool,
    ) -> Indexed {
        let index = self.low_half(base);
        self.access(at, index, disp, size.bytes(), write);
        Indexed { base: WINDOW, index, disp }
    }

    /// A machine register that holds the low half of a register.
    #[inline(always)]
    fn low_half(&mut self, reg: Reg) -> Gpr {
        if self.narrow.has(reg) || !self.contained {
            return gpr(reg);
        }
        if self.truncated != RegSet::of(reg) {
            self.asm.mov(Bits::B32, SCRATCH, gpr(reg));
            self.truncated = RegSet::of(reg);
        }
        SCRATCH
    }

    #[inline(always)]
    pub(super) fn load(&mut self, at: usize, size: Size, extend: Extend, dst: Reg, mem: Operand) {
        let from = self.operand(at, mem, size, false);
        self.load_from(size, extend, gpr(dst), from);
    }

    #[inline(always)]
    pub(super) fn load_from(&mut self, size: Size, extend: Extend, to: Gpr, from: Indexed) {
        let bits = size_bits(size);
        match (size, extend) {
            (Size::B | Size::H, Extend::Zero) => self.asm.movzx_indexed(bits, to, from),
            (Size::W, Extend::Zero) | (Size::Dw, _) => self.asm.load_indexed(bits, to, from),
            (_, Extend::Sign) => self.asm.movsx(Bits::B64, bits, to, Mem::from(from)),
        }
    }

    #[inline(always)]
    pub(super) fn store(&mut self, at: usize, size: Size, mem: Operand, src: Src) {
        let to = self.operand(at, mem, size, true);
        self.store_to(size, to, src);
    }

    #[inline(always)]
    pub(super) fn store_to(&mut self, size: Size, to: Indexed, src: Src) {
        match src {
            Src::Reg(src) => self.asm.store_indexed(size_bits(size), to, gpr(src)),
            Src::Imm(imm) => self.asm.store_imm_indexed(size_bits(size), to, imm),
        }
    }

    /// The operand of an access that must be aligned. The whole address is in the scratch register.
    fn aligned(&mut self, at: usize, mem: Operand, size: Size, trap: TrapCode) -> Mem {
        self.truncated = RegSet::EMPTY;
        self.asm.lea(Bits::B32, SCRATCH, Mem::at(gpr(mem.base), mem.offset.into()));
        if size != Size::B {
            let len = size.bytes();
            let misaligned = self.stub(at, StubKind::Misaligned(trap, len));
            self.asm.test_imm(Bits::B8, SCRATCH, len as i32 - 1);
            self.asm.jcc(Cc::Ne, misaligned);
        }
        Mem::indexed(WINDOW, SCRATCH, Scale::X1, 0)
    }

    pub(super) fn load_acquire(&mut self, at: usize, size: Size, dst: Reg, mem: Operand) {
        // The machine does not reorder loads with later accesses, nor stores with earlier ones.
        let from = self.aligned(at, mem, size, TrapCode::MisalignedOrdered);
        self.access(at, SCRATCH, 0, size.bytes(), false);
        match size {
            Size::B | Size::H => self.asm.movzx(size_bits(size), gpr(dst), from),
            Size::W | Size::Dw => self.asm.load(size_bits(size), gpr(dst), from),
        }
    }

    pub(super) fn store_release(&mut self, at: usize, size: Size, mem: Operand, src: Reg) {
        let to = self.aligned(at, mem, size, TrapCode::MisalignedOrdered);
        self.access(at, SCRATCH, 0, size.bytes(), true);
        self.asm.mov(size_bits(size), to, gpr(src));
    }

    pub(super) fn atomic(&mut self, at: usize, op: AtomicOp, width: Width, mem: Operand, src: Reg) {
        let size = if width == Width::W32 { Size::W } else { Size::Dw };
        let (operand_bits, from) = (bits(width), gpr(src));
        let to = self.aligned(at, mem, size, TrapCode::MisalignedAtomic);
        let alu = match op {
            AtomicOp::FetchOr => return self.fetch(at, Alu::Or, width, src),
            AtomicOp::FetchAnd => return self.fetch(at, Alu::And, width, src),
            AtomicOp::FetchXor => return self.fetch(at, Alu::Xor, width, src),
            AtomicOp::Add => Some(AluOp::Add),
            AtomicOp::Or => Some(AluOp::Or),
            AtomicOp::And => Some(AluOp::And),
            AtomicOp::Xor => Some(AluOp::Xor),
            AtomicOp::FetchAdd | AtomicOp::Xchg | AtomicOp::Cmpxchg => None,
        };
        self.access(at, SCRATCH, 0, size.bytes(), true);
        match (op, alu) {
            (_, Some(AluOp::Add)) => self.asm.lock_alu(Alu::Add, operand_bits, to, from),
            (_, Some(AluOp::Or)) => self.asm.lock_alu(Alu::Or, operand_bits, to, from),
            (_, Some(AluOp::And)) => self.asm.lock_alu(Alu::And, operand_bits, to, from),
            (_, Some(_)) => self.asm.lock_alu(Alu::Xor, operand_bits, to, from),
            (AtomicOp::FetchAdd, None) => self.asm.lock_xadd(operand_bits, to, from),
            (AtomicOp::Xchg, None) => self.asm.xchg(operand_bits, to, from),
            (_, None) => {
                self.asm.lock_cmpxchg(operand_bits, to, from);
                if width == Width::W32 {
                    // Where the exchange takes place the machine leaves the upper half.
                    self.asm.mov(Bits::B32, Gpr::Rax, Gpr::Rax);
                }
            }
        }
    }

    /// An operation that gives the old value and has no instruction: repeats a compare and
    /// exchange until nobody interfered. The address is in the scratch register.
    fn fetch(&mut self, at: usize, op: Alu, width: Width, src: Reg) {
        let (size, from, len) = (bits(width), gpr(src), width.bits() / 8);
        let at_addr = Mem::indexed(WINDOW, SCRATCH, Scale::X1, 0);
        let kept = self.frame.scratch();
        let new = Gpr::R11;
        // Keeps rax: as the operand if it is that, else for afterwards.
        self.asm.mov(Bits::B64, kept, Gpr::Rax);
        self.access(at, SCRATCH, 0, len, true);
        self.asm.load(size, Gpr::Rax, at_addr);
        let again = self.asm.label();
        self.asm.bind(again);
        self.asm.mov(size, new, Gpr::Rax);
        if from == Gpr::Rax {
            self.asm.alu_from(op, size, new, kept);
        } else {
            self.asm.alu(op, size, new, from);
        }
        self.access(at, SCRATCH, 0, len, true);
        self.asm.lock_cmpxchg(size, at_addr, new);
        self.asm.jcc(Cc::Ne, again);
        if from == Gpr::Rax {
            if width == Width::W32 {
                self.asm.mov(Bits::B32, Gpr::Rax, Gpr::Rax);
            }
        } else {
            self.asm.mov(size, from, Gpr::Rax);
            self.asm.load(Bits::B64, Gpr::Rax, kept);
        }
    }
}
