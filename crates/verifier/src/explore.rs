//! The walk over all paths: order, decisions, budgets.
//!
//! Depth first; at an undecided branch the fall-through side goes on and the other one waits. What
//! is remembered of the paths walked, and ends others, is in [`crate::checkpoints`]. The order is
//! Linux 6.18's (`do_check`): it decides how many instructions are walked, and so which programs
//! exceed the budget.

use crate::check::allocated_types::AllocatedTypes;
use crate::check::callback::Callback;
use crate::checkpoints::Checkpoints;
use crate::history::replay::{Replay, Trail, Trails};
use crate::input::Input;
use crate::observe::{Event, Observed};
use crate::precision::Nodes;
use crate::rejection::{Check, Decision, Fault, Rejection, Rule, fault};
use crate::stack_liveness::StackLiveness;
use crate::state::State;
use crate::state::frame::Frame;
use crate::state::value::{Kind, Value};
use crate::structure::Code;
use crate::verified::{Region, Stats};
use skep_bpf::codec::SlotIndex;
use skep_bpf::insn::Reg;
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
pub(crate) struct Path {
    pub(crate) state: State,
    pub(crate) at: usize,
    /// The last checkpoint.
    pub(crate) parent: Option<usize>,
    /// The last decision, an index into `Walk::decisions`.
    decision: Option<usize>,
    /// Entries of the kernel's history of the path since the last checkpoint.
    history: u32,
    /// How the path can be walked again.
    trail: Trail,
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
    pub(crate) parent: Option<usize>,
    decision: Option<usize>,
    pub(crate) history: u32,
    history_at: u64,
    pending: Vec<Path>,
    pub(crate) checkpoints: Checkpoints,
    decisions: Vec<(Option<usize>, Decision)>,
    pub(crate) last_id: u32,
    pub(crate) insns_processed: u64,
    pub(crate) jumps_processed: u64,
    pub(crate) insns_at_checkpoint: u64,
    pub(crate) jumps_at_checkpoint: u64,
    pub(crate) stats: Stats,
    observer: Option<&'a mut Observer<'a>>,
    /// Global functions that were called, and those that were verified.
    pub(crate) called: Vec<bool>,
    /// What was found out about the types of objects that the program allocates.
    pub(crate) allocated_types: AllocatedTypes,
    /// Functions that helpers call back, and when, by their place in the code.
    pub(crate) callbacks: Vec<Option<Callback>>,
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
            checkpoints: Checkpoints::new(len),
            decisions: Vec::new(),
            last_id: 0,
            insns_processed: 0,
            jumps_processed: 0,
            insns_at_checkpoint: 0,
            jumps_at_checkpoint: 0,
            stats: Stats::default(),
            observer,
            called: vec![false; functions],
            allocated_types: AllocatedTypes::default(),
            callbacks: vec![None; functions],
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
        self.observe(Event::Finished, self.at);
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
        self.at = self.code.functions[function].entry;
        self.parent = None;
        self.decision = None;
        self.history = 0;
        self.history_at = 0;
        self.pending.clear();
        self.checkpoints = Checkpoints::new(self.code.slots.len());
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
                    return self.check_settled();
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
            self.liveness.finish(&self.code.edges, instance, self.at);
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
                        return self.check_settled();
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
            self.checkpoints.add_branch(parent);
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

    /// The path here.
    pub(crate) fn path_here(&self) -> Path {
        let (at, parent, decision) = (self.at, self.parent, self.decision);
        let (history, trail) = (self.history, self.trail);
        Path { state: self.state.clone(), at, parent, decision, history, trail }
    }

    /// Lets a path wait that had ended.
    pub(crate) fn wait(&mut self, path: Path) {
        self.pending.push(path);
    }

    /// Ends this path and takes up a waiting one; false if there is none.
    fn next_path(&mut self) -> bool {
        self.end_path();
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
            let live = self.code.live.get(at).copied().unwrap_or(u16::MAX);
            observer(&Observed { event, at, state, maps, nodes, live, kernel });
        }
    }
}
