//! Which numbers matter: where values come from, and which of them must be compared.
//!
//! Every number has a node with the numbers it was computed from. A checkpoint gives each number
//! it stores a node of its own, whose operand is the number's node before. Marking a node precise
//! marks what it was computed from, back to nodes that are precise already: the work is that of
//! the slice. A state compares only its precise numbers; all others fit anything, because nothing
//! that was decided on the paths from there depended on them.
//!
//! The nodes of a checkpoint are not stored with the values, so that values stay shared: they are
//! the places of a [`Block`], and a state knows which places were written since ([`Written`]).

use std::collections::HashMap;

/// A number's origin.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Node(u32);

/// The bit of a node that says: a place of a block.
const OF_BLOCK: u32 = 1 << 31;
/// Places of a frame are fewer than two to this.
const PLACE_BITS: u32 = 7;
/// As many blocks have nodes. A walk of a million instructions, with a checkpoint of eight frames
/// at each, makes half as many.
const MAX_BLOCKS: usize = 1 << (31 - PLACE_BITS);
/// As many other nodes there can be.
const MAX_ENTRIES: usize = 1 << 31;

impl Node {
    /// Computed from nothing: constants, loads, results of helpers.
    pub(crate) const NONE: Node = Node(0);

    fn of_block(block: u32, place: usize) -> Node {
        Node(OF_BLOCK | block << PLACE_BITS | place as u32)
    }

    /// The block and the place in it.
    fn block(self) -> Option<(usize, usize)> {
        let bits = self.0 & !OF_BLOCK;
        let place = bits & ((1 << PLACE_BITS) - 1);
        (self.0 & OF_BLOCK != 0).then_some(((bits >> PLACE_BITS) as usize, place as usize))
    }
}

/// What was written in a frame since the last checkpoint. Places are registers and then slots of
/// the stack.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Written {
    block: u32,
    places: u128,
}

impl Written {
    /// All of it: a frame that no checkpoint knows.
    pub(crate) const ALL: Written = Written { block: 0, places: u128::MAX };

    /// A place is written.
    #[inline]
    pub(crate) fn add(&mut self, place: usize) {
        self.places |= 1 << place;
    }

    /// The node of a number in a place, which had a node of its own when it was written.
    #[inline]
    pub(crate) fn node(self, place: usize, when_written: Node) -> Node {
        if self.places >> place & 1 == 1 { when_written } else { Node::of_block(self.block, place) }
    }

    /// Whether a place was written.
    #[inline]
    pub(crate) fn contains(self, place: usize) -> bool {
        self.places >> place & 1 == 1
    }
}

#[derive(Clone, Copy)]
struct Entry {
    operands: [Node; 2],
    precise: bool,
}

/// The numbers of one frame of a checkpoint.
#[derive(Clone, Copy)]
struct Block {
    precise: u128,
    /// The numbers that were written since the checkpoint before.
    written: u128,
    /// Their nodes before begin here in `Nodes::written`.
    first: usize,
    /// The numbers that make others matter: asked before `Nodes::dependent` is.
    dependent: u128,
    /// Where the other numbers come from.
    before: u32,
}

/// All nodes of a verification.
pub(crate) struct Nodes {
    entries: Vec<Entry>,
    blocks: Vec<Block>,
    written: Vec<Node>,
    /// Numbers of checkpoints that also matter where another one does.
    dependent: HashMap<Node, Node>,
    pending: Vec<Node>,
}

impl Nodes {
    /// No nodes but [`Node::NONE`].
    pub(crate) fn new() -> Nodes {
        let none = Entry { operands: [Node::NONE; 2], precise: true };
        let nowhere = Block { precise: u128::MAX, written: 0, first: 0, dependent: 0, before: 0 };
        Nodes {
            entries: vec![none],
            blocks: vec![nowhere],
            written: Vec::new(),
            dependent: HashMap::new(),
            pending: Vec::new(),
        }
    }

    /// A number computed from two others.
    pub(crate) fn join(&mut self, a: Node, b: Node) -> Node {
        if b == Node::NONE || a == b {
            return a;
        }
        if a == Node::NONE {
            return b;
        }
        if self.entries.len() >= MAX_ENTRIES {
            self.mark(a);
            self.mark(b);
            return Node::NONE;
        }
        let node = Node(self.entries.len() as u32);
        self.entries.push(Entry { operands: [a, b], precise: false });
        node
    }

    /// A checkpoint: every number of a frame has a new node. `number` gives the node of the
    /// number in a place that was written, if one is there.
    pub(crate) fn checkpoint(
        &mut self,
        frame: &mut Written,
        places: usize,
        number: impl Fn(usize) -> Option<Node>,
    ) {
        if self.blocks.len() >= MAX_BLOCKS {
            return self.checkpoint_nowhere(frame, places, number);
        }
        let first = self.written.len();
        let mut written = 0;
        let mut left = frame.places & !(u128::MAX << places);
        while left != 0 {
            let place = left.trailing_zeros() as usize;
            left &= left - 1;
            if let Some(node) = number(place) {
                written |= 1 << place;
                self.written.push(node);
            }
        }
        // There are at most `MAX_BLOCKS`.
        let block = self.blocks.len() as u32;
        self.blocks.push(Block { precise: 0, written, first, dependent: 0, before: frame.block });
        *frame = Written { block, places: 0 };
    }

    /// A checkpoint without nodes left: all of its numbers matter.
    #[cold]
    fn checkpoint_nowhere(
        &mut self,
        frame: &mut Written,
        places: usize,
        number: impl Fn(usize) -> Option<Node>,
    ) {
        for place in 0..places {
            match number(place) {
                Some(node) => self.mark(frame.node(place, node)),
                None => self.mark(frame.node(place, Node::NONE)),
            };
        }
        *frame = Written { block: 0, places: 0 };
    }

    /// From now on, a number of a checkpoint that matters makes another one matter.
    pub(crate) fn depend(&mut self, entry: Node, on: Node) {
        if entry == Node::NONE || on == Node::NONE || entry == on {
            return;
        }
        if self.is_precise(entry) {
            self.mark(on);
            return;
        }
        let Some((block, place)) = entry.block() else {
            // Numbers of checkpoints are in blocks. Of another one it is safe that it matters.
            self.mark(on);
            return;
        };
        self.blocks[block].dependent |= 1 << place;
        let before = self.dependent.get(&entry).copied().unwrap_or(Node::NONE);
        let joined = self.join(before, on);
        self.dependent.insert(entry, joined);
    }

    /// Whether the number matters.
    #[inline]
    pub(crate) fn is_precise(&self, node: Node) -> bool {
        match node.block() {
            Some((block, place)) => self.blocks[block].precise >> place & 1 == 1,
            None => self.entries[node.0 as usize].precise,
        }
    }

    /// The places of a frame that were not written since the last checkpoint and whose numbers
    /// matter, a bit for each.
    #[inline]
    pub(crate) fn precise_places(&self, frame: &Written) -> u128 {
        self.blocks[frame.block as usize].precise & !frame.places
    }

    /// Marks a number, and all it was computed from, as mattering. Whether it was not marked.
    #[inline]
    pub(crate) fn mark(&mut self, node: Node) -> bool {
        let is_new = !self.is_precise(node);
        if is_new {
            self.mark_slice(node);
        }
        is_new
    }

    /// Most numbers come from one other: only further ones wait.
    fn mark_slice(&mut self, node: Node) {
        let mut next = Some(node);
        while let Some(node) = next {
            if self.is_precise(node) {
                next = self.pending.pop();
                continue;
            }
            let from = match node.block() {
                Some((index, place)) => {
                    let block = &mut self.blocks[index];
                    block.precise |= 1 << place;
                    if block.dependent >> place & 1 == 1
                        && let Some(on) = self.dependent.get(&node)
                    {
                        self.pending.push(*on);
                    }
                    if block.written >> place & 1 == 1 {
                        let earlier = block.written & ((1 << place) - 1);
                        self.written[block.first + earlier.count_ones() as usize]
                    } else {
                        Node::of_block(block.before, place)
                    }
                }
                None => {
                    let entry = &mut self.entries[node.0 as usize];
                    entry.precise = true;
                    let [first, second] = entry.operands;
                    self.pending.push(second);
                    first
                }
            };
            next = Some(from);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Node, Nodes, Written};

    /// A frame with numbers in its first places.
    fn checkpoint(nodes: &mut Nodes, frame: &mut Written, numbers: &[Node]) {
        nodes.checkpoint(frame, numbers.len(), |place| numbers.get(place).copied());
    }

    #[test]
    fn marking_marks_what_a_number_was_computed_from_and_nothing_else() {
        let mut nodes = Nodes::new();
        let mut frame = Written::ALL;
        checkpoint(&mut nodes, &mut frame, &[Node::NONE; 3]);
        let [a, b, c] = [0, 1, 2].map(|place| frame.node(place, Node::NONE));
        let sum = nodes.join(a, b);
        let other = nodes.join(b, c);
        frame.add(0);
        checkpoint(&mut nodes, &mut frame, &[sum, b, c]);
        let later = frame.node(0, sum);
        nodes.mark(later);
        for node in [later, sum, a, b] {
            assert!(nodes.is_precise(node));
        }
        for node in [other, c, frame.node(1, b), frame.node(2, c)] {
            assert!(!nodes.is_precise(node));
        }
    }

    #[test]
    fn what_was_not_written_comes_from_the_checkpoint_before() {
        let mut nodes = Nodes::new();
        let mut frame = Written::ALL;
        checkpoint(&mut nodes, &mut frame, &[Node::NONE; 2]);
        let first = frame.node(1, Node::NONE);
        frame.add(0);
        checkpoint(&mut nodes, &mut frame, &[Node::NONE; 2]);
        nodes.mark(frame.node(1, Node::NONE));
        assert!(nodes.is_precise(first));
        assert!(!nodes.is_precise(frame.node(0, Node::NONE)));
    }

    #[test]
    fn what_depends_on_a_number_of_a_checkpoint_matters_with_it() {
        let mut nodes = Nodes::new();
        let mut frame = Written::ALL;
        checkpoint(&mut nodes, &mut frame, &[Node::NONE; 3]);
        let [a, b, c] = [0, 1, 2].map(|place| frame.node(place, Node::NONE));
        nodes.depend(a, b);
        nodes.depend(a, c);
        assert!(!nodes.is_precise(b));
        nodes.mark(a);
        assert!(nodes.is_precise(b) && nodes.is_precise(c));
    }

    #[test]
    fn constants_add_nothing_to_a_slice() {
        let mut nodes = Nodes::new();
        let mut frame = Written::ALL;
        checkpoint(&mut nodes, &mut frame, &[Node::NONE]);
        let a = frame.node(0, Node::NONE);
        assert_eq!(nodes.join(a, Node::NONE), a);
        assert_eq!(nodes.join(Node::NONE, a), a);
        assert_eq!(nodes.join(a, a), a);
        assert!(!nodes.is_precise(a));
    }
}
