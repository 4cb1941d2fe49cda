//! In which order blocks are written.

use super::select::Machine;

/// A block at its place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Placed {
    pub(super) index: usize,
    /// Whether it starts a loop, which is worth an aligned start.
    pub(super) is_loop_head: bool,
}

/// The order of the blocks that something leads to.
pub(super) fn order(machine: &Machine, leads_to: &[usize]) -> Vec<Placed> {
    let mut is_loop_head = vec![false; machine.blocks.len()];
    for (index, block) in machine.blocks.iter().enumerate() {
        for succ in &block.succs {
            if succ.index() <= index {
                is_loop_head[succ.index()] = true;
            }
        }
    }
    (0..machine.blocks.len())
        .filter(|index| leads_to[*index] == *index)
        .map(|index| Placed { index, is_loop_head: is_loop_head[index] })
        .collect()
}
