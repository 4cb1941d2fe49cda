//! Which slots of the stack may still be read, learnt while walking.
//!
//! A chain of calls has, for each of its functions' instructions and frames, the slots that were
//! read there on some visit and those that were written whole on every visit. A slot is live
//! before an instruction if it is read there, or live after it and not written. Once all paths
//! from a state have ended, all that they read is known: what is not live then never mattered.
//! What a callee reads of its callers' frames counts as read at the call. (Linux 6.18,
//! `kernel/bpf/liveness.c`.)

use crate::state::MAX_FRAMES;
use crate::structure::Code;
use std::collections::HashMap;

/// A set of slots, bit n for the slot at -8(n + 1).
type Slots = u64;

/// What one instruction does to one frame's stack.
#[derive(Clone, Copy, Default)]
struct Marks {
    reads: Slots,
    writes: Slots,
    /// Live before the instruction.
    live: Slots,
}

/// The instruction was visited.
const VISITED: u8 = 1;
/// A visit may still take a write away.
const WRITES: u8 = 2;

/// A function in a chain of calls.
struct Instance {
    /// The calling instance and the call.
    outer: Option<(usize, usize)>,
    entry: usize,
    /// By instruction, [`VISITED`] and [`WRITES`].
    flags: Vec<u8>,
    /// By frame, the outermost first, then by instruction.
    frames: Vec<Vec<Marks>>,
}

/// The liveness of all chains of calls.
pub(crate) struct StackLiveness {
    instances: Vec<Instance>,
    /// By calling instance, call and function; without an instance for one that is called later.
    by_call: HashMap<(Option<usize>, usize, usize), usize>,
    /// By slot of the code: what follows in the same function, and what it follows.
    successors: Vec<[Option<u32>; 2]>,
    predecessors: Vec<u32>,
    /// Where those of a slot begin; they end where those of the next one do.
    first_predecessor: Vec<u32>,
    /// What the present visit reads and writes, by frame.
    touched: [(Slots, Slots); MAX_FRAMES],
    is_touched: bool,
    pending: Vec<(usize, usize, usize)>,
}

impl StackLiveness {
    /// A function that is verified by itself; it is instance 0.
    pub(crate) fn new(code: &Code, function: usize) -> StackLiveness {
        let len = code.slots.len();
        let mut successors = vec![[None; 2]; len];
        for (at, successors) in successors.iter_mut().enumerate() {
            let Some(insn) = code.insn(at) else { continue };
            let next = at + insn.len_slots();
            let falls = insn.falls_through().then_some(next).filter(|next| *next < len);
            let target = insn.jump_target().and_then(|target| code.target(at, *target));
            // Code has at most a million slots.
            *successors = [falls, target].map(|next| next.map(|next| next as u32));
        }
        let (predecessors, first_predecessor) = invert(&successors);
        let mut liveness = StackLiveness {
            instances: Vec::new(),
            by_call: HashMap::new(),
            successors,
            predecessors,
            first_predecessor,
            touched: [(0, 0); MAX_FRAMES],
            is_touched: false,
            pending: Vec::new(),
        };
        liveness.add(code, function, None, 1);
        liveness
    }

    fn add(
        &mut self,
        code: &Code,
        function: usize,
        outer: Option<(usize, usize)>,
        frames: usize,
    ) -> usize {
        let function = &code.functions[function];
        let len = function.end - function.entry;
        self.instances.push(Instance {
            outer,
            entry: function.entry,
            flags: vec![0; len],
            frames: vec![vec![Marks::default(); len]; frames],
        });
        self.instances.len() - 1
    }

    /// The instance of a function that another instance calls.
    pub(crate) fn enter(
        &mut self,
        code: &Code,
        outer: usize,
        callsite: usize,
        function: usize,
    ) -> usize {
        if let Some(&instance) = self.by_call.get(&(Some(outer), callsite, function)) {
            return instance;
        }
        let frames = self.instances[outer].frames.len() + 1;
        let instance = self.add(code, function, Some((outer, callsite)), frames);
        self.by_call.insert((Some(outer), callsite, function), instance);
        instance
    }

    /// The instance of a function that the kernel calls later.
    pub(crate) fn enter_later(&mut self, code: &Code, function: usize) -> usize {
        if let Some(&instance) = self.by_call.get(&(None, 0, function)) {
            return instance;
        }
        let instance = self.add(code, function, None, 1);
        self.by_call.insert((None, 0, function), instance);
        instance
    }

    /// This visit reads slots of a frame, `first` to `last`.
    pub(crate) fn read(&mut self, frame: u8, first: usize, last: usize) {
        self.is_touched = true;
        for slot in first..=last {
            self.touched[usize::from(frame)].0 |= 1 << slot;
        }
    }

    /// This visit writes all of a slot of a frame.
    pub(crate) fn write(&mut self, frame: u8, slot: usize) {
        self.is_touched = true;
        self.touched[usize::from(frame)].1 |= 1 << slot;
    }

    /// The visit of an instruction is over.
    pub(crate) fn finish(&mut self, instance: usize, at: usize) {
        let chain = &mut self.instances[instance];
        let index = at - chain.entry;
        let first = chain.flags[index] & VISITED == 0;
        if chain.flags[index] == VISITED && !self.is_touched {
            return;
        }
        self.is_touched = false;
        let mut any_writes = false;
        for (frame, marks) in chain.frames.iter_mut().enumerate() {
            let (reads, writes) = core::mem::take(&mut self.touched[frame]);
            let marks = &mut marks[index];
            let before = (marks.reads, marks.writes);
            marks.reads |= reads;
            marks.writes = if first { writes } else { marks.writes & writes };
            any_writes |= marks.writes != 0;
            if first || before != (marks.reads, marks.writes) {
                self.pending.push((instance, frame, at));
            }
        }
        chain.flags[index] = if any_writes { VISITED | WRITES } else { VISITED };
        self.propagate();
    }

    /// Recomputes what is live, back along the code and into callers.
    fn propagate(&mut self) {
        while let Some((instance, frame, at)) = self.pending.pop() {
            let chain = &self.instances[instance];
            let (entry, index) = (chain.entry, at - chain.entry);
            // What was not visited is not known to let anything through.
            if chain.flags[index] & VISITED == 0 {
                continue;
            }
            let marks = chain.frames[frame][index];
            let of_next = |next: u32| chain.frames[frame].get(next as usize - entry);
            let next = self.successors[at].into_iter().flatten();
            let after = next.filter_map(of_next).fold(0, |live, next| live | next.live);
            let live = marks.live | marks.reads | (after & !marks.writes);
            if live == marks.live {
                continue;
            }
            let outer = chain.outer;
            self.instances[instance].frames[frame][index].live = live;
            let first = self.first_predecessor[at] as usize;
            let end = self.first_predecessor[at + 1] as usize;
            for before in &self.predecessors[first..end] {
                self.pending.push((instance, frame, *before as usize));
            }
            let Some((caller, callsite)) = outer.filter(|_| at == entry) else { continue };
            let caller_entry = self.instances[caller].entry;
            let calling = self.instances[caller].frames.get_mut(frame);
            if let Some(marks) = calling.and_then(|marks| marks.get_mut(callsite - caller_entry)) {
                marks.reads |= live;
                self.pending.push((caller, frame, callsite));
            }
        }
    }

    /// The slots of a frame that are live before an instruction, as far as this function and what
    /// it calls are concerned.
    pub(crate) fn live_before(&self, instance: usize, frame: usize, at: usize) -> Slots {
        let chain = &self.instances[instance];
        let marks = chain.frames.get(frame).and_then(|marks| marks.get(at - chain.entry));
        marks.map_or(0, |marks| marks.live)
    }
}

/// What each slot follows, one slot after the other, and where that begins for each.
fn invert(successors: &[[Option<u32>; 2]]) -> (Vec<u32>, Vec<u32>) {
    let mut first = vec![0; successors.len() + 1];
    for next in successors.iter().flatten().flatten() {
        first[*next as usize + 1] += 1;
    }
    let mut sum = 0;
    for count in &mut first {
        sum += *count;
        *count = sum;
    }
    let mut predecessors = vec![0; sum as usize];
    let mut filled = first.clone();
    for (at, nexts) in successors.iter().enumerate() {
        for next in nexts.iter().flatten() {
            let place = &mut filled[*next as usize];
            predecessors[*place as usize] = at as u32;
            *place += 1;
        }
    }
    (predecessors, first)
}
