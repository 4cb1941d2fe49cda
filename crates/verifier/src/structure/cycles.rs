//! The cycles of the code: its strongly connected components, each within one function.

use super::Code;
use super::edges::Edges;

/// By slot, the number of its cycle; 0 if it is in none. Only slots that may be in one are looked
/// at. (Tarjan's algorithm, without recursion.)
pub(super) fn find(code: &Code, within_loops: &[bool]) -> Vec<u32> {
    let mut search = Search {
        edges: &code.edges,
        within_loops,
        order: vec![0; code.slots.len()],
        low: vec![0; code.slots.len()],
        cycles: vec![0; code.slots.len()],
        open: Vec::new(),
        visited: 0,
        found: 0,
    };
    for (at, within) in within_loops.iter().enumerate() {
        if *within && search.order[at] == 0 {
            search.visit(at);
        }
    }
    search.cycles
}

struct Search<'a> {
    edges: &'a Edges,
    within_loops: &'a [bool],
    /// When a slot was visited, from 1; 0 if it was not.
    order: Vec<u32>,
    /// The earliest slot that can be reached from it, or [`DONE`].
    low: Vec<u32>,
    cycles: Vec<u32>,
    open: Vec<usize>,
    visited: u32,
    found: u32,
}

/// The component of the slot is known.
const DONE: u32 = u32::MAX;

impl Search<'_> {
    fn visit(&mut self, start: usize) {
        let mut path: Vec<(usize, usize)> = Vec::new();
        self.open(start, &mut path);
        while let Some((at, next)) = path.last_mut() {
            let at = *at;
            if let Some(edge) = self.edges.successors[at].get(*next) {
                *next += 1;
                let successor = edge.map(|successor| successor as usize);
                let Some(successor) = successor.filter(|at| self.within_loops[*at]) else {
                    continue;
                };
                if self.order[successor] == 0 {
                    self.open(successor, &mut path);
                } else {
                    self.low[at] = self.low[at].min(self.low[successor]);
                }
                continue;
            }
            path.pop();
            if let Some((before, _)) = path.last() {
                self.low[*before] = self.low[*before].min(self.low[at]);
            }
            if self.low[at] == self.order[at] {
                self.close(at);
            }
        }
    }

    fn open(&mut self, at: usize, path: &mut Vec<(usize, usize)>) {
        self.visited += 1;
        self.order[at] = self.visited;
        self.low[at] = self.visited;
        self.open.push(at);
        path.push((at, 0));
    }

    /// Takes a component from the stack. It is a cycle if it has two slots or leads to itself.
    fn close(&mut self, root: usize) {
        let members = self.open.iter().rposition(|at| *at == root).unwrap_or(0);
        let is_cycle = self.open.len() - members > 1 || self.edges.after(root).any(|at| at == root);
        self.found += u32::from(is_cycle);
        for at in self.open.drain(members..) {
            self.low[at] = DONE;
            self.cycles[at] = if is_cycle { self.found } else { 0 };
        }
    }
}
