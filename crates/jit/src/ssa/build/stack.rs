//! Which slots of the stack become variables, and where they are live.

use skep_bpf::insn::{Insn, Reg};

use super::super::slots::{self, Slot};
use crate::flow::Flow;
use crate::source::Source;

/// The variables on the stack; none where others might look for them in memory.
pub(super) fn slots_of(source: &Source<'_>, flow: &Flow, function: usize) -> Vec<Slot> {
    let several = flow.functions.len() > 1;
    if !slots::whole_program_allows(source.insns, several) {
        return Vec::new();
    }
    let range = |index: usize| {
        let function = &flow.functions[index];
        function.entry as usize..function.end as usize
    };
    let found = slots::slots(source.insns, range(function));
    // What a function leaves in its frame must not be read by another.
    let reads_what_is_left = |index: usize| {
        let slots = slots::slots(source.insns, range(index));
        live_slots(source, flow, index, &slots).first().is_some_and(|live| *live != 0)
    };
    if several && (0..flow.functions.len()).any(reads_what_is_left) {
        return Vec::new();
    }
    found
}

/// For each block of a function, the slots whose bytes are read before they are all written.
pub(super) fn live_slots(
    source: &Source<'_>,
    flow: &Flow,
    function: usize,
    slots: &[Slot],
) -> Vec<u128> {
    let (first, after) = flow.functions[function].blocks;
    let (first, after) = (first as usize, after as usize);
    let mut live = vec![0_u128; after - first];
    if slots.is_empty() {
        return live;
    }
    let summary = |block: usize| {
        let (mut reads, mut writes) = (0_u128, 0_u128);
        for insn in &source.insns[flow.blocks[block].range()] {
            let (mem, bytes, stores) = match insn {
                Insn::Load { size, mem, .. } => (mem, size.bytes(), false),
                Insn::Store { size, mem, .. } => (mem, size.bytes(), true),
                _ => continue,
            };
            if mem.base != Reg::R10 {
                continue;
            }
            let Some((slot, _)) = slots::slot_of(slots, mem.offset, bytes) else { continue };
            if stores && bytes == slots[slot].bytes {
                writes |= 1 << slot;
            } else {
                reads |= (1 << slot) & !writes;
            }
        }
        (reads, writes)
    };
    let summaries: Vec<(u128, u128)> = (first..after).map(summary).collect();
    let mut changed = true;
    while changed {
        changed = false;
        for block in (first..after).rev() {
            let (jump, next) = flow.successors(block);
            let at = |block: Option<usize>| block.map_or(0, |block| live[block - first]);
            let (reads, writes) = summaries[block - first];
            let now = reads | ((at(jump) | at(next)) & !writes);
            changed |= now != live[block - first];
            live[block - first] = now;
        }
    }
    live
}
