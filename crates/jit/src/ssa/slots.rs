//! Which bytes of a function's stack frame become variables.
//!
//! Accesses through `r10` that overlap form a range; a range of at most eight bytes becomes one
//! variable of its size, which narrower accesses read and write in part. A frame whose address
//! goes anywhere else than into such accesses keeps all of its bytes in memory. What a variable
//! holds is not in memory, so nobody else may be able to read it: the program as a whole must not
//! allow it ([`whole_program_allows`]). A proof does not help: privileged programs may read bytes
//! of their frame that they have not written, and find what another function left there.

use std::ops::Range;

use skep_bpf::insn::{Callee, HelperId, Insn, Mem, Reg, Src};
use skep_bpf::program::Pc;

/// The size of a frame in bytes.
const FRAME: i32 = 512;

/// How many variables a function has at most.
pub(crate) const MOST_SLOTS: usize = 100;

/// Bytes of the frame that are one variable.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Slot {
    /// The offset of the first byte from `r10`.
    pub(crate) start: i32,
    /// 1 to 8 bytes.
    pub(crate) bytes: u32,
}

impl Slot {
    const fn end(self) -> i32 {
        self.start + self.bytes as i32
    }
}

/// The accesses through `r10` that an instruction makes, and whether they may be replaced.
fn access(insn: &Insn<Pc>) -> Option<(Mem, u32, bool)> {
    match insn {
        Insn::Load { size, mem, .. } | Insn::Store { size, mem, .. } => {
            Some((*mem, size.bytes(), true))
        }
        Insn::LoadAcquire { size, mem, .. } | Insn::StoreRelease { size, mem, .. } => {
            Some((*mem, size.bytes(), false))
        }
        Insn::Atomic { width, mem, .. } => Some((*mem, width.bits() / 8, false)),
        _ => None,
    }
    .filter(|(mem, ..)| mem.base == Reg::R10)
}

/// Whether the frame's address becomes a value that is not just an access's base.
fn escapes(insn: &Insn<Pc>) -> bool {
    let reads = |src: &Src| *src == Src::Reg(Reg::R10);
    match insn {
        Insn::Alu { src, .. } | Insn::Store { src, .. } => reads(src),
        Insn::Branch { dst, src, .. } => *dst == Reg::R10 || reads(src),
        Insn::Movsx { src, .. } | Insn::AddrSpaceCast { src, .. } => *src == Reg::R10,
        Insn::Atomic { src, .. } | Insn::StoreRelease { src, .. } => *src == Reg::R10,
        Insn::Call { callee: Callee::Reg(reg) } => *reg == Reg::R10,
        Insn::LoadPacket { index, .. } => {
            matches!(index, skep_bpf::insn::PacketIndex::Indirect(Reg::R10))
        }
        _ => false,
    }
}

/// Whether all functions keep to their frames in ways that are seen: what one function leaves in
/// its frame can otherwise be read by another.
pub(crate) fn whole_program_allows(insns: &[Insn<Pc>], several_functions: bool) -> bool {
    insns.iter().all(|insn| {
        let leaves = access(insn).is_some_and(|(mem, bytes, is_plain)| {
            let start = i32::from(mem.offset);
            start < -FRAME || start + bytes as i32 > 0 || (several_functions && !is_plain)
        });
        let calls_away = matches!(
            insn,
            Insn::Call { callee: Callee::Helper(HelperId::TAIL_CALL) | Callee::Reg(_) }
        );
        !leaves && !calls_away && (!several_functions || !escapes(insn))
    })
}

/// The variables of a function, by their place. `live_in` of the result tells where a read may
/// come before every write; the caller decides what that means.
pub(crate) fn slots(insns: &[Insn<Pc>], function: Range<usize>) -> Vec<Slot> {
    let body = &insns[function];
    if body.iter().any(escapes) {
        return Vec::new();
    }
    let mut accesses: Vec<(Slot, bool)> = body
        .iter()
        .filter_map(access)
        .map(|(mem, bytes, plain)| (Slot { start: mem.offset.into(), bytes }, plain))
        .collect();
    accesses.sort_unstable();
    accesses.dedup();
    let mut ranges: Vec<(Slot, bool)> = Vec::new();
    for (slot, plain) in accesses {
        match ranges.last_mut() {
            Some((last, all_plain)) if slot.start < last.end() => {
                last.bytes = last.bytes.max((slot.end() - last.start) as u32);
                *all_plain &= plain;
            }
            _ => ranges.push((slot, plain)),
        }
    }
    let mut slots: Vec<Slot> = ranges
        .into_iter()
        .filter(|(slot, plain)| {
            *plain && slot.bytes <= 8 && slot.start >= -FRAME && slot.end() <= 0
        })
        .map(|(slot, _)| slot)
        .collect();
    slots.truncate(MOST_SLOTS);
    slots
}

/// The variable that an access reads or writes, and at which of its bytes.
pub(crate) fn slot_of(slots: &[Slot], offset: i16, bytes: u32) -> Option<(usize, u32)> {
    let offset = i32::from(offset);
    let after = slots.partition_point(|slot| slot.start <= offset);
    let index = after.checked_sub(1)?;
    let slot = slots[index];
    (offset + bytes as i32 <= slot.end()).then_some((index, (offset - slot.start) as u32))
}
