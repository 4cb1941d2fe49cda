//! What an instruction reads and changes, the calling convention's part included.

use skep_bpf::insn::{Callee, HelperId, Insn, PacketIndex, Reg, Src};
use skep_bpf::op::{AluOp, AtomicOp};
use skep_bpf::program::Pc;

use super::RegSet;
use crate::source::{CALLING_BACK, Source};

/// What an instruction reads and changes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Effects {
    /// The registers whose values matter to it.
    pub reads: RegSet,
    /// The registers whose values are others after it. A call leaves `r1` to `r5` undefined,
    /// which is 0 here.
    pub writes: RegSet,
}

pub(super) fn of_all(source: &Source<'_>) -> Vec<Effects> {
    source.insns.iter().map(|insn| of(insn, source)).collect()
}

/// Whether a call can lead into a function of a program.
pub(super) fn nests(callee: &Callee<Pc>) -> bool {
    match callee {
        Callee::Local(_) | Callee::Reg(_) | Callee::Helper(HelperId::TAIL_CALL) => true,
        Callee::Helper(id) => CALLING_BACK.contains(id),
        Callee::Kfunc { .. } => false,
    }
}

/// Whether targets without a single instruction for it repeat a compare-and-exchange.
pub(super) fn needs_loop(op: AtomicOp) -> bool {
    matches!(op, AtomicOp::FetchOr | AtomicOp::FetchAnd | AtomicOp::FetchXor)
}

fn operand(src: Src) -> RegSet {
    match src {
        Src::Imm(_) => RegSet::EMPTY,
        Src::Reg(reg) => RegSet::of(reg),
    }
}

fn of(insn: &Insn<Pc>, source: &Source<'_>) -> Effects {
    let one = RegSet::of;
    let writes = insn.written().map_or(RegSet::EMPTY, one);
    let reads = match *insn {
        Insn::Alu { op: AluOp::Mov, src, .. } => operand(src),
        Insn::Alu { dst, src, .. } | Insn::Branch { dst, src, .. } => one(dst) | operand(src),
        Insn::Neg { dst, .. } | Insn::Endian { dst, .. } => one(dst),
        Insn::Movsx { src, .. } | Insn::AddrSpaceCast { src, .. } => one(src),
        Insn::LoadImm64 { .. } | Insn::Jump { .. } | Insn::MayGoto { .. } => RegSet::EMPTY,
        Insn::Load { mem, .. } | Insn::LoadAcquire { mem, .. } => one(mem.base),
        Insn::Store { mem, src, .. } => one(mem.base) | operand(src),
        Insn::StoreRelease { mem, src, .. } => one(mem.base) | one(src),
        Insn::Atomic { op: AtomicOp::Cmpxchg, mem, src, .. } => {
            one(mem.base) | one(src) | RegSet::RESULT
        }
        Insn::Atomic { mem, src, .. } => one(mem.base) | one(src),
        Insn::LoadPacket { index: PacketIndex::Indirect(reg), .. } => one(reg),
        Insn::LoadPacket { index: PacketIndex::Absolute, .. } => RegSet::EMPTY,
        Insn::Call { callee } => return of_call(callee, source),
        Insn::Exit => RegSet::RESULT,
    };
    Effects { reads, writes }
}

fn of_call(callee: Callee<Pc>, source: &Source<'_>) -> Effects {
    let reads = match callee {
        // Which of them the function reads is found when its liveness is known.
        Callee::Local(_) => RegSet::ARGUMENTS,
        Callee::Reg(reg) => RegSet::ARGUMENTS | RegSet::of(reg),
        Callee::Helper(HelperId::TAIL_CALL) => RegSet::arguments(TAIL_CALL_ARGS),
        Callee::Helper(id) => RegSet::arguments((source.helper)(id).args()),
        Callee::Kfunc { .. } => RegSet::EMPTY,
    };
    Effects { reads, writes: RegSet::CALL }
}

/// `bpf_tail_call(ctx, map, index)`.
const TAIL_CALL_ARGS: u8 = 3;

/// The frame pointer is read by an instruction other than as the base of an access.
pub(super) fn takes_frame_address(insn: &Insn<Pc>) -> bool {
    match *insn {
        Insn::Alu { src, .. } | Insn::Branch { src, .. } | Insn::Store { src, .. }
            if src == Src::Reg(Reg::R10) =>
        {
            true
        }
        Insn::Branch { dst, .. } => dst == Reg::R10,
        Insn::Movsx { src, .. }
        | Insn::AddrSpaceCast { src, .. }
        | Insn::StoreRelease { src, .. }
        | Insn::Atomic { src, .. } => src == Reg::R10,
        Insn::LoadPacket { index: PacketIndex::Indirect(reg), .. } => reg == Reg::R10,
        Insn::Call { callee: Callee::Reg(reg) } => reg == Reg::R10,
        _ => false,
    }
}
