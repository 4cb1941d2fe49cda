//! Rounds of a loop that cannot be the last: a copy of the loop without the tests that end it.
//!
//! In front of a loop that counts, it is known how many rounds take place at least: no fewer than
//! the bounds of its counters allow, nor than the fuel pays for. So many are made by a copy that
//! neither compares counters nor pays nor asks for fuel, several rounds at a time where they are
//! small; all of them are paid at once before. The loop itself makes the rest, which is why
//! nothing of it needs to be known exactly: a number too small is right, too.
//!
//! Where a round ends early for another reason, the copy pays back what it did not use and has
//! the loop make that round again from its start; stores must not come before such a test. When
//! the loop is given more fuel, it goes on by the copy again.

use std::collections::HashMap;

use skep_bpf::op::{Cond, Width};

use super::dominators::Dominators;
use super::hash::Fast;
use super::ir::{Bin, Block, BlockId, Edge, Func, Op, Term, Val};
use super::simplify::negated;

/// The most blocks of a loop.
const MOST_BLOCKS: usize = 12;
/// The most nodes of a loop.
const MOST_NODES: usize = 80;
/// The most nodes that the copies of a function have together.
const MOST_GROWTH: usize = 1200;
/// The fewest rounds that the copy is worth entering for.
const FEWEST_ROUNDS: u64 = 4;

/// How many rounds of so many nodes a copy makes at a time.
const fn at_a_time(nodes: usize) -> u64 {
    match nodes {
        0..=9 => 4,
        10..=18 => 2,
        _ => 1,
    }
}

/// Gives loops copies; true if there were any.
pub(crate) fn split(func: &mut Func, dominators: &Dominators, metered: bool) -> bool {
    let mut home = vec![None; func.nodes.len()];
    for &id in &dominators.order {
        let block = &func.blocks[id.index()];
        for value in block.params.iter().chain(&block.nodes) {
            home[value.index()] = Some(id);
        }
    }
    let mut found: Vec<Loop> = Vec::new();
    let mut growth = 0;
    for &head in &dominators.order {
        let Some(ring) = Loop::find(func, dominators, &home, head) else { continue };
        let times = at_a_time(ring.size);
        if !metered && times == 1 {
            continue;
        }
        growth += ring.size * times as usize;
        if growth > MOST_GROWTH {
            break;
        }
        found.push(ring);
    }
    for ring in &found {
        let since = func.nodes.len();
        Splitter { func, ring, metered, since }.split();
    }
    !found.is_empty()
}

/// A loop of blocks in a row, each of which goes on to the next or leaves the loop.
struct Loop {
    blocks: Vec<BlockId>,
    /// Its nodes that compute or access memory.
    size: usize,
    /// What a round pays.
    pays: i64,
    /// For each block, whether its branch compares a counter with a bound, and which.
    bounds: Vec<Option<Bound>>,
    /// The counter that tells rounds apart.
    counter: Counter,
}

/// A parameter of the head that each round adds a number to.
#[derive(Clone, Copy, Debug)]
struct Counter {
    index: usize,
    width: Width,
    step: i64,
}

/// Rounds go on while a counter plus a number compares with a value that does not change.
#[derive(Clone, Copy, Debug)]
struct Bound {
    counter: Counter,
    cond: Cond,
    width: Width,
    plus: u64,
    bound: Val,
}

impl Counter {
    /// The power of two that its step is at most, as an exponent.
    fn shift(self) -> u32 {
        self.step.unsigned_abs().next_power_of_two().trailing_zeros()
    }
}

impl Loop {
    fn find(
        func: &Func,
        dominators: &Dominators,
        home: &[Option<BlockId>],
        head: BlockId,
    ) -> Option<Loop> {
        let place = dominators.position[head.index()];
        let predecessors = dominators.predecessors(head);
        let mut back =
            predecessors.iter().copied().filter(|from| dominators.position[from.index()] >= place);
        let (latch, None) = (back.next()?, back.next()) else { return None };
        if !dominators.dominates(head, latch) || head == BlockId::ENTRY {
            return None;
        }
        // From the way back to the head: blocks in a row have one before them each.
        let mut blocks = vec![latch];
        while let Some(&last) = blocks.last()
            && last != head
        {
            let [from] = dominators.predecessors(last)[..] else { return None };
            if blocks.len() == MOST_BLOCKS || !func.blocks[last.index()].params.is_empty() {
                return None;
            }
            blocks.push(from);
        }
        blocks.reverse();
        let mut ring = Loop {
            bounds: vec![None; blocks.len()],
            blocks,
            size: 0,
            pays: 0,
            counter: Counter { index: 0, width: Width::W64, step: 0 },
        };
        let counters = ring.counters(func, latch);
        ring.see_ways(func, home, &counters)?;
        // A counter that others look at anyway costs least.
        let of_bound = ring.bounds.iter().flatten().map(|bound| bound.counter);
        let exact = |counter: &Counter| counter.step.unsigned_abs().is_power_of_two();
        ring.counter = of_bound.clone().find(exact)?;
        ring.see_nodes(func)?;
        Some(ring)
    }

    fn head(&self) -> BlockId {
        self.blocks[0]
    }

    fn latch(&self) -> BlockId {
        self.blocks[self.blocks.len() - 1]
    }

    /// The parameters of the head that count.
    fn counters(&self, func: &Func, latch: BlockId) -> HashMap<Val, Counter, Fast> {
        let mut counters = HashMap::default();
        let Some(edge) = back_edge(func, latch, self.head()) else { return counters };
        let params = &func.blocks[self.head().index()].params;
        for (index, (&param, &arg)) in params.iter().zip(&edge.args).enumerate() {
            if let Some((width, step)) = sum_with(func, arg, param) {
                let step = match width {
                    Width::W32 => i64::from(step as u32 as i32),
                    Width::W64 => step as i64,
                };
                if step != 0 && step.unsigned_abs() <= 1 << 16 {
                    counters.insert(param, Counter { index, width, step });
                }
            }
        }
        counters
    }

    /// Which of the branches compare counters; nothing if the loop goes two ways within itself.
    fn see_ways(
        &mut self,
        func: &Func,
        home: &[Option<BlockId>],
        counters: &HashMap<Val, Counter, Fast>,
    ) -> Option<()> {
        for index in 0..self.blocks.len() {
            let next = self.blocks.get(index + 1).copied().unwrap_or(self.head());
            let term = &func.blocks[self.blocks[index].index()].term;
            let Term::Branch { cond, width, a, b, then, other } = term else { continue };
            if then.to == other.to {
                return None;
            }
            let stays = if then.to == next { Some(*cond) } else { negated(*cond) };
            let Some(stays) = stays else { continue };
            let inside =
                |value: Val| home[value.index()].is_some_and(|at| self.blocks.contains(&at));
            self.bounds[index] = [(*a, stays, *b), (*b, super::simplify::exchanged(stays), *a)]
                .into_iter()
                .filter(|(_, _, bound)| !inside(*bound))
                .find_map(|(x, cond, bound)| {
                    let (counter, plus) = counted(func, counters, (x, *width))?;
                    let up = counter.step > 0;
                    let ends = match cond {
                        Cond::Ne => true,
                        Cond::Lt | Cond::Le | Cond::Slt | Cond::Sle => up,
                        Cond::Gt | Cond::Ge | Cond::Sgt | Cond::Sge => !up,
                        Cond::Eq | Cond::Set => false,
                    };
                    let same = counter.width == Width::W64 || *width == Width::W32;
                    (ends && same).then_some(Bound { counter, cond, width: *width, plus, bound })
                });
        }
        Some(())
    }

    /// What the nodes do; nothing if it cannot be done ahead or again.
    fn see_nodes(&mut self, func: &Func) -> Option<()> {
        let mut stored = false;
        for (index, id) in self.blocks.iter().enumerate() {
            let block = &func.blocks[id.index()];
            for value in &block.nodes {
                match func.op(*value) {
                    Op::Charge(count) | Op::ChargeAndCheck(count) if count >= 0 => {
                        self.pays += i64::from(count);
                        continue;
                    }
                    Op::Store { .. } => stored = true,
                    Op::Load { .. } => {}
                    op if op.is_pure() => {}
                    _ => return None,
                }
                self.size += 1;
            }
            let leaves = matches!(block.term, Term::Branch { .. }) && self.bounds[index].is_none();
            if leaves && stored || self.size > MOST_NODES {
                return None;
            }
        }
        Some(())
    }
}

/// The edge of a block to another.
fn back_edge(func: &Func, from: BlockId, to: BlockId) -> Option<&Edge> {
    func.blocks[from.index()].term.edges().find(|edge| edge.to == to)
}

/// The number that a sum adds to a value, and the width of the sum.
fn sum_with(func: &Func, sum: Val, value: Val) -> Option<(Width, u64)> {
    match func.op(sum) {
        Op::Binary(Bin::Add, width, x, number) if x == value => {
            Some((width, func.constant(number)?))
        }
        _ => None,
    }
}

/// A value as a comparison of a width sees it: a counter plus a number.
fn counted(
    func: &Func,
    counters: &HashMap<Val, Counter, Fast>,
    (value, width): (Val, Width),
) -> Option<(Counter, u64)> {
    if let Some(counter) = counters.get(&value) {
        return Some((*counter, 0));
    }
    let Op::Binary(Bin::Add, of, x, number) = func.op(value) else { return None };
    let counter = counters.get(&x)?;
    (of == width || width == Width::W32).then_some((*counter, func.constant(number)?))
}

struct Splitter<'a> {
    func: &'a mut Func,
    ring: &'a Loop,
    metered: bool,
    /// Nodes from here on belong to the copy.
    since: usize,
}

impl Splitter<'_> {
    fn split(&mut self) {
        let (head, latch) = (self.ring.head(), self.ring.latch());
        let copy = self.copy();
        let guard = self.guard(copy);
        for block in 0..guard.index() {
            // Ways into the loop; those of the copy lead on to the loop itself.
            if block == latch.index() || block >= copy.index() {
                continue;
            }
            for edge in self.func.blocks[block].term.edges_mut().filter(|edge| edge.to == head) {
                edge.to = guard;
            }
        }
        if self.metered {
            self.come_back(copy);
        }
    }

    fn add(&mut self, block: BlockId, op: Op) -> Val {
        let pc = self.func.blocks[block.index()].pc;
        let value = self.func.make(op, pc);
        if !matches!(op, Op::Const(_)) {
            self.func.blocks[block.index()].nodes.push(value);
        }
        value
    }

    fn binary(&mut self, block: BlockId, bin: Bin, width: Width, a: Val, b: Val) -> Val {
        self.add(block, Op::Binary(bin, width, a, b))
    }

    fn number(&mut self, number: u64) -> Val {
        self.func.make_const(number)
    }

    fn block(&mut self, pc: u32) -> BlockId {
        let term = Term::Unsupported { pc: skep_bpf::program::Pc::from_index(pc as usize) };
        let block = Block { params: Vec::new(), nodes: Vec::new(), term, pc };
        self.func.blocks.push(block);
        BlockId(self.func.blocks.len() as u32 - 1)
    }

    /// A block with the parameters of the loop's head, and one more if asked.
    fn like_head(&mut self, more: usize) -> (BlockId, Vec<Val>) {
        let head = &self.func.blocks[self.ring.head().index()];
        let (pc, count) = (head.pc, head.params.len() + more);
        let id = self.block(pc);
        let params: Vec<Val> = (0..count).map(|_| self.func.make(Op::Param, pc)).collect();
        self.func.blocks[id.index()].params.clone_from(&params);
        (id, params)
    }

    /// The loop without its ends: as many rounds as are made at a time, one behind the other. Its
    /// parameters are the loop's and the value of the main counter at which the copy ends.
    fn copy(&mut self) -> BlockId {
        let (id, params) = self.like_head(1);
        let (first, last) = (self.ring.head(), params[params.len() - 1]);
        let mut now: Vec<Val> = params[..params.len() - 1].to_vec();
        let mut at = id;
        for _ in 0..at_a_time(self.ring.size) {
            (at, now) = self.round(at, now, last);
        }
        let Counter { index, width, .. } = self.ring.counter;
        let mut again = now.clone();
        again.push(last);
        self.func.blocks[at.index()].term = Term::Branch {
            cond: Cond::Ne,
            width,
            a: now[index],
            b: last,
            then: Edge { to: id, args: again },
            other: Edge { to: first, args: now },
        };
        id
    }

    /// One round: the block that it ends in and the values for the next.
    fn round(&mut self, start: BlockId, now: Vec<Val>, last: Val) -> (BlockId, Vec<Val>) {
        let ring = self.ring;
        let mut values: HashMap<Val, Val, Fast> = HashMap::default();
        let params = self.func.blocks[ring.head().index()].params.clone();
        values.extend(params.iter().copied().zip(now.iter().copied()));
        let mut at = start;
        for (index, &id) in ring.blocks.iter().enumerate() {
            for value in self.func.blocks[id.index()].nodes.clone() {
                let node = self.func.nodes[value.index()];
                if matches!(node.op, Op::Charge(_) | Op::ChargeAndCheck(_)) {
                    continue;
                }
                let op = node.op.map_operands(|used| *values.get(&used).unwrap_or(&used));
                let op = self.since_start(op);
                let new = self.func.make(op, node.pc);
                self.func.blocks[at.index()].nodes.push(new);
                values.insert(value, new);
            }
            let mut term = self.func.blocks[id.index()].term.clone();
            term.map_uses(|used| *values.get(&used).unwrap_or(&used));
            if ring.bounds[index].is_none() && matches!(term, Term::Branch { .. }) {
                at = self.leave(at, index, term, &now, last);
            }
        }
        let edge = back_edge(self.func, ring.latch(), ring.head());
        let args = edge.map_or(&[][..], |edge| &edge.args);
        (at, args.iter().map(|arg| *values.get(arg).unwrap_or(arg)).collect())
    }

    /// A sum with a number, made of what the rounds before started from instead of their sums.
    fn since_start(&mut self, op: Op) -> Op {
        let Op::Binary(Bin::Add, width, a, b) = op else { return op };
        let (Some(number), Op::Binary(Bin::Add, of, x, y)) =
            (self.func.constant(b), self.func.op(a))
        else {
            return op;
        };
        let Some(before) = self.func.constant(y).filter(|_| of == width && a.index() >= self.since)
        else {
            return op;
        };
        let sum = self.number(Bin::Add.eval(width, before, number));
        Op::Binary(Bin::Add, width, x, sum)
    }

    /// Ends a block where a round may end early; the block that it goes on in.
    fn leave(
        &mut self,
        at: BlockId,
        index: usize,
        mut term: Term,
        now: &[Val],
        last: Val,
    ) -> BlockId {
        let pc = self.func.blocks[at.index()].pc;
        let (on, side) = (self.block(pc), self.block(pc));
        let next = self.ring.blocks.get(index + 1).copied().unwrap_or(self.ring.head());
        for edge in term.edges_mut() {
            edge.to = if edge.to == next { on } else { side };
            edge.args.clear();
        }
        self.func.blocks[at.index()].term = term;
        if self.metered {
            let Counter { index, width, step } = self.ring.counter;
            let (more, less) = if step > 0 { (last, now[index]) } else { (now[index], last) };
            let left = self.binary(side, Bin::Sub, width, more, less);
            let shift = self.number(self.ring.counter.shift().into());
            let rounds = self.binary(side, Bin::Rsh, width, left, shift);
            let each = self.number(self.ring.pays.wrapping_neg() as u64);
            let amount = self.binary(side, Bin::Mul, Width::W64, rounds, each);
            self.add(side, Op::ChargeBy(amount));
        }
        let to = self.ring.head();
        self.func.blocks[side.index()].term = Term::Jump(Edge { to, args: now.to_vec() });
        on
    }

    /// Decides how many rounds the copy makes, pays for them and enters it; or enters the loop.
    fn guard(&mut self, copy: BlockId) -> BlockId {
        let ring = self.ring;
        let (id, params) = self.like_head(0);
        let mut most: Option<Val> = None;
        for bound in ring.bounds.iter().flatten() {
            let rounds = self.rounds(id, bound, params[bound.counter.index]);
            most = Some(self.least(id, most, rounds));
        }
        if self.metered && ring.pays > 0 {
            let fuel = self.add(id, Op::Fuel);
            let shift = (ring.pays as u64).next_power_of_two().trailing_zeros();
            let shift = self.number(shift.into());
            let rounds = self.binary(id, Bin::Arsh, Width::W64, fuel, shift);
            most = Some(self.least(id, most, rounds));
        }
        let times = at_a_time(ring.size);
        let Some(most) = most else { return ring.head() };
        let enters = self.block(self.func.blocks[id.index()].pc);
        let fewest = self.number(FEWEST_ROUNDS.max(times));
        self.func.blocks[id.index()].term = Term::Branch {
            cond: Cond::Sge,
            width: Width::W64,
            a: most,
            b: fewest,
            then: Edge { to: enters, args: Vec::new() },
            other: Edge { to: ring.head(), args: params.clone() },
        };
        let mask = self.number(times.wrapping_neg());
        let rounds = self.binary(enters, Bin::And, Width::W64, most, mask);
        if self.metered {
            let each = self.number(ring.pays as u64);
            let amount = self.binary(enters, Bin::Mul, Width::W64, rounds, each);
            self.add(enters, Op::ChargeBy(amount));
        }
        let Counter { index, width, step } = ring.counter;
        let step = self.number(step as u64);
        let way = self.binary(enters, Bin::Mul, width, rounds, step);
        let last = self.binary(enters, Bin::Add, width, params[index], way);
        let mut args = params;
        args.push(last);
        self.func.blocks[enters.index()].term = Term::Jump(Edge { to: copy, args });
        id
    }

    /// How many rounds a bound allows at least, from a value of its counter on. A number that
    /// looks negative is too large to be counted, and none.
    fn rounds(&mut self, block: BlockId, bound: &Bound, counter: Val) -> Val {
        let Bound { cond, width, plus, bound: limit, .. } = *bound;
        let plus = self.number(plus);
        let first = self.binary(block, Bin::Add, width, counter, plus);
        let (more, less) = if bound.counter.step > 0 { (limit, first) } else { (first, limit) };
        let way = self.binary(block, Bin::Sub, width, more, less);
        let shift = self.number(bound.counter.shift().into());
        let rounds = self.binary(block, Bin::Rsh, width, way, shift);
        if cond == Cond::Ne {
            return rounds;
        }
        let none = self.number(0);
        self.add(block, Op::Select(cond, width, [first, limit, rounds, none]))
    }

    fn least(&mut self, block: BlockId, a: Option<Val>, b: Val) -> Val {
        let Some(a) = a else { return b };
        self.add(block, Op::Select(Cond::Slt, Width::W64, [a, b, a, b]))
    }

    /// Has the loop go on by the copy when it was given fuel: its check becomes a test and, where
    /// the fuel is used up, a block of its own.
    fn come_back(&mut self, copy: BlockId) {
        let latch = self.ring.latch();
        let nodes = &self.func.blocks[latch.index()].nodes;
        let Some(&check) = nodes.last() else { return };
        let Op::ChargeAndCheck(count) = self.func.op(check) else { return };
        let Term::Jump(edge) = self.func.blocks[latch.index()].term.clone() else { return };
        let pc = self.func.nodes[check.index()].pc;
        self.func.nodes[check.index()].op = Op::Charge(count);
        let asks = self.block(pc);
        let again = self.guard(copy);
        let ask = self.func.make(Op::ChargeAndCheck(0), pc);
        self.func.blocks[asks.index()].nodes.push(ask);
        self.func.blocks[asks.index()].term =
            Term::Jump(Edge { to: again, args: edge.args.clone() });
        let fuel = self.func.make(Op::Fuel, pc);
        self.func.blocks[latch.index()].nodes.push(fuel);
        let zero = self.number(0);
        self.func.blocks[latch.index()].term = Term::Branch {
            cond: Cond::Slt,
            width: Width::W64,
            a: fuel,
            b: zero,
            then: Edge { to: asks, args: Vec::new() },
            other: edge,
        };
    }
}
