//! Atomic read-modify-write operations: one instruction with FEAT_LSE, else a loop of exclusive
//! accesses. All are ordered with everything around them, as the interpreters have it.

use skep_bpf::insn::{Mem, Reg};
use skep_bpf::op::{AtomicOp, Size, Width};

use super::Compiler;
use crate::a64::encode::{
    AddSub, Condition, DMB_ISH, Fetch, Gpr, Logic, Ordering, Select, Shift, ZR, add, cas, fetch,
    ldxr, logic, logic_shifted, mov, select, stxr, x,
};
use crate::a64::regs::{SCRATCH, SCRATCH2, SCRATCH3, gpr};
use crate::abi::TrapCode;

/// Whether an exclusive store was done.
const STATUS: Gpr = x(12);

const fn size(width: Width) -> Size {
    match width {
        Width::W32 => Size::W,
        Width::W64 => Size::Dw,
    }
}

impl Compiler<'_> {
    pub(super) fn atomic(&mut self, op: AtomicOp, width: Width, mem: Mem, src: Reg) {
        let bytes = width.bits() / 8;
        self.aligned_address(mem, bytes, TrapCode::MisalignedAtomic);
        if self.features.lse {
            self.atomic_instruction(op, width, mem, gpr(src));
        } else {
            self.atomic_loop(op, width, mem, gpr(src));
        }
    }

    fn atomic_instruction(&mut self, op: AtomicOp, width: Width, mem: Mem, src: Gpr) {
        let old = if op.row().fetch { src } else { ZR };
        let (op, operand) = match op {
            AtomicOp::Add | AtomicOp::FetchAdd => (Fetch::Ldadd, src),
            AtomicOp::Or | AtomicOp::FetchOr => (Fetch::Ldset, src),
            AtomicOp::Xor | AtomicOp::FetchXor => (Fetch::Ldeor, src),
            AtomicOp::Xchg => (Fetch::Swp, src),
            AtomicOp::And | AtomicOp::FetchAnd => {
                // The instruction clears the bits that are set in its operand.
                let all = (Shift::Lsl, 0);
                self.asm.put(logic_shifted(width, Logic::Orr, true, SCRATCH2, ZR, src, all));
                (Fetch::Ldclr, SCRATCH2)
            }
            AtomicOp::Cmpxchg => {
                let r0 = gpr(Reg::R0);
                self.asm.put(mov(width, SCRATCH2, r0));
                self.access(mem, width.bits() / 8, true);
                self.asm.put(cas(size(width), Ordering::FULL, SCRATCH2, src, SCRATCH));
                return self.asm.put(mov(width, r0, SCRATCH2));
            }
        };
        self.access(mem, width.bits() / 8, true);
        self.asm.put(fetch(op, size(width), Ordering::FULL, operand, old, SCRATCH));
    }

    fn atomic_loop(&mut self, op: AtomicOp, width: Width, mem: Mem, src: Gpr) {
        let (size, bytes, r0) = (size(width), width.bits() / 8, gpr(Reg::R0));
        let again = self.asm.label();
        self.asm.bind(again);
        self.access(mem, bytes, true);
        self.asm.put(ldxr(size, true, SCRATCH2, SCRATCH));
        let new = match op {
            AtomicOp::Xchg => src,
            AtomicOp::Cmpxchg => {
                // Stored in any case, as memory must be writable in any case.
                self.asm.put(add(width, AddSub::Subs, ZR, SCRATCH2, r0));
                self.asm.put(select(width, Select::Csel, SCRATCH3, src, SCRATCH2, Condition::Eq));
                SCRATCH3
            }
            AtomicOp::Add | AtomicOp::FetchAdd => {
                self.asm.put(add(width, AddSub::Add, SCRATCH3, SCRATCH2, src));
                SCRATCH3
            }
            AtomicOp::Or | AtomicOp::FetchOr => self.combine(width, Logic::Orr, src),
            AtomicOp::And | AtomicOp::FetchAnd => self.combine(width, Logic::And, src),
            AtomicOp::Xor | AtomicOp::FetchXor => self.combine(width, Logic::Eor, src),
        };
        self.access(mem, bytes, true);
        self.asm.put(stxr(size, true, STATUS, new, SCRATCH));
        self.asm.branch_zero(Width::W32, true, STATUS, again);
        // The pair alone lets later accesses overtake the store.
        self.asm.put(DMB_ISH);
        if op.row().fetch {
            let to = if op == AtomicOp::Cmpxchg { r0 } else { src };
            self.asm.put(mov(width, to, SCRATCH2));
        }
    }

    fn combine(&mut self, width: Width, op: Logic, src: Gpr) -> Gpr {
        self.asm.put(logic(width, op, SCRATCH3, SCRATCH2, src));
        SCRATCH3
    }
}
