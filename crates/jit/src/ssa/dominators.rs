//! Which blocks dominate which (Cooper, Harvey and Kennedy, "A simple, fast dominance
//! algorithm"), and which loops there are: a loop is a head with the blocks that lead back to it.

use super::ir::{BlockId, Func};

/// The order of a function's blocks and what follows from it.
#[derive(Clone, Debug)]
pub(crate) struct Dominators {
    /// The blocks that can be reached, in reverse postorder.
    pub(crate) order: Vec<BlockId>,
    /// For every block, the blocks that lead to it, once for each edge.
    pub(crate) predecessors: Vec<Vec<BlockId>>,
    /// The place in `order`; blocks that cannot be reached have none.
    pub(crate) position: Vec<u32>,
    /// For each place in `order`, that of the block directly above; the entry's is its own.
    pub(crate) idom: Vec<u32>,
    /// When the walk over the tree of dominators entered and left each place.
    span: Vec<(u32, u32)>,
}

/// A block that cannot be reached has no place.
pub(crate) const UNREACHED: u32 = u32::MAX;

impl Dominators {
    pub(crate) fn new(func: &Func) -> Dominators {
        let order = func.reverse_postorder();
        let predecessors = func.predecessors(&order);
        let mut position = vec![UNREACHED; func.blocks.len()];
        for (place, block) in order.iter().enumerate() {
            position[block.index()] = place as u32;
        }
        let idom = immediate(&order, &predecessors, &position);
        let span = spans(&idom);
        Dominators { order, predecessors, position, idom, span }
    }

    /// Whether every way to the second block leads through the first. Both can be reached.
    pub(crate) fn dominates(&self, above: BlockId, below: BlockId) -> bool {
        let (above, below) = (self.position[above.index()], self.position[below.index()]);
        if above == UNREACHED || below == UNREACHED {
            return false;
        }
        let (above, below) = (self.span[above as usize], self.span[below as usize]);
        above.0 <= below.0 && below.1 <= above.1
    }
}

fn immediate(order: &[BlockId], predecessors: &[Vec<BlockId>], position: &[u32]) -> Vec<u32> {
    let mut idom = vec![UNREACHED; order.len()];
    idom[0] = 0;
    let mut changed = true;
    while changed {
        changed = false;
        for (place, block) in order.iter().enumerate().skip(1) {
            let mut new = UNREACHED;
            for from in &predecessors[block.index()] {
                let from = position[from.index()];
                if idom[from as usize] == UNREACHED {
                    continue;
                }
                new = if new == UNREACHED { from } else { meet(&idom, new, from) };
            }
            changed |= idom[place] != new;
            idom[place] = new;
        }
    }
    idom
}

fn meet(idom: &[u32], mut a: u32, mut b: u32) -> u32 {
    while a != b {
        if a > b {
            a = idom[a as usize];
        } else {
            b = idom[b as usize];
        }
    }
    a
}

/// Numbers the tree of dominators so that a block's descendants lie within its span. A parent
/// comes before its children in the order, so sizes add up backwards.
fn spans(idom: &[u32]) -> Vec<(u32, u32)> {
    let mut sizes = vec![1_u32; idom.len()];
    for place in (1..idom.len()).rev() {
        sizes[idom[place] as usize] += sizes[place];
    }
    let mut next = vec![0_u32; idom.len()];
    let mut span = vec![(0, 0); idom.len()];
    for place in 0..idom.len() {
        let start = if place == 0 {
            0
        } else {
            let parent = idom[place] as usize;
            let start = next[parent];
            next[parent] += sizes[place];
            start
        };
        next[place] = start + 1;
        span[place] = (start, start + sizes[place]);
    }
    span
}
