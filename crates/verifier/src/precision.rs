//! Which numbers matter: where values come from, and which of them must be compared.
//!
//! Every number has a node with the numbers it was computed from. A checkpoint gives each number
//! it stores a node of its own, whose operand is the number's node before. Marking a node precise
//! marks what it was computed from, back to nodes that are precise already: the work is that of
//! the slice. A state compares only its precise numbers; all others fit anything, because nothing
//! that was decided on the paths from there depended on them.

/// A number's origin.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Node(u32);

impl Node {
    /// Computed from nothing: constants, loads, results of helpers.
    pub(crate) const NONE: Node = Node(0);
}

#[derive(Clone, Copy)]
struct Entry {
    operands: [Node; 2],
    precise: bool,
}

/// All nodes of a verification.
pub(crate) struct Nodes {
    entries: Vec<Entry>,
    pending: Vec<Node>,
}

impl Nodes {
    /// No nodes but [`Node::NONE`].
    pub(crate) fn new() -> Nodes {
        let none = Entry { operands: [Node::NONE; 2], precise: true };
        Nodes { entries: vec![none], pending: Vec::new() }
    }

    /// A number computed from two others.
    pub(crate) fn join(&mut self, a: Node, b: Node) -> Node {
        if b == Node::NONE || a == b {
            return a;
        }
        if a == Node::NONE {
            return b;
        }
        self.push([a, b])
    }

    /// A number as a checkpoint stores it.
    pub(crate) fn entry(&mut self, of: Node) -> Node {
        self.push([of, Node::NONE])
    }

    /// From now on, a number of a checkpoint that matters makes another one matter.
    pub(crate) fn depend(&mut self, entry: Node, on: Node) {
        if entry == Node::NONE || on == Node::NONE || entry == on {
            return;
        }
        let [of, before] = self.entries[entry.0 as usize].operands;
        let joined = self.join(before, on);
        self.entries[entry.0 as usize].operands = [of, joined];
        if self.is_precise(entry) {
            self.mark(on);
        }
    }

    fn push(&mut self, operands: [Node; 2]) -> Node {
        // A walk makes at most a few nodes for each of a bounded number of instructions and
        // states, far below 2^32.
        let node = Node(self.entries.len() as u32);
        self.entries.push(Entry { operands, precise: false });
        node
    }

    /// Whether the number matters.
    pub(crate) fn is_precise(&self, node: Node) -> bool {
        self.entries[node.0 as usize].precise
    }

    /// Marks a number, and all it was computed from, as mattering.
    pub(crate) fn mark(&mut self, node: Node) {
        self.pending.push(node);
        while let Some(node) = self.pending.pop() {
            let entry = &mut self.entries[node.0 as usize];
            if !entry.precise {
                entry.precise = true;
                self.pending.extend(entry.operands);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Node, Nodes};

    #[test]
    fn marking_marks_what_a_number_was_computed_from_and_nothing_else() {
        let mut nodes = Nodes::new();
        let (a, b, c) = (nodes.entry(Node::NONE), nodes.entry(Node::NONE), nodes.entry(Node::NONE));
        let sum = nodes.join(a, b);
        let other = nodes.join(b, c);
        let later = nodes.entry(sum);
        nodes.mark(later);
        for node in [later, sum, a, b] {
            assert!(nodes.is_precise(node));
        }
        for node in [other, c] {
            assert!(!nodes.is_precise(node));
        }
    }

    #[test]
    fn constants_add_nothing_to_a_slice() {
        let mut nodes = Nodes::new();
        let a = nodes.entry(Node::NONE);
        assert_eq!(nodes.join(a, Node::NONE), a);
        assert_eq!(nodes.join(Node::NONE, a), a);
        assert_eq!(nodes.join(a, a), a);
        assert!(!nodes.is_precise(a));
    }
}
