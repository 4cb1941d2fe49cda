//! Between which numbers a value lies, and which of its bits can be set.
//!
//! Ranges are this compiler's own knowledge: of operations, and of the comparisons that lead to a
//! block; nothing of a proof goes into them. A parameter starts from what comes in along edges
//! that were seen, grows with the others, is given up if it keeps growing, and is computed once
//! more when all is known, so that a counter that is compared has its bound. Masks, extensions
//! and comparisons that change or decide nothing disappear, signed operations on numbers without
//! a sign become unsigned, and 64-bit divisions of small numbers 32-bit ones.

mod range;

#[cfg(test)]
mod tests;

use skep_bpf::insn::{Extend, Reg};
use skep_bpf::op::{Cond, Width};

use self::range::{LOW, Range, of_width};

use super::cleanup;
use super::dominators::{Dominators, UNREACHED};
use super::ir::{Bin, BlockId, Edge, Func, Op, Term, Un, Val};
use super::simplify::negated;

/// How often a parameter may grow before it is given up.
const PATIENCE: u8 = 2;
/// How many comparisons above a block are asked.
const MOST_STEPS: usize = 12;

/// A value lies in a range wherever a block's way leads through a comparison.
#[derive(Clone, Copy, Debug)]
struct Fact {
    above: u32,
    value: Val,
    range: Range,
}

/// No fact.
const NOTHING: u32 = u32::MAX;

/// The ranges of all values.
struct Ranges<'a> {
    dominators: &'a Dominators,
    ranges: Vec<Option<Range>>,
    /// The latest fact of each block.
    latest: Vec<u32>,
    facts: Vec<Fact>,
    /// Whether there is a fact about a value.
    is_compared: Vec<bool>,
}

impl<'a> Ranges<'a> {
    /// Computes the ranges of a function.
    fn new(func: &Func, dominators: &'a Dominators) -> Ranges<'a> {
        let mut ranges = Ranges {
            dominators,
            ranges: vec![None; func.nodes.len()],
            latest: vec![NOTHING; func.blocks.len()],
            facts: Vec::new(),
            is_compared: vec![false; func.nodes.len()],
        };
        let mut grown = vec![0_u8; func.nodes.len()];
        if !dominators.has_loops() {
            // One round sees everything before it is read.
            ranges.grow(func, &mut grown, u8::MAX);
            return ranges;
        }
        while ranges.grow(func, &mut grown, PATIENCE) {}
        // What was given up may be bounded after all: once more, from what holds in any case.
        ranges.settle(func);
        ranges
    }

    fn forget_facts(&mut self) {
        self.facts.clear();
        self.latest.fill(NOTHING);
    }

    /// One round over all blocks; true if a parameter grew that was read before. A parameter is
    /// given up when it grew more often than the patience says.
    fn grow(&mut self, func: &Func, grown: &mut [u8], patience: u8) -> bool {
        self.forget_facts();
        let dominators = self.dominators;
        let mut again = false;
        for &id in &dominators.order {
            self.enter(func, id);
            let block = &func.blocks[id.index()];
            for &value in &block.nodes {
                let range = self.compute(func, id, &func.op(value));
                self.ranges[value.index()] = Some(range);
            }
            self.for_each_brought(func, id, |this, to, param, range| {
                let old = this.ranges[param.index()];
                let mut new = old.map_or(range, |old| old.join(range));
                if old == Some(new) {
                    return;
                }
                let count = &mut grown[param.index()];
                *count = count.saturating_add(1);
                if *count > patience {
                    new = if new.max <= LOW { Range::below(LOW) } else { Range::FULL };
                }
                this.ranges[param.index()] = Some(new);
                again |= dominators.position[to.index()] <= dominators.position[id.index()];
            });
        }
        again
    }

    fn settle(&mut self, func: &Func) {
        self.forget_facts();
        let dominators = self.dominators;
        let mut incoming: Vec<Option<Range>> = vec![None; func.nodes.len()];
        // What comes back is computed from what holds in any case.
        for &id in &dominators.order {
            self.enter(func, id);
            self.for_each_brought(func, id, |_, _, param, range| {
                let old = incoming[param.index()];
                incoming[param.index()] = Some(old.map_or(range, |old| old.join(range)));
            });
        }
        for &id in &dominators.order {
            for param in &func.blocks[id.index()].params {
                if let (Some(new), Some(old)) =
                    (incoming[param.index()], self.ranges[param.index()])
                {
                    self.ranges[param.index()] = Some(old.meet(new));
                }
            }
        }
        self.forget_facts();
        for &id in &dominators.order {
            self.enter(func, id);
            for &value in &func.blocks[id.index()].nodes {
                let range = self.compute(func, id, &func.op(value));
                self.ranges[value.index()] = Some(range);
            }
        }
    }

    /// Calls a function with what the edges of a block bring to parameters.
    fn for_each_brought(
        &mut self,
        func: &Func,
        id: BlockId,
        mut f: impl FnMut(&mut Self, BlockId, Val, Range),
    ) {
        let term = &func.blocks[id.index()].term;
        for (which, edge) in term.edges().enumerate() {
            let params = &func.blocks[edge.to.index()].params;
            for (&param, &arg) in params.iter().zip(&edge.args) {
                let range = self.on_edge(func, id, which == 0, arg);
                f(self, edge.to, param, range);
            }
        }
    }

    /// The range of a value on an edge of a block: its first, or its second.
    fn on_edge(&self, func: &Func, id: BlockId, first: bool, value: Val) -> Range {
        let range = self.at(func, id, value);
        let Term::Branch { cond, width, a, b, then, other } = &func.blocks[id.index()].term else {
            return range;
        };
        if (*a != value && *b != value) || a == b || then.to == other.to {
            return range;
        }
        let Some(cond) = (if first { Some(*cond) } else { negated(*cond) }) else { return range };
        let (left, right) = (self.at(func, id, *a), self.at(func, id, *b));
        let (left, right) = Range::compared(cond, *width, left, right);
        if *a == value { left } else { right }
    }

    /// Takes over what holds above a block, and what the branch to it says.
    fn enter(&mut self, func: &Func, id: BlockId) {
        let Some(above) = self.dominators.above(id) else { return };
        let mut latest = self.latest[above.index()];
        if let [from] = self.dominators.predecessors(id)[..]
            && let Term::Branch { a, b, then, other, .. } = &func.blocks[from.index()].term
            && then.to != other.to
        {
            for value in [*a, *b] {
                if func.constant(value).is_some() {
                    continue;
                }
                let range = self.on_edge(func, from, then.to == id, value);
                if range != self.at(func, from, value) {
                    self.facts.push(Fact { above: latest, value, range });
                    self.is_compared[value.index()] = true;
                    latest = self.facts.len() as u32 - 1;
                }
            }
        }
        self.latest[id.index()] = latest;
    }

    /// The range of a value wherever it is known.
    fn anywhere(&self, func: &Func, value: Val) -> Range {
        match func.op(value) {
            Op::Const(number) => Range::number(number),
            Op::Entry(Reg::R10) => Range::below(LOW),
            _ => self.ranges.get(value.index()).copied().flatten().unwrap_or(Range::FULL),
        }
    }

    /// The range of a value in a block.
    fn at(&self, func: &Func, id: BlockId, value: Val) -> Range {
        let mut range = self.anywhere(func, value);
        if !self.is_compared.get(value.index()).is_some_and(|compared| *compared) {
            return range;
        }
        let mut next = self.latest[id.index()];
        for _ in 0..MOST_STEPS {
            let Some(fact) = self.facts.get(next as usize) else { break };
            if fact.value == value {
                range = range.meet(fact.range);
            }
            next = fact.above;
        }
        range
    }

    fn compute(&self, func: &Func, id: BlockId, op: &Op) -> Range {
        let at = |value: Val| self.at(func, id, value);
        match *op {
            Op::Const(number) => Range::number(number),
            Op::Load { size, extend: Extend::Zero, .. } | Op::LoadAcquire { size, .. } => {
                Range::below(u64::MAX >> (64 - 8 * size.bytes()))
            }
            Op::Atomic { width, .. } => Range::below(of_width(width)),
            Op::Binary(bin, width, a, b) => Range::binary(bin, width, at(a), at(b)),
            Op::Unary(un, width, a) => Range::unary(un, width, at(a)),
            Op::Select(cond, width, [a, b, then, other]) => {
                let (mut yes, mut no) = (at(then), at(other));
                // A minimum or maximum.
                let (left, right) = Range::compared(cond, width, at(a), at(b));
                if then == a {
                    yes = left;
                } else if then == b {
                    yes = right;
                }
                if let Some(not) = negated(cond) {
                    let (left, right) = Range::compared(not, width, at(a), at(b));
                    if other == a {
                        no = left;
                    } else if other == b {
                        no = right;
                    }
                }
                yes.join(no)
            }
            _ => Range::FULL,
        }
    }
}

/// What has changed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Changed {
    Nothing,
    /// Values.
    Values,
    /// Where blocks lead: the dominators are the function's no longer.
    Edges,
}

/// Simplifies by ranges.
pub(crate) fn apply(func: &mut Func, dominators: &Dominators) -> Changed {
    let ranges = Ranges::new(func, dominators);
    let mut replaced: Vec<Val> = Vec::new();
    let mut replace = |func: &Func, value: Val, by: Val| {
        replaced.extend((replaced.len() as u32..func.nodes.len() as u32).map(Val));
        replaced[value.index()] = by;
    };
    let mut changed = Changed::Nothing;
    for &id in &dominators.order {
        for index in 0..func.blocks[id.index()].nodes.len() {
            let value = func.blocks[id.index()].nodes[index];
            let op = func.op(value);
            if !op.is_pure() {
                continue;
            }
            match simpler(func, &ranges, id, value, op) {
                Simpler::Same => {}
                Simpler::Op(op) => {
                    func.nodes[value.index()].op = op;
                    changed = changed.max(Changed::Values);
                }
                Simpler::Value(other) => replace(func, value, other),
                Simpler::Number(number) => {
                    let number = func.make_const(number);
                    replace(func, value, number);
                }
            }
        }
        changed = changed.max(branch(func, &ranges, id));
    }
    if !replaced.is_empty() {
        changed = changed.max(Changed::Values);
        replaced.extend((replaced.len() as u32..func.nodes.len() as u32).map(Val));
        cleanup::replace(func, &dominators.order, &mut replaced);
    }
    changed
}

enum Simpler {
    Same,
    Op(Op),
    Value(Val),
    Number(u64),
}

fn simpler(func: &Func, ranges: &Ranges<'_>, id: BlockId, value: Val, op: Op) -> Simpler {
    if let Some(number) = ranges.anywhere(func, value).constant()
        && matches!(op, Op::Binary(..) | Op::Unary(..) | Op::Select(..))
    {
        return Simpler::Number(number);
    }
    let at = |value: Val| ranges.at(func, id, value);
    match op {
        Op::Unary(Un::Zext, _, a) if at(a).max <= LOW => Simpler::Value(a),
        Op::Unary(Un::Sext32, _, a) if at(a).max < 0x8000_0000 => Simpler::Value(a),
        Op::Unary(Un::Sext16, _, a) if at(a).max < 0x8000 => Simpler::Value(a),
        Op::Unary(Un::Sext8, _, a) if at(a).max < 0x80 => Simpler::Value(a),
        Op::Binary(bin, width, a, b) => {
            let (x, y) = (at(a), at(b));
            binary(bin, width, (a, x), (b, y))
        }
        Op::Select(cond, width, [a, b, then, other]) => {
            match Range::decides(cond, width, at(a), at(b)) {
                Some(true) => Simpler::Value(then),
                Some(false) => Simpler::Value(other),
                None => Simpler::Same,
            }
        }
        _ => Simpler::Same,
    }
}

fn binary(bin: Bin, width: Width, (a, x): (Val, Range), (b, y): (Val, Range)) -> Simpler {
    let positive = x.low(width).is_positive(width) && y.low(width).is_positive(width);
    let small = width == Width::W64 && x.max <= LOW && y.max <= LOW;
    let fits = x.max <= of_width(width);
    match bin {
        Bin::And if fits && y.constant().is_some_and(|mask| x.bits & !mask == 0) => {
            Simpler::Value(a)
        }
        Bin::Mod if fits && y.max <= of_width(width) && x.max < y.min => Simpler::Value(a),
        Bin::Arsh if x.low(width).is_positive(width) => {
            Simpler::Op(Op::Binary(Bin::Rsh, width, a, b))
        }
        Bin::Sdiv if positive => Simpler::Op(Op::Binary(Bin::Div, width, a, b)),
        Bin::Smod if positive => Simpler::Op(Op::Binary(Bin::Mod, width, a, b)),
        Bin::Div | Bin::Mod if small => Simpler::Op(Op::Binary(bin, Width::W32, a, b)),
        _ => Simpler::Same,
    }
}

/// Decides or simplifies the branch at the end of a block.
fn branch(func: &mut Func, ranges: &Ranges<'_>, id: BlockId) -> Changed {
    let Term::Branch { cond, width, a, b, then, other } = &func.blocks[id.index()].term else {
        return Changed::Nothing;
    };
    let (x, y) = (ranges.at(func, id, *a), ranges.at(func, id, *b));
    if let Some(holds) = Range::decides(*cond, *width, x, y) {
        let Edge { to, args } = if holds { then } else { other }.clone();
        func.blocks[id.index()].term = Term::Jump(Edge { to, args });
        return Changed::Edges;
    }
    let positive = x.is_positive(*width) && y.is_positive(*width);
    let unsigned = match cond {
        Cond::Slt => Cond::Lt,
        Cond::Sle => Cond::Le,
        Cond::Sgt => Cond::Gt,
        Cond::Sge => Cond::Ge,
        _ => return Changed::Nothing,
    };
    if let (true, Term::Branch { cond, .. }) = (positive, &mut func.blocks[id.index()].term) {
        *cond = unsigned;
        return Changed::Values;
    }
    Changed::Nothing
}

impl Dominators {
    /// The block through which every way to another leads last.
    fn above(&self, id: BlockId) -> Option<BlockId> {
        let place = self.position[id.index()];
        if place == UNREACHED || place == 0 {
            return None;
        }
        self.order.get(self.idom[place as usize] as usize).copied()
    }
}
