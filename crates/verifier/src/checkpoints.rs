//! The states that are remembered, and which paths end because one of them covers them.
//!
//! A state is remembered at a prune point if enough jumps and instructions lie behind the last one,
//! and forgotten if it rarely covers others. These rules are Linux 6.18's (`is_state_visited`).

use crate::check::iterator::turns_differ;
use crate::compare::{Comparison, Mode, Requirement, counterparts};
use crate::explore::Walk;
use crate::ids::IdMap;
use crate::loops::{CycleNumber, Visits, cycle_of, same_callsites};
use crate::rejection::{Check, Rule, fault};
use crate::state::State;
use crate::state::frame::Entered;
use skep_bpf::insn::Insn;

/// A remembered state.
struct Checkpoint {
    /// None once it was forgotten and no path needs it.
    state: Option<State>,
    parent: Option<usize>,
    listed: bool,
    /// Whether slots that never mattered were forgotten.
    cleaned: bool,
    /// The cycle of the code that it lies in.
    cycle: Option<CycleNumber>,
}

/// What is asked of every checkpoint of a list, apart from the rest so that it is close together.
#[derive(Clone, Copy)]
struct Tally {
    /// Of the active function's registers, to see quickly that others are not the same.
    fingerprint: u32,
    /// Paths from here that have not ended.
    branches: u32,
    hits: u32,
    misses: u32,
}

/// Checkpoints with one call site of the active function, the latest last.
#[derive(Default)]
struct Place {
    callsite: usize,
    list: Vec<usize>,
}

/// All remembered states.
pub(crate) struct Checkpoints {
    all: Vec<Checkpoint>,
    /// By checkpoint.
    tallies: Vec<Tally>,
    /// By checkpoint: what the last state that it did not cover lacked.
    requirements: Vec<Option<Requirement>>,
    /// Those that may cover others, by slot of the code.
    listed: Vec<Vec<Place>>,
    cycles: Visits,
    ids: IdMap,
    remembered: u64,
    lingering: u64,
}

impl Checkpoints {
    /// None, for code of so many slots.
    pub(crate) fn new(slots: usize) -> Checkpoints {
        Checkpoints {
            all: Vec::new(),
            tallies: Vec::new(),
            requirements: Vec::new(),
            listed: (0..slots).map(|_| Vec::new()).collect(),
            cycles: Visits::default(),
            ids: IdMap::default(),
            remembered: 0,
            lingering: 0,
        }
    }

    /// Where states are remembered, once for each.
    pub(crate) fn places(&self) -> impl Iterator<Item = usize> {
        let places = self.listed.iter().enumerate();
        let places = places.flat_map(|(at, places)| places.iter().map(move |place| (at, place)));
        places.flat_map(|(at, place)| place.list.iter().map(move |_| at))
    }

    /// One more path begins after a checkpoint.
    pub(crate) fn add_branch(&mut self, checkpoint: usize) {
        self.tallies[checkpoint].branches += 1;
    }

    /// A path whose last checkpoint is given ends.
    pub(crate) fn end_path(&mut self, mut last: Option<usize>) {
        while let Some(index) = last {
            let branches = &mut self.tallies[index].branches;
            *branches -= 1;
            if *branches > 0 {
                break;
            }
            let checkpoint = &mut self.all[index];
            last = checkpoint.parent;
            if let Some(cycle) = checkpoint.cycle {
                self.cycles.leave(cycle, index);
            }
            if !checkpoint.listed {
                checkpoint.state = None;
                self.lingering -= 1;
            }
        }
    }

    /// The list for a place in the code and a call site, which is made if there is none.
    fn place(&mut self, at: usize, callsite: usize) -> &mut Vec<usize> {
        let places = &mut self.listed[at];
        let found = places.iter().position(|place| place.callsite == callsite);
        let index = found.unwrap_or_else(|| {
            places.push(Place { callsite, list: Vec::new() });
            places.len() - 1
        });
        &mut places[index].list
    }

    /// Whether what matters of a checkpoint is not known yet, because of the cycle it is in.
    fn is_incomplete(&self, checkpoint: usize) -> bool {
        let cycle = self.all[checkpoint].cycle;
        cycle.is_some_and(|cycle| self.cycles.is_incomplete(cycle))
    }
}

/// What registers with equal values have in common.
fn fingerprint(state: &State) -> u32 {
    const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;
    let sum = state.top().regs().iter().fold(0, |sum, value| {
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
        let mut list = core::mem::take(self.checkpoints.place(self.at, callsite));
        let remembered_here = list.len() as u64;
        let mut covered = false;
        let mut looping = false;
        let mut own_fingerprint = None;
        // The latest first.
        for position in (0..list.len()).rev() {
            let index = list[position];
            let walked_out = self.checkpoints.tallies[index].branches == 0;
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
        *self.checkpoints.place(self.at, callsite) = list;
        Ok(covered)
    }

    /// Once all that is read on the paths from a checkpoint is known: forgets what is not. Within a
    /// cycle it is known when the walk has left that.
    fn forget_dead_slots(&mut self, index: usize) {
        if self.checkpoints.is_incomplete(index) {
            return;
        }
        let checkpoint = &mut self.checkpoints.all[index];
        if !core::mem::replace(&mut checkpoint.cleaned, true)
            && let Some(state) = &mut checkpoint.state
        {
            self.checkpoints.requirements[index] = None;
            state.drop_dead_slots(&self.code, &self.liveness, self.at);
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
        let mut registers = old.top().regs().iter().zip(self.state.top().regs());
        old.frames.len() == self.state.frames.len()
            && registers.all(|(a, b)| a.same_but_for_node(b))
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
        if self.checkpoints.is_incomplete(index) {
            return self.closes(index);
        }
        self.forget_dead_slots(index);
        if !self.compare(index, Mode::Covers) {
            return false;
        }
        if let Some(old) = &self.checkpoints.all[index].state {
            let nodes = &mut self.nodes;
            counterparts(&self.code, old, &self.state, self.at, |old, current| {
                if nodes.is_precise(old) {
                    nodes.mark(current);
                }
            });
        }
        true
    }

    /// Whether a checkpoint on the way here covers the state, in a loop that ends so.
    fn closes_loop(&mut self, index: usize) -> bool {
        let is_may_goto = matches!(self.code.insn(self.at), Some(Insn::MayGoto { .. }));
        let may_close = if self.code.is_iterator_step(self.at) {
            self.is_active_iterator()
        } else if is_may_goto {
            let turns = self.checkpoints.all[index].state.as_ref().map(|old| old.may_goto);
            turns != Some(self.state.may_goto)
        } else {
            self.code.calls_back(self.at)
        };
        may_close && !self.is_other_entry(index) && self.closes(index)
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
        if let Some(cycle) = self.checkpoints.all[index].cycle {
            self.checkpoints.cycles.close(cycle);
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
        let mut places = self.checkpoints.listed.get(at)?.iter();
        let place = places.find(|place| place.callsite == callsite)?;
        let open =
            |index: &&usize| Some(**index) != not && self.checkpoints.tallies[**index].branches > 0;
        let states = place.list.iter().rev().filter(open);
        let mut states = states.filter_map(|index| self.checkpoints.all[*index].state.as_ref());
        states.find(|state| same_callsites(state, &self.state))
    }

    /// Remembers the state here; its numbers count as not mattering until they do.
    fn remember(&mut self) -> usize {
        for frame in &mut self.state.frames {
            frame.checkpoint(&mut self.nodes);
        }
        let index = self.checkpoints.all.len();
        let cycle = cycle_of(&self.code, &self.state, self.at);
        let cycle = cycle.map(|cycle| self.checkpoints.cycles.enter(cycle, index));
        let fingerprint = fingerprint(&self.state);
        self.checkpoints.tallies.push(Tally { fingerprint, branches: 1, hits: 0, misses: 0 });
        self.checkpoints.requirements.push(None);
        self.checkpoints.all.push(Checkpoint {
            cycle,
            state: Some(self.state.clone()),
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
        index
    }
}
