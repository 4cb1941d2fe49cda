//! Where this tier pays for fuel: on edges, so that the ways that are taken most pay least.
//!
//! As in [`crate::flow::Payment`] a block starts with a debt, instructions that were executed but
//! not yet paid for, on which all ways into it agree; heads of loops start without. Here the way
//! that comes from the innermost loop decides, since others may pay the difference on their own.

use crate::flow::{Flow, pays};
use crate::source::Source;

/// The debts of a function's blocks.
#[derive(Clone, Debug)]
pub(super) struct Debts {
    first: usize,
    at_start: Vec<i32>,
    at_end: Vec<i32>,
}

impl Debts {
    pub(super) fn new(source: &Source<'_>, flow: &Flow, function: usize) -> Debts {
        let (first, after) = flow.functions[function].blocks;
        let (first, after) = (first as usize, after as usize);
        let depths = depths(flow, (first, after));
        // For each block, the block before it whose debt it starts with.
        let mut decides: Vec<Option<usize>> = vec![None; after - first];
        for block in first..after {
            let (jump, next) = flow.successors(block);
            for to in [jump, next].into_iter().flatten().filter(|to| *to > block) {
                let deeper = |other: usize| depths[block - first] > depths[other - first];
                if decides[to - first].is_none_or(deeper) {
                    decides[to - first] = Some(block);
                }
            }
        }
        let mut debts =
            Debts { first, at_start: vec![0; after - first], at_end: vec![0; after - first] };
        for block in first..after {
            let index = block - first;
            let found = decides[index].filter(|_| index > 0 && !flow.blocks[block].is_loop_head);
            let mut debt = found.map_or(0, |from| debts.at_end[from - first]);
            debts.at_start[index] = debt;
            for insn in &source.insns[flow.blocks[block].range()] {
                debt = if pays(insn) { 0 } else { debt + 1 };
            }
            debts.at_end[index] = debt;
        }
        debts
    }

    /// The debt at the start of a block.
    pub(super) fn at_start(&self, block: usize) -> i32 {
        self.at_start[block - self.first]
    }

    /// The debt after a block's last instruction.
    pub(super) fn at_end(&self, block: usize) -> i32 {
        self.at_end[block - self.first]
    }
}

/// In how many loops each block is, as far as backward jumps tell.
fn depths(flow: &Flow, (first, after): (usize, usize)) -> Vec<i32> {
    let mut changes = vec![0; after - first + 1];
    for block in first..after {
        let (jump, _) = flow.successors(block);
        if let Some(to) = jump.filter(|to| *to <= block) {
            changes[to - first] += 1;
            changes[block - first + 1] -= 1;
        }
    }
    let mut depth = 0;
    for change in &mut changes {
        depth += *change;
        *change = depth;
    }
    changes
}
