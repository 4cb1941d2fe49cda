//! The walk over all paths: order, checkpoints, pruning, budgets.
//!
//! Depth first; at an undecided branch the fall-through side goes on and the other one waits. A
//! state is remembered at a prune point if enough jumps and instructions lie behind the last one,
//! and forgotten if it rarely covers others. These rules are Linux 6.18's (`is_state_visited`):
//! they decide how many instructions are walked, and so which programs exceed the budget.

use crate::check::iterator::turns_differ;
use crate::compare::{Comparison, Mode, counterparts};
use crate::history::replay::{Replay, Trail, Trails};
use crate::ids::IdMap;
use crate::input::Input;
use crate::loops::{Cycle, Visits, cycle_of, same_callsites};
use crate::observe::{Event, Observed};
use crate::precision::{Node, Nodes};
use crate::rejection::{Check, Decision, Fault, Rejection, Rule, fault};
use crate::stack_liveness::StackLiveness;
use crate::state::State;
use crate::state::frame::{Entered, Frame};
use crate::state::value::{Kind, Value};
use crate::structure::Code;
use crate::verified::{Region, Stats};
use skep_bpf::codec::SlotIndex;
use skep_bpf::insn::{Insn, Reg};
use std::collections::HashMap;
use std::rc::Rc;

/// Where a path goes after an instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// To the next instruction.
    Next,
    /// To a slot.
    Jump(usize),
    /// Nowhere: the program ends.
    End,
}

/// The part of a path that is its own: what is known, and how it came there.
#[derive(Clone)]
struct Path {
    state: State,
    at: usize,
    /// The last checkpoint.
    parent: Option<usize>,
    /// The last decision, an index into `Walk::decisions`.
    decision: Option<usize>,
    /// Entries of the kernel's history of the path since the last checkpoint.
    history: u32,
    /// How the path can be walked again.
    trail: Trail,
}

/// A remembered state.
struct Checkpoint {
    /// None once it was forgotten and no path needs it.
    state: Option<State>,
    parent: Option<usize>,
    /// Paths from here that have not ended.
    branches: u32,
    hits: u32,
    misses: u32,
    listed: bool,
    /// Whether slots that never mattered were forgotten.
    cleaned: bool,
    /// The cycle of the code that it lies in.
    cycle: Option<Cycle>,
}

/// A verification in progress.
pub(crate) struct Walk<'a> {
    pub(crate) input: &'a Input<'a>,
    pub(crate) code: Rc<Code>,
    pub(crate) nodes: Nodes,
    pub(crate) state: State,
    pub(crate) at: usize,
    /// How often each instruction was walked.
    pub(crate) visits: Vec<u32>,
    pub(crate) regions: Vec<Option<Region>>,
    /// The kind of pointer that each load and store went through.
    pub(crate) pointer_kinds: Vec<Option<Kind>>,
    /// Bytes of stack that each function uses.
    pub(crate) stack_bytes: Vec<u32>,
    pub(crate) liveness: StackLiveness,
    parent: Option<usize>,
    decision: Option<usize>,
    history: u32,
    history_at: u64,
    pending: Vec<Path>,
    checkpoints: Vec<Checkpoint>,
    /// Checkpoints by slot and call site of the active function, the latest last.
    by_place: HashMap<(usize, usize), Vec<usize>>,
    decisions: Vec<(Option<usize>, Decision)>,
    visited_cycles: Visits,
    ids: IdMap,
    last_id: u32,
    insns_processed: u64,
    jumps_processed: u64,
    insns_at_checkpoint: u64,
    jumps_at_checkpoint: u64,
    remembered: u64,
    lingering: u64,
    stats: Stats,
    observer: Option<&'a mut Observer<'a>>,
    /// Global functions that were called, and those that were verified.
    pub(crate) called: Vec<bool>,
    /// Functions that the kernel calls after the program, by their place in the code.
    pub(crate) called_later: Vec<bool>,
    verified: Vec<bool>,
    pub(crate) trail: Trail,
    pub(crate) trails: Trails,
    /// Where the walk began.
    pub(crate) start: Option<(State, usize)>,
    /// Set while a path is walked again.
    pub(crate) replay: Option<Replay>,
}

/// Who watches a walk.
pub(crate) type Observer<'a> = dyn FnMut(&Observed<'_>) + 'a;

impl<'a> Walk<'a> {
    /// A walk that begins at the main function.
    pub(crate) fn new(
        input: &'a Input<'a>,
        code: Code,
        observer: Option<&'a mut Observer<'a>>,
    ) -> Walk<'a> {
        let mut frame = Frame::new(0, 0, 0, 0);
        frame.set(Reg::R1, Value::pointer(Kind::Context));
        let len = code.slots.len();
        let functions = code.functions.len();
        let liveness = StackLiveness::new(&code, 0);
        Walk {
            input,
            liveness,
            code: Rc::new(code),
            nodes: Nodes::new(),
            state: State::new(frame, input.sleepable),
            at: 0,
            visits: vec![0; len],
            regions: vec![None; len],
            pointer_kinds: vec![None; len],
            stack_bytes: vec![0; functions],
            parent: None,
            decision: None,
            history: 0,
            history_at: 0,
            pending: Vec::new(),
            checkpoints: Vec::new(),
            by_place: HashMap::new(),
            decisions: Vec::new(),
            visited_cycles: Visits::default(),
            ids: IdMap::default(),
            last_id: 0,
            insns_processed: 0,
            jumps_processed: 0,
            insns_at_checkpoint: 0,
            jumps_at_checkpoint: 0,
            remembered: 0,
            lingering: 0,
            stats: Stats::default(),
            observer,
            called: vec![false; functions],
            called_later: vec![false; functions],
            verified: vec![false; functions],
            trail: Trail::default(),
            trails: Trails::default(),
            start: None,
            replay: None,
        }
    }

    /// Walks the main function and then every global function that was called.
    pub(crate) fn run(&mut self) -> Check {
        self.walk()?;
        while let Some(function) = self.next_function() {
            self.verified[function] = true;
            self.begin(function)?;
            self.walk()?;
        }
        Ok(())
    }

    fn next_function(&self) -> Option<usize> {
        let mut functions = 0..self.called.len();
        functions.find(|&function| self.called[function] && !self.verified[function])
    }

    /// Goes to the start of a global function, with whatever its type allows as arguments.
    fn begin(&mut self, function: usize) -> Check {
        let mut frame = Frame::new(0, 0, function, 0);
        self.set_parameters(function, &mut frame)?;
        self.state = State::new(frame, self.input.sleepable);
        self.visited_cycles = Visits::default();
        self.at = self.code.functions[function].entry;
        self.parent = None;
        self.decision = None;
        self.history = 0;
        self.history_at = 0;
        self.pending.clear();
        self.checkpoints.clear();
        self.by_place.clear();
        self.remembered = 0;
        self.lingering = 0;
        self.liveness = StackLiveness::new(&self.code, function);
        Ok(())
    }

    /// Walks all paths from here.
    fn walk(&mut self) -> Check {
        self.start = Some((self.state.clone(), self.at));
        self.trail = Trail::default();
        loop {
            self.insns_processed += 1;
            if self.insns_processed > self.input.profile.max_insns {
                return fault(
                    Rule::Budget,
                    format!("BPF program is too large. Processed {} insn", self.insns_processed),
                );
            }
            if self.code.prune_points[self.at] && self.is_covered()? {
                self.observe(Event::Covered, self.at);
                if !self.next_path() {
                    return Ok(());
                }
                continue;
            }
            if self.code.history_points[self.at] {
                self.note_history();
            }
            self.visits[self.at] = self.visits[self.at].saturating_add(1);
            self.trail.step();
            self.observe(Event::Before, self.at);
            let instance = self.state.top().instance;
            let step = self.step()?;
            self.liveness.finish(instance, self.at);
            if step != Step::End {
                self.observe(Event::After, self.at);
            }
            match step {
                Step::Next => {
                    self.at += if self.code.slots[self.at].is_wide() { 2 } else { 1 };
                }
                Step::Jump(target) => self.at = target,
                Step::End => {
                    if !self.next_path() {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// The numbers of the walk so far.
    pub(crate) fn stats(&self) -> Stats {
        Stats { insns_processed: self.insns_processed, ..self.stats }
    }

    /// A broken rule with its place and path.
    pub(crate) fn reject(&self, fault: Fault, at: Option<usize>) -> Rejection {
        let mut path = Vec::new();
        let mut next = self.decision;
        while let Some(index) = next {
            let (before, decision) = self.decisions[index];
            path.push(decision);
            next = before;
        }
        path.reverse();
        let cause = self.cause(&fault, at);
        Rejection {
            rule: fault.rule,
            message: fault.message,
            details: fault.details,
            at: at.map(SlotIndex),
            path,
            focus: cause.focus,
            related: cause.related,
            stats: self.stats(),
        }
    }

    /// Where states are remembered, once for each.
    pub(crate) fn remembered_places(&self) -> impl Iterator<Item = usize> {
        self.by_place.iter().flat_map(|((at, _), list)| list.iter().map(|_| *at))
    }

    /// Whether a path went either way here.
    pub(crate) fn is_fork(&self, at: usize) -> bool {
        self.decisions.iter().any(|(_, decision)| decision.at.0 == at)
    }

    /// An id that nothing has.
    pub(crate) fn new_id(&mut self) -> u32 {
        self.last_id += 1;
        self.last_id
    }

    /// Counts a jump instruction.
    pub(crate) fn count_jump(&mut self) {
        self.jumps_processed += 1;
    }

    /// Counts an entry of the path's history, at most one for each instruction.
    pub(crate) fn note_history(&mut self) {
        if self.history_at != self.insns_processed {
            self.history_at = self.insns_processed;
            self.history += 1;
        }
    }

    /// Notes which way an undecided branch goes on this path.
    pub(crate) fn decide(&mut self, taken: bool) {
        let decision = Decision { at: SlotIndex(self.at), taken };
        self.decisions.push((self.decision, decision));
        self.decision = Some(self.decisions.len() - 1);
    }

    /// Lets a state wait to be walked from a slot; `taken` notes the decision that leads there.
    pub(crate) fn push(&mut self, state: State, at: usize, taken: Option<bool>) -> Check {
        if let Some(replay) = &mut self.replay {
            replay.offer(&mut self.trail, state, at);
            return Ok(());
        }
        if self.pending.len() >= self.input.profile.max_pending {
            return fault(
                Rule::Budget,
                format!("The sequence of {} jumps is too complex.", self.pending.len() + 1),
            );
        }
        let decision = match taken {
            Some(taken) => {
                let decision = Decision { at: SlotIndex(self.at), taken };
                self.decisions.push((self.decision, decision));
                Some(self.decisions.len() - 1)
            }
            None => self.decision,
        };
        if let Some(parent) = self.parent {
            self.checkpoints[parent].branches += 1;
        }
        let (parent, history) = (self.parent, self.history);
        let trail = self.trails.fork(&mut self.trail);
        self.pending.push(Path { state, at, parent, decision, history, trail });
        self.observe(Event::Waiting, self.at);
        Ok(())
    }

    /// Lets a function that the kernel calls later wait to be walked: no path leads there.
    pub(crate) fn push_entry(&mut self, state: State, at: usize) -> Check {
        let parent = self.parent.take();
        let pushed = self.push(state, at, None);
        self.parent = parent;
        if let Some(path) = self.pending.last_mut() {
            path.history = 0;
        }
        pushed
    }

    /// Ends this path and takes up a waiting one; false if there is none.
    fn next_path(&mut self) -> bool {
        let mut parent = self.parent;
        while let Some(index) = parent {
            let checkpoint = &mut self.checkpoints[index];
            checkpoint.branches -= 1;
            if checkpoint.branches > 0 {
                break;
            }
            parent = checkpoint.parent;
            if let Some(cycle) = &checkpoint.cycle {
                self.visited_cycles.leave(cycle, index);
            }
            if !checkpoint.listed {
                checkpoint.state = None;
                self.lingering -= 1;
            }
        }
        let Some(path) = self.pending.pop() else { return false };
        self.state = path.state;
        self.at = path.at;
        self.parent = path.parent;
        self.decision = path.decision;
        self.history = path.history;
        self.trail = path.trail;
        self.history_at = 0;
        self.observe(Event::Resumed, self.at);
        true
    }

    fn observe(&mut self, event: Event, at: usize) {
        if let Some(observer) = &mut self.observer {
            let (state, maps, nodes) = (&self.state, self.input.maps, &self.nodes);
            let kernel = self.input.kernel;
            observer(&Observed { event, at, state, maps, nodes, kernel });
        }
    }

    /// Whether the state here is covered by one that was proved; else it may be remembered.
    fn is_covered(&mut self) -> Check<bool> {
        let jumps = self.jumps_processed - self.jumps_at_checkpoint;
        let insns = self.insns_processed - self.insns_at_checkpoint;
        let force_here = self.code.force_points[self.at];
        let force = self.input.profile.checkpoint_everywhere || force_here || self.history > 40;
        let mut add = force || (jumps >= 2 && insns >= 8);
        let place = (self.at, self.state.top().callsite);
        let mut list = self.by_place.remove(&place).unwrap_or_default();
        let remembered_here = list.len() as u64;
        let mut covered = false;
        let mut looping = false;
        // The latest first.
        for position in (0..list.len()).rev() {
            let index = list[position];
            let walked_out = self.checkpoints[index].branches == 0;
            covered = if walked_out { self.covers(index) } else { self.closes_loop(index) };
            if covered {
                self.checkpoints[index].hits += 1;
                break;
            }
            if !walked_out {
                if self.may_loop(index) && self.is_same(index) {
                    looping = true;
                    break;
                }
                if !force && jumps < 20 && insns < 100 {
                    add = false;
                }
            }
            let checkpoint = &mut self.checkpoints[index];
            checkpoint.misses += u32::from(add);
            let patience = if force_here && !walked_out { 64 } else { 3 };
            if checkpoint.misses > checkpoint.hits * patience + patience {
                checkpoint.listed = false;
                if checkpoint.branches == 0 {
                    checkpoint.state = None;
                } else {
                    self.lingering += 1;
                }
                self.remembered -= 1;
                list.remove(position);
            }
        }
        if looping {
            return fault(
                Rule::InfiniteLoop,
                format!("infinite loop detected at insn {}", self.at),
            );
        }
        if !covered {
            let most = &mut self.stats.max_states_per_insn;
            *most = remembered_here.max(*most);
            if add {
                list.push(self.remember());
            }
        }
        self.by_place.insert(place, list);
        Ok(covered)
    }

    /// Once all that is read on the paths from a checkpoint is known: forgets what is not. Within a
    /// cycle it is known when the walk has left that.
    fn forget_dead_slots(&mut self, index: usize) {
        let checkpoint = &mut self.checkpoints[index];
        let cycle = checkpoint.cycle.as_ref();
        if cycle.is_some_and(|cycle| self.visited_cycles.is_incomplete(cycle)) {
            return;
        }
        if !core::mem::replace(&mut checkpoint.cleaned, true)
            && let Some(state) = &mut checkpoint.state
        {
            state.drop_dead_slots(&self.code, &self.liveness, self.at);
        }
    }

    fn compare(&mut self, index: usize, mode: Mode) -> bool {
        let Some(old) = &self.checkpoints[index].state else { return false };
        self.ids.reset(self.last_id);
        let mut comparison =
            Comparison { code: &self.code, nodes: &self.nodes, ids: &mut self.ids, mode };
        comparison.states(old, &self.state, self.at)
    }

    /// Whether coming here again in the same state would be a loop that never ends.
    fn may_loop(&self, index: usize) -> bool {
        let is_step = self.code.is_iterator_step(self.at) || self.code.calls_back(self.at);
        !is_step && !self.is_other_entry(index)
    }

    /// Whether a checkpoint is of another entry of a function that the kernel calls later.
    fn is_other_entry(&self, index: usize) -> bool {
        let old = self.checkpoints[index].state.as_ref().map(|old| old.top().entered);
        matches!(old, Some(Entered::Later(_))) && old != Some(self.state.top().entered)
    }

    /// Whether a checkpoint on the way here is the same state: a loop without progress.
    fn is_same(&mut self, index: usize) -> bool {
        let Some(old) = &self.checkpoints[index].state else { return false };
        let same_but_for_nodes = |(a, b): (&Value, &Value)| {
            let a = Value { node: b.node, ..*a };
            a == *b
        };
        let registers = old.top().regs().iter().zip(self.state.top().regs());
        old.frames.len() == self.state.frames.len()
            && registers.into_iter().all(same_but_for_nodes)
            && old.may_goto == self.state.may_goto
            && old.callbacks == self.state.callbacks
            && !turns_differ(old, &self.state)
            && self.compare(index, Mode::Exact)
    }

    /// Whether a checkpoint whose paths have ended covers the state; if so, what matters there
    /// matters here.
    fn covers(&mut self, index: usize) -> bool {
        if !self.input.profile.pruning {
            return false;
        }
        let cycle = self.checkpoints[index].cycle.as_ref();
        if cycle.is_some_and(|cycle| self.visited_cycles.is_incomplete(cycle)) {
            return self.closes(index);
        }
        self.forget_dead_slots(index);
        if !self.compare(index, Mode::Covers) {
            return false;
        }
        for [old, current] in self.counterparts(index) {
            if self.nodes.is_precise(old) {
                self.nodes.mark(current);
            }
        }
        true
    }

    /// Whether a checkpoint on the way here covers the state, in a loop that ends so.
    fn closes_loop(&mut self, index: usize) -> bool {
        let turns = self.checkpoints[index].state.as_ref().map(|old| old.may_goto);
        let is_may_goto = matches!(self.code.insn(self.at), Some(Insn::MayGoto { .. }));
        let may_close = if self.is_other_entry(index) {
            false
        } else if self.code.is_iterator_step(self.at) {
            self.is_active_iterator()
        } else if is_may_goto {
            turns != Some(self.state.may_goto)
        } else {
            self.code.calls_back(self.at)
        };
        may_close && self.closes(index)
    }

    /// Whether a checkpoint in a cycle that the walk has not left covers the state; if so, what
    /// will matter there matters here.
    fn closes(&mut self, index: usize) -> bool {
        if !self.compare(index, Mode::CoversAll) {
            return false;
        }
        for [old, current] in self.counterparts(index) {
            self.nodes.depend(old, current);
        }
        if let Some(cycle) = self.checkpoints[index].cycle.clone() {
            self.visited_cycles.close(cycle);
        }
        true
    }

    fn counterparts(&self, index: usize) -> Vec<[Node; 2]> {
        let old = self.checkpoints[index].state.as_ref();
        old.map_or(Vec::new(), |old| counterparts(&self.code, old, &self.state, self.at))
    }

    /// The latest state at this instruction, in an earlier turn of a loop on the way here.
    pub(crate) fn earlier_turn(&self) -> Option<&State> {
        self.state_on_the_way(self.at, self.parent)
    }

    /// The latest state at an instruction on the way here, which is not at a checkpoint.
    pub(crate) fn state_on_the_way(&self, at: usize, not: Option<usize>) -> Option<&State> {
        let list = self.by_place.get(&(at, self.state.top().callsite))?;
        let open = |index: &&usize| Some(**index) != not && self.checkpoints[**index].branches > 0;
        let states = list.iter().rev().filter(open);
        let mut states = states.filter_map(|index| self.checkpoints[*index].state.as_ref());
        states.find(|state| same_callsites(state, &self.state))
    }

    /// Remembers the state here; its numbers count as not mattering until they do.
    fn remember(&mut self) -> usize {
        for frame in &mut self.state.frames {
            frame.checkpoint(&mut self.nodes);
        }
        let cycle = cycle_of(&self.code, &self.state, self.at);
        if let Some(cycle) = &cycle {
            self.visited_cycles.enter(cycle.clone(), self.checkpoints.len());
        }
        self.checkpoints.push(Checkpoint {
            cycle,
            state: Some(self.state.clone()),
            parent: self.parent,
            branches: 1,
            hits: 0,
            misses: 0,
            listed: true,
            cleaned: false,
        });
        let index = self.checkpoints.len() - 1;
        self.parent = Some(index);
        self.history = 0;
        self.jumps_at_checkpoint = self.jumps_processed;
        self.insns_at_checkpoint = self.insns_processed;
        self.remembered += 1;
        self.stats.total_states += 1;
        self.stats.peak_states = self.stats.peak_states.max(self.remembered + self.lingering);
        index
    }
}
