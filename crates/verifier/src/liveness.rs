//! Which registers may be read before they are written, at every instruction.
//!
//! One backward dataflow pass over the whole code: a call of a program's function reads all
//! argument registers, one of a helper those that it has; both destroy r0 to r5. (Linux 6.18,
//! `compute_live_registers`.)

use crate::structure::Code;
use skep_bpf::insn::{Callee, Insn, Offset, PacketIndex, Reg, Src};
use skep_bpf::op::{AluOp, AtomicOp};

/// A set of registers, bit n for `rn`.
pub(crate) type Regs = u16;

const CALLER_SAVED: Regs = 0b11_1111;
const ARGUMENTS: Regs = 0b11_1110;

const fn bit(reg: Reg) -> Regs {
    1 << reg.index()
}

/// The first registers that hold arguments.
fn arguments(count: usize) -> Regs {
    ((1 << (count + 1)) - 1) & ARGUMENTS
}

fn source(src: Src) -> Regs {
    match src {
        Src::Reg(reg) => bit(reg),
        Src::Imm(_) => 0,
    }
}

/// What an instruction reads and writes.
fn effects(insn: &Insn<Offset>) -> (Regs, Regs) {
    let reads = match insn {
        Insn::Alu { op: AluOp::Mov, src, .. } => source(*src),
        Insn::Alu { dst, src, .. } | Insn::Branch { dst, src, .. } => bit(*dst) | source(*src),
        Insn::Neg { dst, .. } | Insn::Endian { dst, .. } => bit(*dst),
        Insn::Movsx { src, .. } | Insn::AddrSpaceCast { src, .. } => bit(*src),
        Insn::Load { mem, .. } | Insn::LoadAcquire { mem, .. } => bit(mem.base),
        Insn::Store { mem, src, .. } => bit(mem.base) | source(*src),
        Insn::StoreRelease { mem, src, .. } => bit(mem.base) | bit(*src),
        Insn::Atomic { op, mem, src, .. } => {
            let compared = if *op == AtomicOp::Cmpxchg { bit(Reg::R0) } else { 0 };
            bit(mem.base) | bit(*src) | compared
        }
        Insn::LoadPacket { index, .. } => {
            let offset = match index {
                PacketIndex::Absolute => 0,
                PacketIndex::Indirect(reg) => bit(*reg),
            };
            bit(Reg::R6) | offset
        }
        Insn::Call { callee: Callee::Helper(id) } => match id.row() {
            Some(row) => arguments(row.params.len()),
            None => ARGUMENTS,
        },
        Insn::Call { .. } => ARGUMENTS,
        Insn::Exit => bit(Reg::R0),
        Insn::LoadImm64 { .. } | Insn::Jump { .. } | Insn::MayGoto { .. } => 0,
    };
    let writes = match insn {
        Insn::Call { .. } | Insn::LoadPacket { .. } => CALLER_SAVED,
        other => other.written().map_or(0, bit),
    };
    (reads, writes)
}

/// The registers that are live before each slot.
pub(crate) fn live_registers(code: &Code, has_loops: bool) -> Vec<Regs> {
    let effects_of = |insn: &Insn<Offset>| {
        let (reads, writes) = effects(insn);
        (code.kfunc_arguments(insn).map_or(reads, arguments), writes)
    };
    // What is not an instruction passes nothing on.
    let nothing = (0, Regs::MAX);
    let effects = code.insns.iter().map(|insn| insn.as_ref().map_or(nothing, effects_of));
    let effects: Vec<(Regs, Regs)> = effects.collect();
    let mut live = vec![0; effects.len()];
    // Visiting from the end makes code without loops stable at once, and almost all other code in
    // one pass and a half.
    let mut changed = true;
    while changed {
        changed = false;
        for (at, (reads, writes)) in effects.iter().enumerate().rev() {
            let after = code.edges.after(at).fold(0, |after, next| after | live[next]);
            let before = reads | (after & !writes);
            if before != live[at] {
                live[at] = before;
                changed = has_loops;
            }
        }
    }
    live
}
