//! The states that are remembered, and which paths end because one of them covers them.
//!
//! A state is remembered at a prune point if enough jumps and instructions lie behind the last one,
//! and forgotten if it rarely covers others. These rules are Linux 6.18's (`is_state_visited`).

use crate::assumptions::{Compared, Original};
use crate::check::iterator::turns_differ;
use crate::compare::{Comparison, Mode, Requirement, counterparts, mark_counterparts};
use crate::explore::Walk;
use crate::ids::IdMap;
use crate::liveness::Regs;
use crate::loops::{Cycles, Visits, same_callsites};
use crate::rejection::{Check, Rule, fault};
use crate::state::State;
use crate::state::frame::Entered;
use skep_bpf::insn::Insn;
use std::rc::Rc;

/// A remembered state.
pub(crate) struct Checkpoint {
    /// None once it was forgotten and no path needs it.
    pub(crate) state: Option<Rc<State>>,
    pub(crate) parent: Option<usize>,
    pub(crate) listed: bool,
    /// Whether slots that never mattered were forgotten.
    pub(crate) cleaned: bool,
    /// The state with all its slots, if it is only assumed that those never matter.
    pub(crate) original: Option<Box<Original>>,
    /// The cycles that it lies in.
    pub(crate) cycles: Cycles,
}

/// What is asked of every checkpoint of a list, apart from the rest so that it is close together.
#[derive(Clone, Copy)]
pub(crate) struct Tally {
    /// Of the active function's registers, to see quickly that others are not the same.
    fingerprint: u32,
    /// Paths from here that have not ended.
    pub(crate) branches: u32,
    hits: u32,
    misses: u32,
    /// The one before in its list.
    before: u32,
}

/// No checkpoint, or no list.
const NONE: u32 = u32::MAX;

/// Checkpoints at one slot with one call site of the active function.
#[derive(Clone, Copy)]
struct List {
    callsite: usize,
    /// The latest one.
    latest: u32,
    len: u32,
    /// The list for another call site.
    other: u32,
}

impl List {
    const EMPTY: List = List { callsite: 0, latest: NONE, len: 0, other: NONE };
}

/// All remembered states.
pub(crate) struct Checkpoints {
    pub(crate) all: Vec<Checkpoint>,
    /// By checkpoint.
    pub(crate) tallies: Vec<Tally>,
    /// By checkpoint: what the last state that it did not cover lacked.
    requirements: Vec<Option<Requirement>>,
    /// Those that may cover others: a list for each slot of the code, and then those for further
    /// call sites.
    lists: Vec<List>,
    slots: usize,
    pub(crate) cycles: Visits,
    pub(crate) ids: IdMap,
    /// What of a checkpoint was compared last, by frame, if it is to be known.
    pub(crate) compared: Vec<Compared>,
    remembered: u64,
    pub(crate) lingering: u64,
}

impl Checkpoints {
    /// None, for code of so many slots.
    pub(crate) fn new(slots: usize) -> Checkpoints {
        Checkpoints {
            // Growing means copying; what is not used costs nothing.
            all: Vec::with_capacity(slots),
            tallies: Vec::with_capacity(slots),
            requirements: Vec::with_capacity(slots),
            lists: vec![List::EMPTY; slots],
            slots,
            cycles: Visits::default(),
            ids: IdMap::default(),
            compared: Vec::new(),
            remembered: 0,
            lingering: 0,
        }
    }

    /// Where states are remembered, once for each.
    pub(crate) fn places(&self) -> impl Iterator<Item = usize> {
        let lists = |at| {
            core::iter::successors(self.lists.get(at), |list: &&List| {
                self.lists.get(list.other as usize)
            })
        };
        (0..self.slots)
            .flat_map(move |at| lists(at).flat_map(move |list| (0..list.len).map(move |_| at)))
    }

    /// One more path begins after a checkpoint.
    pub(crate) fn add_branch(&mut self, checkpoint: usize) {
        self.tallies[checkpoint].branches += 1;
    }

    /// A path after a checkpoint ends. Whether it was the last one.
    pub(crate) fn end_branch(&mut self, checkpoint: usize) -> bool {
        let branches = &mut self.tallies[checkpoint].branches;
        *branches -= 1;
        *branches == 0
    }

    /// All paths after a checkpoint have ended. Gives the checkpoint before.
    pub(crate) fn finish(&mut self, index: usize) -> Option<usize> {
        let checkpoint = &mut self.all[index];
        self.cycles.leave(checkpoint.cycles, index);
        if !checkpoint.listed {
            checkpoint.state = None;
            self.lingering -= 1;
        }
        checkpoint.parent
    }

    /// The list for a slot of the code and a call site.
    #[inline]
    fn find_list(&self, at: usize, callsite: usize) -> Option<usize> {
        let mut index = at;
        while let Some(list) = self.lists.get(index) {
            if list.callsite == callsite {
                return Some(index);
            }
            index = list.other as usize;
        }
        None
    }

    /// The same, which is made if there is none.
    #[inline]
    fn list(&mut self, at: usize, callsite: usize) -> usize {
        if let Some(index) = self.find_list(at, callsite) {
            return index;
        }
        let first = self.lists[at];
        if first.latest == NONE && first.other == NONE {
            self.lists[at].callsite = callsite;
            return at;
        }
        // There are fewer call sites than slots, of which there are at most a million, and at most
        // as many lists for one as its function has slots.
        self.lists[at].other = self.lists.len() as u32;
        self.lists.push(List { callsite, other: first.other, ..List::EMPTY });
        self.lists.len() - 1
    }

    /// The checkpoints of a list, the latest first.
    fn of_list(&self, list: usize) -> impl Iterator<Item = usize> {
        let index = |number: u32| (number != NONE).then_some(number as usize);
        let next = move |at: &usize| index(self.tallies[*at].before);
        core::iter::successors(index(self.lists[list].latest), next)
    }

    /// Takes a checkpoint from a list; `after` is the one after it.
    fn take_from_list(&mut self, list: usize, checkpoint: usize, after: Option<usize>) {
        let before = self.tallies[checkpoint].before;
        match after {
            Some(after) => self.tallies[after].before = before,
            None => self.lists[list].latest = before,
        }
        self.lists[list].len -= 1;
    }

    /// Whether what matters of a checkpoint is not known yet, because of the cycle it is in.
    fn is_incomplete(&self, checkpoint: usize) -> bool {
        self.cycles.is_incomplete(self.all[checkpoint].cycles)
    }

    /// Whether that is only assumed to be known of a checkpoint.
    fn is_assumed(&self, checkpoint: usize) -> bool {
        self.cycles.is_assumed(self.all[checkpoint].cycles)
    }
}

/// What registers with equal values have in common.
fn fingerprint(state: &State) -> u32 {
    const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;
    let sum = state.top().regs().fold(0, |sum, value| {
        let number = value.scalar.wide().umin ^ value.scalar.tnum().mask().rotate_left(32);
        let related = u64::from(value.id) << 32 | u64::from(value.off.cast_unsigned());
        (sum ^ number ^ related.rotate_left(16)).wrapping_mul(MULTIPLIER).rotate_left(23)
    });
    sum as u32
}

impl Walk<'_> {
    /// Whether the state here is covered by one that was proved; else it may be remembered.
    pub(crate) fn is_covered(&mut self) -> Check<bool> {
        let jumps = self.jumps_processed - self.jumps_at_checkpoint;
        let insns = self.insns_processed - self.insns_at_checkpoint;
        let force_here = self.code.force_points[self.at];
        let force = self.input.profile.checkpoint_everywhere || force_here || self.history > 40;
        let mut add = force || (jumps >= 2 && insns >= 8);
        let callsite = self.state.top().callsite;
        let list = self.checkpoints.list(self.at, callsite);
        let List { mut latest, len: remembered_here, .. } = self.checkpoints.lists[list];
        let mut after = None;
        let mut covered = false;
        let mut looping = false;
        let mut own_fingerprint = None;
        // The latest first.
        while latest != NONE {
            let index = latest as usize;
            let tally = &self.checkpoints.tallies[index];
            latest = tally.before;
            let walked_out = tally.branches == 0;
            covered = if walked_out { self.covers(index) } else { self.closes_loop(index) };
            if covered {
                self.checkpoints.tallies[index].hits += 1;
                break;
            }
            if !walked_out {
                let own = *own_fingerprint.get_or_insert_with(|| fingerprint(&self.state));
                if own == self.checkpoints.tallies[index].fingerprint
                    && self.may_loop(index)
                    && self.is_same(index)
                {
                    looping = true;
                    break;
                }
                if !force && jumps < 20 && insns < 100 {
                    add = false;
                }
            }
            let tally = &mut self.checkpoints.tallies[index];
            tally.misses += u32::from(add);
            let patience = if force_here && !walked_out { 64 } else { 3 };
            if tally.misses > tally.hits * patience + patience {
                let checkpoint = &mut self.checkpoints.all[index];
                checkpoint.listed = false;
                if walked_out {
                    checkpoint.state = None;
                } else {
                    self.checkpoints.lingering += 1;
                }
                self.checkpoints.remembered -= 1;
                self.checkpoints.take_from_list(list, index, after);
            } else {
                after = Some(index);
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
            *most = u64::from(remembered_here).max(*most);
            if add {
                self.remember(list, own_fingerprint);
            }
        }
        Ok(covered)
    }

    /// Once all that is read on the paths from a checkpoint is known, or assumed to be: forgets what
    /// is not.
    fn forget_dead_slots(&mut self, index: usize) {
        let assumed = self.checkpoints.is_assumed(index);
        let checkpoint = &mut self.checkpoints.all[index];
        if core::mem::replace(&mut checkpoint.cleaned, true) {
            return;
        }
        self.checkpoints.requirements[index] = None;
        if let Some(outer) = checkpoint.cycles.outer.filter(|_| assumed) {
            self.forget_on_assumption(index, outer);
        } else if let Some(state) = &mut checkpoint.state {
            Rc::make_mut(state).drop_dead_slots(&self.code, &self.liveness, self.at);
        }
    }

    fn compare(&mut self, index: usize, mode: Mode) -> bool {
        let Some(old) = &self.checkpoints.all[index].state else { return false };
        let ids = &mut self.checkpoints.ids;
        ids.reset(self.last_id);
        let (code, nodes) = (&self.code, &self.nodes);
        let mut comparison = Comparison { code, nodes, ids, mode, differed: None };
        let equal = comparison.states(old, &self.state, self.at);
        if let Some(place) = comparison.differed
            && !equal
            && mode != Mode::Exact
        {
            let requirement = Requirement::new(place, mode, old, &self.state);
            self.checkpoints.requirements[index] = requirement;
        }
        equal
    }

    /// Whether the state lacks what the last one lacked that a checkpoint did not cover. With
    /// `always`, only what counts in every mode; such a requirement comes after dead slots were
    /// forgotten.
    fn is_lacking(&self, index: usize, always: bool) -> bool {
        let requirement = self.checkpoints.requirements[index].as_ref();
        requirement.is_some_and(|requirement| {
            (requirement.always || !always) && requirement.is_lacking(&self.state)
        })
    }

    /// Whether coming here again in the same state would be a loop that never ends.
    fn may_loop(&self, index: usize) -> bool {
        let is_step = self.code.is_iterator_step(self.at) || self.code.calls_back(self.at);
        !is_step && !self.is_other_entry(index)
    }

    /// Whether a checkpoint is of another entry of a function that the kernel calls later.
    fn is_other_entry(&self, index: usize) -> bool {
        let old = self.checkpoints.all[index].state.as_ref().map(|old| old.top().entered);
        matches!(old, Some(Entered::Later(_))) && old != Some(self.state.top().entered)
    }

    /// Whether a checkpoint on the way here is the same state: a loop without progress.
    fn is_same(&mut self, index: usize) -> bool {
        let Some(old) = &self.checkpoints.all[index].state else { return false };
        old.frames.len() == self.state.frames.len()
            && old.top().all_regs_beside(self.state.top(), Regs::MAX, |_, a, b, shared| {
                shared || a.same_but_for_node(b)
            })
            && old.may_goto == self.state.may_goto
            && old.callbacks == self.state.callbacks
            && !turns_differ(old, &self.state)
            && self.compare(index, Mode::Exact)
    }

    /// Whether a checkpoint whose paths have ended covers the state; if so, what matters there
    /// matters here.
    fn covers(&mut self, index: usize) -> bool {
        if !self.input.profile.pruning || self.is_lacking(index, true) {
            return false;
        }
        let assumed = self.checkpoints.is_assumed(index);
        if self.checkpoints.is_incomplete(index) || assumed && !self.may_assume(index) {
            return self.closes(index);
        }
        self.forget_dead_slots(index);
        if !self.compare(index, Mode::Covers) {
            return false;
        }
        // Before more is marked.
        if assumed {
            self.note_compared(index, false);
        }
        self.mark_counterparts(index);
        if assumed {
            self.assume(index);
        }
        true
    }

    /// What is known to matter of a checkpoint matters here.
    fn mark_counterparts(&mut self, index: usize) {
        if let Some(old) = &self.checkpoints.all[index].state {
            mark_counterparts(&self.code, &mut self.nodes, old, &self.state, self.at);
        }
    }

    /// Whether a checkpoint on the way here covers the state, in a loop that ends so.
    fn closes_loop(&mut self, index: usize) -> bool {
        if self.code.calls_back(self.at) {
            return !self.is_other_entry(index) && self.closes_turns(index);
        }
        let is_may_goto = matches!(self.code.insn(self.at), Some(Insn::MayGoto { .. }));
        let may_close = if self.code.is_iterator_step(self.at) {
            self.is_active_iterator()
        } else if is_may_goto {
            let turns = self.checkpoints.all[index].state.as_ref().map(|old| old.may_goto);
            turns != Some(self.state.may_goto)
        } else {
            false
        };
        if !may_close || self.is_other_entry(index) || !self.closes(index) {
            return false;
        }
        self.checkpoints.cycles.close(self.checkpoints.all[index].cycles);
        true
    }

    /// The same at a helper that calls a function back.
    fn closes_turns(&mut self, index: usize) -> bool {
        if !self.may_assume(index) {
            if !self.closes(index) {
                return false;
            }
        } else if self.is_lacking(index, false) || !self.compare(index, Mode::CoversAll) {
            return false;
        } else {
            self.mark_counterparts(index);
            self.note_compared(index, true);
            self.assume(index);
        }
        if let Some(outer) = self.checkpoints.all[index].cycles.outer {
            self.checkpoints.cycles.visit(outer).assumptions.need();
        }
        true
    }

    /// Whether a checkpoint in a cycle that the walk has not left covers the state; if so, what
    /// will matter there matters here.
    fn closes(&mut self, index: usize) -> bool {
        if self.is_lacking(index, false) || !self.compare(index, Mode::CoversAll) {
            return false;
        }
        if let Some(old) = &self.checkpoints.all[index].state {
            let nodes = &mut self.nodes;
            counterparts(&self.code, old, &self.state, self.at, |old, current| {
                nodes.depend(old, current);
            });
        }
        if self.checkpoints.all[index].original.is_some() {
            self.note_compared(index, true);
            self.assume(index);
        }
        true
    }

    /// The latest state at this instruction, in an earlier turn of a loop on the way here.
    pub(crate) fn earlier_turn(&self) -> Option<&State> {
        self.state_on_the_way(self.at, self.parent)
    }

    /// The latest state at an instruction on the way here, which is not at a checkpoint.
    pub(crate) fn state_on_the_way(&self, at: usize, not: Option<usize>) -> Option<&State> {
        let callsite = self.state.top().callsite;
        let list = self.checkpoints.find_list(at, callsite)?;
        let open =
            |index: &usize| Some(*index) != not && self.checkpoints.tallies[*index].branches > 0;
        let states = self.checkpoints.of_list(list).filter(open);
        let mut states = states.filter_map(|index| self.checkpoints.all[index].state.as_deref());
        states.find(|state| same_callsites(state, &self.state))
    }

    /// Remembers the state here; its numbers count as not mattering until they do.
    fn remember(&mut self, list: usize, own_fingerprint: Option<u32>) {
        for frame in &mut self.state.frames {
            frame.checkpoint(&mut self.nodes);
        }
        let index = self.checkpoints.all.len();
        let cycles = self.checkpoints.cycles.enter(&self.code, &self.state, self.at, index);
        let fingerprint = own_fingerprint.unwrap_or_else(|| fingerprint(&self.state));
        let before = self.checkpoints.lists[list].latest;
        let tally = Tally { fingerprint, branches: 1, hits: 0, misses: 0, before };
        self.checkpoints.tallies.push(tally);
        // A walk makes at most as many checkpoints as it has instructions: far below 2^32.
        self.checkpoints.lists[list].latest = index as u32;
        self.checkpoints.lists[list].len += 1;
        self.checkpoints.requirements.push(None);
        self.checkpoints.all.push(Checkpoint {
            cycles,
            state: Some(Rc::new(self.state.clone())),
            original: None,
            parent: self.parent,
            listed: true,
            cleaned: false,
        });
        self.parent = Some(index);
        self.history = 0;
        self.jumps_at_checkpoint = self.jumps_processed;
        self.insns_at_checkpoint = self.insns_processed;
        self.checkpoints.remembered += 1;
        self.stats.total_states += 1;
        let kept = self.checkpoints.remembered + self.checkpoints.lingering;
        self.stats.peak_states = self.stats.peak_states.max(kept);
    }
}
