//! Loads, stores and atomic operations, alone or in the instruction that reads what they load.

use regalloc2::{Operand, VReg};
use skep_bpf::insn::{Extend, Reg};
use skep_bpf::op::{AtomicOp, Size, Width};

use super::super::inst::{Amode, Base, Inst};
use super::{Selector, SmallVec, bits, late, preg, reuse, size_bits, temporary, use_of};
use crate::abi::TrapCode;
use crate::ssa::ir::{Bin, Op, Un, Val};
use crate::x64::asm::{Alu, Gpr};

impl Selector<'_> {
    /// A load that can take place here instead.
    pub(super) fn loaded(&mut self, value: Val) -> Option<(Size, Extend, Val, i32)> {
        let Some(Op::Load { size, extend, addr, disp }) = self.only_here(value) else {
            return None;
        };
        let own = self.weight(&self.func.op(value));
        let after = self.colours[value.index()] + own;
        (self.colour == after).then_some((size, extend, addr, disp))
    }

    /// The operand of memory, and its register.
    pub(super) fn amode(&mut self, addr: Val, disp: i32) -> (Amode, Option<VReg>) {
        match self.func.op(addr) {
            Op::Const(number) => {
                let at = (number as u32).wrapping_add(disp as u32);
                match i32::try_from(at) {
                    Ok(disp) => (Amode { base: Base::Window, disp }, None),
                    Err(_) => {
                        let temp = self.temp();
                        self.push(Inst::Imm(at.into()), &[Operand::reg_def(temp)]);
                        (Amode { base: Base::Reg, disp: 0 }, Some(temp))
                    }
                }
            }
            Op::Entry(Reg::R10) => (Amode { base: Base::Frame, disp }, None),
            _ => (Amode { base: Base::Reg, disp }, Some(self.vreg(addr))),
        }
    }

    /// Adds an instruction with a memory operand behind its other operands.
    pub(super) fn push_mem(
        &mut self,
        (addr, disp): (Val, i32),
        operands: &[Operand],
        inst: impl FnOnce(Amode) -> Inst,
    ) {
        let (amode, reg) = self.amode(addr, disp);
        let mut all: SmallVec = SmallVec::new(operands);
        if let Some(reg) = reg {
            all.push(use_of(reg));
        }
        self.push(inst(amode), all.as_slice());
    }

    pub(super) fn store(&mut self, size: Size, mem: (Val, i32), value: Val) {
        let bits = size_bits(size);
        if let Some(number) = self.constant(value) {
            let fits = size != Size::Dw || i32::try_from(number as i64).is_ok();
            if fits {
                let imm = match size {
                    Size::B => i32::from(number as i8),
                    Size::H => i32::from(number as i16),
                    Size::W | Size::Dw => number as i32,
                };
                return self.push_mem(mem, &[], |mem| Inst::StoreImm(bits, mem, imm));
            }
        }
        if self.changes_in_place(size, mem, value) {
            return;
        }
        if self.features.movbe
            && size >= Size::W
            && let Some(Op::Unary(Un::Swap, width, inner)) = self.only_here(value)
            && self::bits(width) == bits
        {
            let reg = self.reg(inner);
            return self.push_mem(mem, &[use_of(reg)], |mem| Inst::StoreSwapped(bits, mem));
        }
        // The low bytes are the same without an extension.
        let value = match self.only_here(value) {
            Some(Op::Unary(Un::Zext, _, inner)) if size <= Size::W => inner,
            _ => value,
        };
        let reg = self.reg(value);
        self.push_mem(mem, &[use_of(reg)], |mem| Inst::Store(bits, mem));
    }

    /// Takes in the operation and the load of a value that is put back where it was loaded. Only
    /// with a proof: a fault of the load would look like one of the store.
    fn changes_in_place(&mut self, size: Size, mem: (Val, i32), value: Val) -> bool {
        let Some(Op::Binary(bin, width, a, b)) = self.only_here(value) else { return false };
        let op = match bin {
            Bin::Add => Alu::Add,
            Bin::Sub => Alu::Sub,
            Bin::And => Alu::And,
            Bin::Or => Alu::Or,
            Bin::Xor => Alu::Xor,
            _ => return false,
        };
        let bits = size_bits(size);
        if !self.proved || 8 * size.bytes() > width.bits() {
            return false;
        }
        for (old, other) in [(a, b), (b, a)] {
            let is_same = self
                .loaded(old)
                .is_some_and(|(from, _, addr, disp)| from == size && (addr, disp) == mem);
            if !is_same || old == other || (old == b && op == Alu::Sub) {
                continue;
            }
            let imm = self.constant(other).and_then(|number| match size {
                Size::B => Some(i32::from(number as i8)),
                Size::H => Some(i32::from(number as i16)),
                Size::W => Some(number as i32),
                Size::Dw => i32::try_from(number as i64).ok(),
            });
            self.absorbed[old.index()] = true;
            if let Some(imm) = imm {
                self.push_mem(mem, &[], |mem| Inst::AluImmToMem(op, bits, mem, imm));
            } else {
                let other = self.reg(other);
                self.push_mem(mem, &[use_of(other)], |mem| Inst::AluToMem(op, bits, mem));
            }
            return true;
        }
        false
    }

    pub(super) fn check_aligned(&mut self, (addr, disp): (Val, i32), bytes: u32, code: TrapCode) {
        if bytes > 1 {
            let temp = temporary(self.temp());
            self.push_mem((addr, disp), &[temp], |mem| Inst::CheckAligned(mem, bytes, code));
        }
    }

    pub(super) fn atomic(
        &mut self,
        value: Val,
        (op, width): (AtomicOp, Width),
        mem: (Val, i32),
        (src, expected): (Val, Val),
    ) {
        let size = bits(width);
        self.check_aligned(mem, width.bits() / 8, TrapCode::MisalignedAtomic);
        let src = self.reg(src);
        let dst = self.vreg(value);
        let plain = |op: AtomicOp| match op {
            AtomicOp::Or | AtomicOp::FetchOr => Alu::Or,
            AtomicOp::And | AtomicOp::FetchAnd => Alu::And,
            AtomicOp::Xor | AtomicOp::FetchXor => Alu::Xor,
            _ => Alu::Add,
        };
        match op {
            AtomicOp::Add | AtomicOp::Or | AtomicOp::And | AtomicOp::Xor => {
                self.push_mem(mem, &[use_of(src)], |mem| Inst::LockAlu(plain(op), size, mem));
            }
            AtomicOp::FetchAdd => {
                self.push_mem(mem, &[reuse(dst, 1), use_of(src)], |mem| Inst::Xadd(size, mem));
            }
            AtomicOp::Xchg => {
                self.push_mem(mem, &[reuse(dst, 1), use_of(src)], |mem| Inst::Xchg(size, mem));
            }
            AtomicOp::Cmpxchg => {
                let expected = self.reg(expected);
                let rax = preg(Gpr::Rax);
                let operands = [
                    Operand::reg_fixed_def(dst, rax),
                    Operand::reg_fixed_use(expected, rax),
                    use_of(src),
                ];
                self.push_mem(mem, &operands, |mem| Inst::Cmpxchg(size, mem));
            }
            AtomicOp::FetchOr | AtomicOp::FetchAnd | AtomicOp::FetchXor => {
                let (amode, reg) = self.amode(mem.0, mem.1);
                let temp = temporary(self.temp());
                let mut operands =
                    SmallVec::new(&[Operand::reg_fixed_def(dst, preg(Gpr::Rax)), temp, late(src)]);
                if let Some(reg) = reg {
                    operands.push(late(reg));
                }
                self.push(Inst::FetchLoop(op, size, amode), operands.as_slice());
            }
        }
    }
}
