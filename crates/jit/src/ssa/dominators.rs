//! Which blocks dominate which (Cooper, Harvey and Kennedy, "A simple, fast dominance
//! algorithm"), and which loops there are: a loop is a head with the blocks that lead back to it.

use super::ir::{BlockId, Func};

/// The order of a function's blocks and what follows from it.
#[derive(Clone, Debug)]
pub(crate) struct Dominators {
    /// The blocks that can be reached, in reverse postorder.
    pub(crate) order: Vec<BlockId>,
    /// The place in `order`; blocks that cannot be reached have none.
    pub(crate) position: Vec<u32>,
    /// For each place in `order`, that of the block directly above; the entry's is its own.
    pub(crate) idom: Vec<u32>,
    /// When the walk over the tree of dominators entered and left each place.
    span: Vec<(u32, u32)>,
    /// The blocks that lead to each block, and where those of each place in `order` start.
    sources: Vec<BlockId>,
    starts: Vec<u32>,
    /// Whether a block leads to one that comes no later in the order.
    has_loops: bool,
}

/// A block that cannot be reached has no place.
pub(crate) const UNREACHED: u32 = u32::MAX;

impl Dominators {
    pub(crate) fn new(func: &Func) -> Dominators {
        Dominators::of(func, func.reverse_postorder())
    }

    /// The same where the reverse postorder is known.
    pub(crate) fn of(func: &Func, order: Vec<BlockId>) -> Dominators {
        let mut position = vec![UNREACHED; func.blocks.len()];
        for (place, block) in order.iter().enumerate() {
            position[block.index()] = place as u32;
        }
        let mut known = Dominators {
            idom: Vec::new(),
            span: Vec::new(),
            sources: Vec::new(),
            starts: vec![0; order.len() + 1],
            has_loops: false,
            order,
            position,
        };
        known.connect(func);
        known.idom = immediate(&known);
        known.span = spans(&known.idom);
        known
    }

    /// Finds the blocks that lead to each block.
    fn connect(&mut self, func: &Func) {
        let mut count = 0;
        for (place, &block) in self.order.iter().enumerate() {
            for to in func.blocks[block.index()].term.successors().into_iter().flatten() {
                let to = self.position[to.index()] as usize;
                self.has_loops |= to <= place;
                // One further, so that adding up gives where each place's start.
                self.starts[to + 1] += 1;
                count += 1;
            }
        }
        for place in 1..self.starts.len() {
            self.starts[place] += self.starts[place - 1];
        }
        self.sources.resize(count, BlockId::ENTRY);
        let mut next = self.starts.clone();
        for &block in &self.order {
            for to in func.blocks[block.index()].term.successors().into_iter().flatten() {
                let next = &mut next[self.position[to.index()] as usize];
                self.sources[*next as usize] = block;
                *next += 1;
            }
        }
    }

    /// The blocks that lead to a block, once for each edge, in the order of blocks.
    pub(crate) fn predecessors(&self, block: BlockId) -> &[BlockId] {
        let place = self.position[block.index()];
        if place == UNREACHED { &[] } else { self.sources_of(place as usize) }
    }

    fn sources_of(&self, place: usize) -> &[BlockId] {
        &self.sources[self.starts[place] as usize..self.starts[place + 1] as usize]
    }

    /// Whether a block leads to one that comes no later in the order.
    pub(crate) const fn has_loops(&self) -> bool {
        self.has_loops
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

fn immediate(known: &Dominators) -> Vec<u32> {
    let mut idom = vec![UNREACHED; known.order.len()];
    idom[0] = 0;
    let mut changed = true;
    while changed {
        changed = false;
        for place in 1..known.order.len() {
            let mut new = UNREACHED;
            for from in known.sources_of(place) {
                let from = known.position[from.index()];
                if idom[from as usize] == UNREACHED {
                    continue;
                }
                new = if new == UNREACHED { from } else { meet(&idom, new, from) };
            }
            changed |= idom[place] != new;
            idom[place] = new;
        }
        // Where nothing leads back, one round sees everything.
        changed &= known.has_loops;
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
