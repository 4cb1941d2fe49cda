//! Loads and stores: the low half of a register, extended by the access itself, in the window.
//!
//! Distances from `r10` are taken from a register that holds the frame's host address.

use skep_bpf::insn::{Extend, Mem, Reg, Src};
use skep_bpf::op::{Size, Width};

use super::{Compiler, StubKind};
use crate::a64::encode::{
    AddSub, BitMask, Condition, Extension, Gpr, Logic, Transfer, ZR, add_extended, ldar, logic_imm,
    stlr, transfer_displaced, transfer_register,
};
use crate::a64::regs::{FRAME, SCRATCH, SCRATCH2, SCRATCH3, WINDOW, gpr, in_frame};
use crate::abi::TrapCode;
use crate::code::Access;

impl Compiler<'_> {
    pub(super) fn load(&mut self, size: Size, extend: Extend, dst: Reg, mem: Mem) {
        let transfer = match extend {
            Extend::Sign if size != Size::Dw => Transfer::load_signed(size, Width::W64),
            Extend::Sign | Extend::Zero => Transfer::load(size),
        };
        self.transfer(transfer, gpr(dst), mem, false);
    }

    pub(super) fn store(&mut self, size: Size, mem: Mem, src: Src) {
        let value = match src {
            Src::Reg(reg) => gpr(reg),
            Src::Imm(0) => ZR,
            Src::Imm(imm) => {
                // Only the bytes that are stored matter.
                let value = match size {
                    Size::B => u64::from(imm as u8),
                    Size::H => u64::from(imm as u16),
                    Size::W => u64::from(imm as u32),
                    Size::Dw => i64::from(imm) as u64,
                };
                self.asm.set(SCRATCH2, value);
                SCRATCH2
            }
        };
        self.transfer(Transfer::store(size), value, mem, true);
    }

    fn transfer(&mut self, transfer: Transfer, value: Gpr, mem: Mem, write: bool) {
        if mem.base == Reg::R10
            && let Some(word) = transfer_displaced(transfer, value, FRAME, in_frame(mem.offset))
        {
            self.access(mem, transfer.bytes(), write);
            return self.asm.put(word);
        }
        let index = self.index();
        if mem.offset == 0 {
            self.access(mem, transfer.bytes(), write);
            let word = transfer_register(transfer, value, WINDOW, gpr(mem.base), (index, false));
            return self.asm.put(word);
        }
        self.window_address(mem.base);
        let word = transfer_displaced(transfer, value, SCRATCH, mem.offset.into());
        let word = word.unwrap_or_else(|| {
            self.asm.set(SCRATCH3, i64::from(mem.offset) as u64);
            transfer_register(transfer, value, SCRATCH, SCRATCH3, (Extension::Uxtx, false))
        });
        self.access(mem, transfer.bytes(), write);
        self.asm.put(word);
    }

    /// How a guest address becomes an index: its low half, unless a proof may be relied on.
    fn index(&self) -> Extension {
        if self.contained { Extension::Uxtw } else { Extension::Uxtx }
    }

    /// The host address of a guest address, without the offset.
    fn window_address(&mut self, base: Reg) {
        let index = (self.index(), 0);
        self.asm.put(add_extended(Width::W64, AddSub::Add, SCRATCH, WINDOW, gpr(base), index));
    }

    /// Notes that the next instruction accesses memory.
    pub(super) fn access(&mut self, mem: Mem, bytes: u32, write: bool) {
        self.accesses.push(Access {
            offset: self.asm.offset(),
            insn: self.at as u32,
            disp: mem.offset.into(),
            reg: gpr(mem.base).number(),
            len: bytes as u8,
            write: write.into(),
            host: 0,
        });
    }

    /// The host address of an atomic access in the first scratch register; one that is not a
    /// multiple of its size traps.
    pub(super) fn aligned_address(&mut self, mem: Mem, bytes: u32, code: TrapCode) {
        self.window_address(mem.base);
        if mem.offset != 0 {
            self.asm.add_number(Width::W64, SCRATCH, SCRATCH, mem.offset.into(), SCRATCH3);
        }
        // The window starts at a page, so host addresses are aligned as guest addresses are.
        let Some(mask) = BitMask::new(Width::W64, u64::from(bytes) - 1) else { return };
        self.asm.put(logic_imm(Width::W64, Logic::Ands, ZR, SCRATCH, mask));
        let stub = self.stub(StubKind::Misaligned { code, bytes });
        self.asm.branch(Condition::Ne, stub);
    }

    pub(super) fn load_acquire(&mut self, size: Size, dst: Reg, mem: Mem) {
        self.aligned_address(mem, size.bytes(), TrapCode::MisalignedOrdered);
        self.access(mem, size.bytes(), false);
        self.asm.put(ldar(size, gpr(dst), SCRATCH));
    }

    pub(super) fn store_release(&mut self, size: Size, mem: Mem, src: Reg) {
        self.aligned_address(mem, size.bytes(), TrapCode::MisalignedOrdered);
        self.access(mem, size.bytes(), true);
        self.asm.put(stlr(size, gpr(src), SCRATCH));
    }
}
