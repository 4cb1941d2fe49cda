//! In which order blocks are written.
//!
//! A block is followed by the successor that stays in the innermost loop, so that loops are
//! contiguous, what leaves them stands behind them, and the way back is a conditional jump.

use super::select::Machine;

/// A block at its place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Placed {
    pub(super) index: usize,
    /// Whether it starts a loop, which is worth an aligned start.
    pub(super) is_loop_head: bool,
    /// In how many loops it is.
    pub(super) depth: u32,
}

/// How many steps the search for loops takes for each block at most; deeper loops than that
/// leaves are not told apart.
const MOST_STEPS: usize = 16;

/// The order of the blocks that something leads to.
pub(super) fn order(machine: &Machine, leads_to: &[usize]) -> Vec<Placed> {
    let count = machine.blocks.len();
    let (depths, is_loop_head) = loops(machine);
    let mut placed = vec![false; count];
    let mut order = Vec::with_capacity(count);
    // Blocks that were reached but not chosen, the latest last.
    let mut waiting: Vec<usize> = vec![0];
    while let Some(start) = pick(&mut waiting, &placed, &depths) {
        let mut next = Some(start);
        while let Some(index) = next {
            placed[index] = true;
            let (is_loop_head, depth) = (is_loop_head[index], depths[index]);
            order.push(Placed { index, is_loop_head, depth });
            let succs = machine.blocks.succs(index).iter().map(|succ| leads_to[succ.index()]);
            let open: Vec<usize> = succs.filter(|succ| !placed[*succ]).collect();
            // The last is where control goes on if it does not jump.
            next = open.iter().copied().max_by_key(|succ| depths[*succ]);
            waiting.extend(open.into_iter().filter(|succ| Some(*succ) != next));
        }
    }
    order
}

/// Takes the block to go on with: the one in the deepest loop, of those the latest.
fn pick(waiting: &mut Vec<usize>, placed: &[bool], depths: &[u32]) -> Option<usize> {
    while waiting.last().is_some_and(|last| placed[*last]) {
        waiting.pop();
    }
    // Looking at the latest few is enough: what was left behind long ago is not in this loop.
    let from = waiting.len().saturating_sub(16);
    let recent = waiting[from..].iter().copied().filter(|index| !placed[*index]);
    recent.max_by_key(|index| depths[*index])
}

/// For each block, in how many loops it is, and whether it starts one. Blocks are numbered in
/// reverse postorder, so edges to a lower number lead back.
fn loops(machine: &Machine) -> (Vec<u32>, Vec<bool>) {
    let count = machine.blocks.len();
    let (mut depths, mut is_head) = (vec![0; count], vec![false; count]);
    let mut budget = count * MOST_STEPS;
    let mut seen = vec![usize::MAX; count];
    for head in (0..count).rev() {
        let latches = machine.blocks.preds(head).iter().map(|pred| pred.index());
        let mut path: Vec<usize> = latches.filter(|pred| *pred >= head).collect();
        if path.is_empty() {
            continue;
        }
        is_head[head] = true;
        seen[head] = head;
        depths[head] += 1;
        // Everything between the head and the ways back to it.
        while let Some(block) = path.pop() {
            // Of a cycle with several entries, the part after the head counts.
            if block < head || seen[block] == head {
                continue;
            }
            seen[block] = head;
            depths[block] += 1;
            budget = budget.saturating_sub(1);
            if budget == 0 {
                return (depths, is_head);
            }
            path.extend(machine.blocks.preds(block).iter().map(|pred| pred.index()));
        }
    }
    (depths, is_head)
}
