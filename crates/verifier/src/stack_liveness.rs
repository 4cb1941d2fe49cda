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
use crate::structure::edges::Edges;
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
    /// What the present visit reads and writes, by frame.
    touched: [(Slots, Slots); MAX_FRAMES],
    is_touched: bool,
    /// Slots of frames of instances that become live before instructions.
    pending: Vec<(usize, usize, usize, Slots)>,
}

impl StackLiveness {
    /// A function that is verified by itself; it is instance 0.
    pub(crate) fn new(code: &Code, function: usize) -> StackLiveness {
        let mut liveness = StackLiveness {
            instances: Vec::new(),
            by_call: HashMap::new(),
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
    #[inline]
    pub(crate) fn finish(&mut self, edges: &Edges, instance: usize, at: usize) {
        let chain = &self.instances[instance];
        if chain.flags[at - chain.entry] != VISITED || self.is_touched {
            self.note(edges, instance, at);
        }
    }

    /// Notes what a visit read and wrote.
    fn note(&mut self, edges: &Edges, instance: usize, at: usize) {
        let chain = &mut self.instances[instance];
        let index = at - chain.entry;
        let first = chain.flags[index] & VISITED == 0;
        let mut any_writes = false;
        for (frame, all) in chain.frames.iter_mut().enumerate() {
            let (reads, writes) = match self.is_touched {
                true => core::mem::take(&mut self.touched[frame]),
                false => (0, 0),
            };
            let before = all[index];
            let reads = before.reads | reads;
            let writes = if first { writes } else { before.writes & writes };
            any_writes |= writes != 0;
            if !first && (before.reads, before.writes) == (reads, writes) {
                continue;
            }
            let mut live = before.live | reads;
            for next in edges.after(at) {
                live |= all.get(next - chain.entry).map_or(0, |next| next.live) & !writes;
            }
            all[index] = Marks { reads, writes, ..before };
            if live != before.live {
                self.pending.push((instance, frame, at, live & !before.live));
            }
        }
        self.is_touched = false;
        chain.flags[index] = if any_writes { VISITED | WRITES } else { VISITED };
        if !self.pending.is_empty() {
            self.propagate(edges);
        }
    }

    /// Lets slots be live, back along the code and into callers.
    fn propagate(&mut self, edges: &Edges) {
        while let Some((instance, frame, at, slots)) = self.pending.pop() {
            let chain = &mut self.instances[instance];
            let (entry, all) = (chain.entry, &mut chain.frames[frame]);
            let marks = &mut all[at - entry];
            let grown = slots & !marks.live;
            if grown == 0 {
                continue;
            }
            marks.live |= grown;
            for before in edges.before(at) {
                let index = before - entry;
                // What was not visited is not known to let anything through.
                if chain.flags[index] & VISITED != 0 {
                    let passed = grown & !all[index].writes & !all[index].live;
                    if passed != 0 {
                        self.pending.push((instance, frame, before, passed));
                    }
                }
            }
            let Some((caller, callsite)) = chain.outer.filter(|_| at == entry) else { continue };
            let calling = &mut self.instances[caller];
            let index = callsite - calling.entry;
            let visited = calling.flags[index] & VISITED != 0;
            let marks = calling.frames.get_mut(frame).and_then(|marks| marks.get_mut(index));
            if let Some(marks) = marks {
                marks.reads |= grown;
                if visited {
                    self.pending.push((caller, frame, callsite, grown));
                }
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
