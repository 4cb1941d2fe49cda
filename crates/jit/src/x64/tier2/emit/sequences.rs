//! Instructions whose form depends on where operands are, and those that take several machine
//! instructions: divisions, atomic operations without an instruction, checks.

use regalloc2::Allocation;
use skep_bpf::op::AtomicOp;

use super::super::inst::{Amode, Base, Flags};
use super::super::select::Chosen;
use super::super::stubs::StubKind;
use super::{Emitter, bytes, gpr};
use crate::ssa::ir::Bin;
use crate::x64::asm::{Alu, Bits, Cc, Gpr, Mem, Rm, Scale, Unary};
use crate::x64::regs::FUEL;

impl Emitter<'_, '_> {
    /// The register or spilled place of an operand.
    pub(super) fn rm(&self, allocation: Allocation) -> Rm {
        self.spill(allocation).map_or_else(|| Rm::Reg(gpr(allocation)), Rm::Mem)
    }

    pub(super) fn alu(&mut self, op: Alu, bits: Bits, dst: Gpr, b: Rm) {
        match b {
            Rm::Reg(b) => self.compiler.asm.alu(op, bits, dst, b),
            Rm::Mem(b) => self.compiler.asm.alu_from(op, bits, dst, b),
        }
    }

    pub(super) fn add(&mut self, bits: Bits, dst: Gpr, a: Gpr, b: Rm) {
        let asm = &mut self.compiler.asm;
        match b {
            _ if dst == a => self.alu(Alu::Add, bits, dst, b),
            Rm::Reg(b) if dst == b => asm.alu(Alu::Add, bits, dst, a),
            Rm::Reg(b) => asm.lea(bits, dst, Mem::indexed(a, b, Scale::X1, 0)),
            Rm::Mem(_) => {
                asm.mov(Bits::B64, dst, a);
                self.alu(Alu::Add, bits, dst, b);
            }
        }
    }

    pub(super) fn add_imm(&mut self, bits: Bits, dst: Gpr, a: Gpr, imm: i32) {
        let asm = &mut self.compiler.asm;
        match imm {
            _ if dst != a => asm.lea(bits, dst, Mem::at(a, imm)),
            // The immediate of a subtraction fits in a byte where that of an addition does not.
            128 => asm.alu_imm(Alu::Sub, bits, dst, -128),
            _ => asm.alu_imm(Alu::Add, bits, dst, imm),
        }
    }

    pub(super) fn test(&mut self, chosen: &Chosen, test: Flags, allocs: &[Allocation]) {
        let reg = |index: usize| gpr(allocs[index]);
        match test {
            Flags::Cmp(bits) => {
                let b = self.rm(allocs[1]);
                self.alu(Alu::Cmp, bits, reg(0), b);
            }
            Flags::CmpImm(bits, imm) => self.compiler.asm.alu_imm(Alu::Cmp, bits, reg(0), imm),
            Flags::Test(bits) => self.compiler.asm.test(bits, reg(0), reg(1)),
            Flags::TestImm(bits, imm) => self.compiler.asm.test_imm(bits, reg(0), imm),
            Flags::CmpMem(bits, amode) => {
                let index = allocs.get(1).map(|alloc| gpr(*alloc));
                let mem = self.mem(chosen, amode, index, bytes(bits), false);
                self.compiler.asm.alu_from(Alu::Cmp, bits, reg(0), mem);
            }
            Flags::CmpMemImm(bits, amode, imm) => {
                let index = allocs.first().map(|alloc| gpr(*alloc));
                let mem = self.mem(chosen, amode, index, bytes(bits), false);
                self.compiler.asm.alu_imm(Alu::Cmp, bits, mem, imm);
            }
            Flags::TestMemImm(bits, amode, imm) => {
                let index = allocs.first().map(|alloc| gpr(*alloc));
                let mem = self.mem(chosen, amode, index, bytes(bits), false);
                self.compiler.asm.test_imm(bits, mem, imm);
            }
        }
    }

    /// The machine divides `rdx:rax` and stops on a divisor of 0 and on the one signed quotient
    /// that does not fit; eBPF defines both.
    pub(super) fn divide(
        &mut self,
        op: Bin,
        bits: Bits,
        (zero, minus_one): (bool, bool),
        divisor: Gpr,
    ) {
        let resume = self.compiler.asm.label();
        if zero {
            let stub = self.compiler.stub(0, StubKind::DivisionByZero { op, bits, resume });
            self.compiler.asm.test(bits, divisor, divisor);
            self.compiler.asm.jcc(Cc::E, stub);
        }
        let signed = matches!(op, Bin::Sdiv | Bin::Smod);
        if signed && minus_one {
            let stub = self.compiler.stub(0, StubKind::DivisionByMinusOne { op, bits, resume });
            self.compiler.asm.alu_imm(Alu::Cmp, bits, divisor, -1);
            self.compiler.asm.jcc(Cc::E, stub);
        }
        let asm = &mut self.compiler.asm;
        if signed {
            asm.sign_to_rdx(bits);
            asm.unary(Unary::Idiv, bits, divisor);
        } else {
            asm.zero(Gpr::Rdx);
            asm.unary(Unary::Div, bits, divisor);
        }
        asm.bind(resume);
    }

    pub(super) fn check_aligned(
        &mut self,
        chosen: &Chosen,
        amode: Amode,
        (len, code): (u32, crate::abi::TrapCode),
        temp: Gpr,
        reg: Option<Gpr>,
    ) {
        let asm = &mut self.compiler.asm;
        match (amode.base, reg) {
            (Base::Window, _) => asm.mov_imm(temp, (amode.disp as u32).into()),
            (Base::Frame, _) => asm.lea(Bits::B32, temp, Mem::at(Gpr::Rbp, amode.disp)),
            (Base::Reg, reg) => {
                let reg = reg.unwrap_or(Gpr::Rax);
                asm.lea(Bits::B32, temp, Mem::at(reg, amode.disp));
            }
        }
        asm.test_imm(Bits::B8, temp, len as i32 - 1);
        let stub = self.compiler.stub(chosen.pc, StubKind::Misaligned { code, len, address: temp });
        self.compiler.asm.jcc(Cc::Ne, stub);
    }

    /// An operation that gives the old value, in `rax`, and has no instruction.
    pub(super) fn fetch_loop(
        &mut self,
        chosen: &Chosen,
        (op, bits, amode): (AtomicOp, Bits, Amode),
        temp: Gpr,
        value: Gpr,
        reg: Option<Gpr>,
    ) {
        let alu = match op {
            AtomicOp::FetchOr => Alu::Or,
            AtomicOp::FetchAnd => Alu::And,
            _ => Alu::Xor,
        };
        let from = self.mem(chosen, amode, reg, bytes(bits), true);
        self.compiler.asm.load(bits, Gpr::Rax, from);
        let again = self.compiler.asm.label();
        self.compiler.asm.bind(again);
        self.compiler.asm.mov(bits, temp, Gpr::Rax);
        self.compiler.asm.alu(alu, bits, temp, value);
        let to = self.mem(chosen, amode, reg, bytes(bits), true);
        self.compiler.asm.lock_cmpxchg(bits, to, temp);
        self.compiler.asm.jcc(Cc::Ne, again);
        if bits == Bits::B32 {
            self.compiler.asm.mov(Bits::B32, Gpr::Rax, Gpr::Rax);
        }
    }

    pub(super) fn charge_and_check(&mut self, pc: u32, count: i32) {
        let resume = self.compiler.asm.label();
        let stub = self.compiler.stub(pc, StubKind::Refuel { resume });
        if count == 0 {
            self.compiler.asm.test(Bits::B64, FUEL, FUEL);
        } else {
            self.compiler.asm.alu_imm(Alu::Sub, Bits::B64, FUEL, count);
        }
        self.compiler.asm.jcc(Cc::S, stub);
        self.compiler.asm.bind(resume);
    }
}
