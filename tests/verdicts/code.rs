//! Code that is being made: instructions with indices as targets, and short names for them.

use skep_bpf::insn::{Callee, Extend, HelperId, Imm64, Insn, Mem, Reg, Src};
use skep_bpf::op::{AluOp, Cond, Size, Width};

/// Instructions so far; targets are indices.
#[derive(Clone, Default, Debug)]
pub(super) struct Code {
    pub(super) insns: Vec<Insn<usize>>,
}

impl Code {
    /// Adds an instruction and says where it is.
    pub(super) fn emit(&mut self, insn: Insn<usize>) -> usize {
        self.insns.push(insn);
        self.insns.len() - 1
    }

    /// Where the next instruction will be.
    pub(super) fn here(&self) -> usize {
        self.insns.len()
    }

    /// Makes a jump lead to the next instruction.
    pub(super) fn lands(&mut self, jump: usize) {
        let here = self.here();
        self.leads(jump, here);
    }

    /// Makes a jump or call lead somewhere.
    pub(super) fn leads(&mut self, jump: usize, to: usize) {
        match &mut self.insns[jump] {
            Insn::Jump { target, .. }
            | Insn::Branch { target, .. }
            | Insn::Call { callee: Callee::Local(target) } => *target = to,
            other => unreachable!("{other:?} leads nowhere"),
        }
    }

    /// A 64-bit operation.
    pub(super) fn alu(&mut self, op: AluOp, dst: Reg, src: Src) {
        self.emit(Insn::Alu { op, width: Width::W64, dst, src });
    }

    /// `dst = imm`
    pub(super) fn set(&mut self, dst: Reg, imm: i32) {
        self.alu(AluOp::Mov, dst, Src::Imm(imm));
    }

    /// `dst = src`
    pub(super) fn copy(&mut self, dst: Reg, src: Reg) {
        self.alu(AluOp::Mov, dst, Src::Reg(src));
    }

    /// `dst += imm`
    pub(super) fn add(&mut self, dst: Reg, imm: i32) {
        self.alu(AluOp::Add, dst, Src::Imm(imm));
    }

    /// A load that fills with zeros.
    pub(super) fn load(&mut self, size: Size, dst: Reg, base: Reg, offset: i16) {
        self.emit(Insn::Load { size, extend: Extend::Zero, dst, mem: Mem { base, offset } });
    }

    /// A store.
    pub(super) fn store(&mut self, size: Size, base: Reg, offset: i16, src: Src) {
        self.emit(Insn::Store { size, mem: Mem { base, offset }, src });
    }

    /// A 64-bit comparison whose target is not known yet.
    pub(super) fn branch(&mut self, cond: Cond, dst: Reg, src: Src) -> usize {
        self.emit(Insn::Branch { cond, width: Width::W64, dst, src, target: 0 })
    }

    /// A jump whose target is not known yet.
    pub(super) fn jump(&mut self) -> usize {
        self.emit(Insn::Jump { wide: false, target: 0 })
    }

    /// A call of a helper.
    pub(super) fn helper(&mut self, id: HelperId) {
        self.emit(Insn::Call { callee: Callee::Helper(id) });
    }

    /// The address of a map.
    pub(super) fn map(&mut self, dst: Reg, place: usize) {
        self.emit(Insn::LoadImm64 { dst, imm: Imm64::MapByIdx(place as u32) });
    }

    /// The address of a byte of a map's first value.
    pub(super) fn map_value(&mut self, dst: Reg, place: usize, offset: i32) {
        self.emit(Insn::LoadImm64 {
            dst,
            imm: Imm64::MapValueByIdx { index: place as u32, offset },
        });
    }
}

/// A size of an access.
pub(super) const SIZES: [Size; 4] = [Size::B, Size::H, Size::W, Size::Dw];
