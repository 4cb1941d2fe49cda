//! Accesses to memory: loads and stores with their addressing modes, and atomic operations by an
//! instruction or by a loop.

use regalloc2::Allocation;
use skep_bpf::insn::Reg;
use skep_bpf::op::{AtomicOp, Size, Width};

use super::super::StubKind;
use super::super::inst::Amode;
use super::super::select::Chosen;
use super::{Emitter, gpr};
use crate::a64::encode::{
    self, AddSub, BitMask, Condition, DMB_ISH, Extension, Fetch, Gpr, Logic, Ordering, Select,
    Shift, Transfer, ZR, add, add_extended, cas, fetch, ldxr, logic, logic_imm, logic_shifted, mov,
    select, stxr, transfer_register, x,
};
use crate::a64::regs::{FRAME, SCRATCH, SCRATCH2, SCRATCH3, WINDOW, gpr as guest, in_frame};
use crate::abi::TrapCode;
use crate::code::Access;

/// Whether an exclusive store was done.
const STATUS: Gpr = x(12);

impl Emitter<'_, '_> {
    /// Notes that the next instruction accesses memory.
    pub(super) fn access(&mut self, access: Access, write: bool) {
        let offset = self.compiler.asm.offset();
        self.compiler.accesses.push(Access { offset, write: write.into(), ..access });
    }

    /// A load or store.
    pub(super) fn transfer(
        &mut self,
        chosen: &Chosen,
        transfer: Transfer,
        value: Gpr,
        (amode, alloc): (Amode, Option<&Allocation>),
        write: bool,
    ) {
        let access = described(chosen, amode, alloc, transfer.bytes());
        let base = alloc.map_or(ZR, |alloc| gpr(*alloc));
        let word = match amode {
            Amode::Absolute(addr) => {
                self.compiler.asm.set(SCRATCH, addr.into());
                transfer_register(transfer, value, WINDOW, SCRATCH, (Extension::Uxtw, false))
            }
            Amode::Index => {
                transfer_register(transfer, value, WINDOW, base, (Extension::Uxtw, false))
            }
            Amode::Frame(disp) => self.displaced(transfer, value, FRAME, frame_offset(disp)),
            Amode::Host(disp) => self.displaced(transfer, value, base, disp),
        };
        self.access(access, write);
        self.compiler.asm.put(word);
    }

    fn displaced(&mut self, transfer: Transfer, value: Gpr, base: Gpr, bytes: i32) -> u32 {
        encode::transfer_displaced(transfer, value, base, bytes).unwrap_or_else(|| {
            self.compiler.asm.set(SCRATCH, i64::from(bytes) as u64);
            transfer_register(transfer, value, base, SCRATCH, (Extension::Uxtx, false))
        })
    }

    /// The host address of an atomic access in the first scratch register; one that is not a
    /// multiple of its size traps.
    pub(super) fn aligned_address(
        &mut self,
        chosen: &Chosen,
        (amode, alloc): (Amode, Option<&Allocation>),
        bytes: u32,
        code: TrapCode,
    ) -> Access {
        let base = alloc.map_or(ZR, |alloc| gpr(*alloc));
        let asm = &mut self.compiler.asm;
        match amode {
            Amode::Absolute(addr) => {
                asm.set(SCRATCH, addr.into());
                asm.put(host_address(SCRATCH, SCRATCH));
            }
            Amode::Index => asm.put(host_address(SCRATCH, base)),
            Amode::Frame(disp) => {
                let bytes = frame_offset(disp).into();
                asm.add_number(Width::W64, SCRATCH, FRAME, bytes, SCRATCH2);
            }
            Amode::Host(disp) => {
                asm.add_number(Width::W64, SCRATCH, base, disp.into(), SCRATCH2);
            }
        }
        // The window starts at a page, so host addresses are aligned as guest addresses are.
        if let Some(mask) = BitMask::new(Width::W64, u64::from(bytes) - 1) {
            asm.put(logic_imm(Width::W64, Logic::Ands, ZR, SCRATCH, mask));
            let stub = self.compiler.stub(chosen.pc, StubKind::Misaligned { code, bytes });
            self.compiler.asm.branch(Condition::Ne, stub);
        }
        described(chosen, amode, alloc, bytes)
    }

    pub(super) fn atomic(
        &mut self,
        chosen: &Chosen,
        op: AtomicOp,
        width: Width,
        amode: Amode,
        allocs: &[Allocation],
    ) {
        let reg = |index: usize| gpr(allocs[index]);
        let compares = op == AtomicOp::Cmpxchg;
        let (dst, src) = (reg(0), reg(1));
        let expected = if compares { reg(2) } else { ZR };
        let place = (amode, allocs.get(if compares { 3 } else { 2 }));
        let bytes = width.bits() / 8;
        let access = self.aligned_address(chosen, place, bytes, TrapCode::MisalignedAtomic);
        if self.compiler.features.lse {
            self.atomic_instruction(access, op, width, (dst, src, expected));
        } else {
            self.atomic_loop(access, op, width, (dst, src, expected));
        }
    }

    fn atomic_instruction(
        &mut self,
        access: Access,
        op: AtomicOp,
        width: Width,
        (dst, src, expected): (Gpr, Gpr, Gpr),
    ) {
        let (size, full) = (size(width), Ordering::FULL);
        let old = if op.row().fetch { dst } else { ZR };
        let (op, operand) = match op {
            AtomicOp::Add | AtomicOp::FetchAdd => (Fetch::Ldadd, src),
            AtomicOp::Or | AtomicOp::FetchOr => (Fetch::Ldset, src),
            AtomicOp::Xor | AtomicOp::FetchXor => (Fetch::Ldeor, src),
            AtomicOp::Xchg => (Fetch::Swp, src),
            AtomicOp::And | AtomicOp::FetchAnd => {
                // The instruction clears the bits that are set in its operand.
                let all = (Shift::Lsl, 0);
                let word = logic_shifted(width, Logic::Orr, true, SCRATCH2, ZR, src, all);
                self.compiler.asm.put(word);
                (Fetch::Ldclr, SCRATCH2)
            }
            AtomicOp::Cmpxchg => {
                self.compiler.asm.put(mov(width, SCRATCH2, expected));
                self.access(access, true);
                self.compiler.asm.put(cas(size, full, SCRATCH2, src, SCRATCH));
                return self.compiler.asm.put(mov(width, dst, SCRATCH2));
            }
        };
        self.access(access, true);
        self.compiler.asm.put(fetch(op, size, full, operand, old, SCRATCH));
    }

    fn atomic_loop(
        &mut self,
        access: Access,
        op: AtomicOp,
        width: Width,
        (dst, src, expected): (Gpr, Gpr, Gpr),
    ) {
        let size = size(width);
        let again = self.compiler.asm.label();
        self.compiler.asm.bind(again);
        self.access(access, true);
        let asm = &mut self.compiler.asm;
        asm.put(ldxr(size, true, SCRATCH2, SCRATCH));
        let combined = |op| logic(width, op, SCRATCH3, SCRATCH2, src);
        let new = match op {
            AtomicOp::Xchg => mov(width, SCRATCH3, src),
            AtomicOp::Cmpxchg => {
                // Stored in any case, as memory must be writable in any case.
                asm.put(add(width, AddSub::Subs, ZR, SCRATCH2, expected));
                select(width, Select::Csel, SCRATCH3, src, SCRATCH2, Condition::Eq)
            }
            AtomicOp::Add | AtomicOp::FetchAdd => add(width, AddSub::Add, SCRATCH3, SCRATCH2, src),
            AtomicOp::Or | AtomicOp::FetchOr => combined(Logic::Orr),
            AtomicOp::And | AtomicOp::FetchAnd => combined(Logic::And),
            AtomicOp::Xor | AtomicOp::FetchXor => combined(Logic::Eor),
        };
        asm.put(new);
        self.access(access, true);
        let asm = &mut self.compiler.asm;
        asm.put(stxr(size, true, STATUS, SCRATCH3, SCRATCH));
        asm.branch_zero(Width::W32, true, STATUS, again);
        // The pair alone lets later accesses overtake the store.
        asm.put(DMB_ISH);
        if op.row().fetch {
            asm.put(mov(width, dst, SCRATCH2));
        }
    }
}

const fn size(width: Width) -> Size {
    match width {
        Width::W32 => Size::W,
        Width::W64 => Size::Dw,
    }
}

/// The distance from [`FRAME`] of a distance from `r10`.
fn frame_offset(disp: i32) -> i32 {
    disp.wrapping_add(in_frame(0))
}

pub(super) const fn host_address(to: Gpr, addr: Gpr) -> u32 {
    add_extended(Width::W64, AddSub::Add, to, WINDOW, addr, (Extension::Uxtw, 0))
}

/// An access, but for where it is made and whether it writes.
fn described(chosen: &Chosen, amode: Amode, alloc: Option<&Allocation>, bytes: u32) -> Access {
    let base = alloc.map_or(0, |alloc| gpr(*alloc).number());
    let (reg, disp, host) = match amode {
        Amode::Absolute(addr) => (Access::NO_REGISTER, addr as i32, 0),
        Amode::Frame(disp) => (guest(Reg::R10).number(), disp, 0),
        Amode::Index => (base, 0, 0),
        Amode::Host(disp) => (base, disp, 1),
    };
    Access { offset: 0, insn: chosen.pc, disp, reg, len: bytes as u8, write: 0, host }
}
