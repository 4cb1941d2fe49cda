//! States that are covered on an assumption, and what becomes of them.
//!
//! A helper that calls a function back makes a loop that is not in the code. Where a turn is
//! covered by one whose paths have not ended, what matters of the states between is not known yet;
//! Linux 6.18 takes what is known for all there is, and so accepts some programs that are unsafe.
//! Here the walk is the same, but what was assumed is kept. When all paths of the loop have ended,
//! all is known: what matters in a state matters in those that it covered, and a state that is not
//! covered after all is walked, until nothing is left to be walked.

use crate::checkpoints::Checkpoints;
use crate::compare::{Comparison, Mode, counterparts, mark_counterparts};
use crate::explore::{Path, Walk};
use crate::ids::IdMap;
use crate::loops::CycleNumber;
use crate::precision::Nodes;
use crate::rejection::{Check, unsupported};
use crate::stack_liveness::StackLiveness;
use crate::state::State;
use crate::state::frame::Active;
use crate::structure::Code;
use core::ops::Range;
use std::rc::Rc;

/// After so many rounds nothing is assumed any more. (Linux gives up after as many, too.)
const MAX_ROUNDS: u32 = 64;

/// How often marking what matters is repeated before it is left to relations between numbers.
const MARKING_ROUNDS: u32 = 8;

/// What of a frame of one state was compared with another one.
#[derive(Clone, Copy)]
pub(crate) struct Compared {
    /// The places of numbers, a bit for each.
    numbers: u128,
    /// The slots of the stack, a bit for each.
    slots: u64,
}

/// A checkpoint of which slots were forgotten that were thought never to matter.
pub(crate) struct Original {
    state: Rc<State>,
    /// By frame, the slots that were not.
    slots: Vec<u64>,
}

/// That what is known of one state is all that matters, so that it covers another one.
struct Assumption {
    /// With all its slots.
    old: Rc<State>,
    /// The path that ended.
    path: Path,
    /// The place of what was compared in `Assumptions::compared`, by frame; nothing if that was all.
    compared: Range<usize>,
    /// Whether what matters in the one state matters in the other.
    related: bool,
}

impl Assumption {
    /// Whether nothing matters that was not compared.
    fn is_as_before(
        &self,
        compared: &[Compared],
        code: &Code,
        liveness: &StackLiveness,
        nodes: &Nodes,
    ) -> bool {
        let (old, at) = (&self.old, self.path.at);
        compared[self.compared.clone()].iter().zip(&old.frames).enumerate().all(
            |(index, (compared, frame))| {
                nodes.precise_places(frame.written()) & !compared.numbers == 0
                    && old.live_slots(code, liveness, at, index) & !compared.slots == 0
            },
        )
    }
}

/// What was assumed while a cycle was walked.
#[derive(Default)]
pub(crate) struct Assumptions {
    needed: bool,
    made: Vec<Assumption>,
    compared: Vec<Compared>,
    /// Paths that must be walked because what they were covered by does not cover them.
    refuted: Vec<Path>,
    /// Checkpoints of which slots were forgotten that were thought never to matter.
    cleaned: Vec<usize>,
    rounds: u32,
}

impl Assumptions {
    /// Whether what is known of the states in the cycle may not be all that matters.
    #[inline]
    pub(crate) fn is_needed(&self) -> bool {
        self.needed
    }

    /// From now on, what is known of the states in the cycle may not be all that matters.
    pub(crate) fn need(&mut self) {
        self.needed = true;
    }

    /// Whether it may be assumed that it is.
    pub(crate) fn is_allowed(&self) -> bool {
        self.rounds < MAX_ROUNDS
    }

    /// Whether nothing is left to be seen to.
    pub(crate) fn is_settled(&self) -> bool {
        self.made.is_empty() && self.refuted.is_empty()
    }

    /// A path ends because a state, given with all its slots, covers it.
    fn add(&mut self, old: Rc<State>, path: Path, compared: &[Compared]) {
        let first = self.compared.len();
        self.compared.extend_from_slice(compared);
        let compared = first..self.compared.len();
        self.made.push(Assumption { old, path, compared, related: false });
    }

    /// The checkpoints of which slots were forgotten: nothing is from now on.
    fn take_cleaned(&mut self) -> Vec<usize> {
        core::mem::take(&mut self.cleaned)
    }

    /// All paths have ended. Gives one that must be walked after all.
    fn settle(
        &mut self,
        code: &Code,
        liveness: &StackLiveness,
        nodes: &mut Nodes,
        ids: &mut IdMap,
        last_id: u32,
    ) -> Option<Path> {
        if self.refuted.is_empty() {
            if !(0..MARKING_ROUNDS).any(|_| !self.mark(code, nodes)) {
                self.relate(code, nodes);
            }
            let compared = &self.compared;
            let mut holds = |assumption: &mut Assumption| {
                let path = &assumption.path;
                if assumption.is_as_before(compared, code, liveness, nodes) {
                    return true;
                }
                let mut old = State::clone(&assumption.old);
                old.drop_dead_slots(code, liveness, path.at);
                ids.reset(last_id);
                let mode = Mode::Covers;
                let mut comparison = Comparison { code, nodes, ids, mode, differed: None };
                comparison.states(&old, &path.state, path.at)
            };
            let refuted = self.made.extract_if(.., |assumption| !holds(assumption));
            self.refuted = refuted.map(|assumption| assumption.path).collect();
            // The first that was covered is walked first.
            self.refuted.reverse();
            if !self.refuted.is_empty() {
                self.rounds += 1;
                self.relate(code, nodes);
            }
        }
        self.refuted.pop()
    }

    /// What matters in a state matters in those that it covered. Whether that was not known of some.
    fn mark(&self, code: &Code, nodes: &mut Nodes) -> bool {
        let mut changed = false;
        for Assumption { old, path, .. } in &self.made {
            changed |= mark_counterparts(code, nodes, old, &path.state, path.at);
        }
        changed
    }

    /// From now on, what matters in a state matters in those that it covered.
    fn relate(&mut self, code: &Code, nodes: &mut Nodes) {
        for assumption in self.made.iter_mut().filter(|assumption| !assumption.related) {
            assumption.related = true;
            let (old, path) = (&assumption.old, &assumption.path);
            counterparts(code, old, &path.state, path.at, |old, current| {
                nodes.depend(old, current);
            });
        }
    }
}

impl Checkpoints {
    /// Forgets nothing of checkpoints any more that was forgotten on an assumption.
    fn restore(&mut self, cycle: CycleNumber) {
        for index in self.cycles.visit(cycle).assumptions.take_cleaned() {
            let checkpoint = &mut self.all[index];
            if let Some(original) = checkpoint.original.take() {
                checkpoint.cleaned = false;
                if checkpoint.state.is_some() {
                    checkpoint.state = Some(original.state);
                }
            }
        }
    }

    /// A path whose last checkpoint is given is taken up again, in a cycle that a checkpoint began.
    /// Gives no path of the cycle more branches than it had before it ended.
    fn reopen(&mut self, last: Option<usize>, entry: usize) {
        let mut next = last;
        while let Some(index) = next {
            self.tallies[index].branches += 1;
            if self.tallies[index].branches > 1 {
                break;
            }
            let checkpoint = &self.all[index];
            self.cycles.enter_again(checkpoint.cycles, index);
            self.lingering += u64::from(!checkpoint.listed && index != entry);
            // The paths from what was before the cycle have not ended.
            next = checkpoint.parent.filter(|_| index != entry);
        }
    }
}

impl Walk<'_> {
    /// Whether it may be assumed of a checkpoint in a cycle that has begun that what is known of it
    /// is all that matters.
    pub(crate) fn may_assume(&mut self, index: usize) -> bool {
        // What the kernel calls later is walked amid other paths, whose cycles it is not part of.
        let is_later = self.state.frames.first().is_some_and(|frame| frame.is_later());
        let outer = self.checkpoints.all[index].cycles.outer;
        let allowed = |cycle| self.checkpoints.cycles.visit(cycle).assumptions.is_allowed();
        !is_later && outer.is_some_and(allowed)
    }

    /// Of a checkpoint that is asked whether it covers the state here, what is compared: the numbers
    /// that matter so far, or all of them.
    pub(crate) fn note_compared(&mut self, index: usize, all_numbers: bool) {
        let Checkpoints { all, compared, .. } = &mut self.checkpoints;
        let checkpoint = &all[index];
        compared.clear();
        let Some(state) = &checkpoint.state else { return };
        let slots = checkpoint.original.as_ref().map(|original| &original.slots);
        let of_frame = |(index, frame): (usize, &Active)| Compared {
            numbers: if all_numbers {
                u128::MAX
            } else {
                self.nodes.precise_places(frame.written())
            },
            slots: slots.map_or(u64::MAX, |slots| slots[index]),
        };
        compared.extend(state.frames.iter().enumerate().map(of_frame));
    }

    /// This path ends, on the assumption that a checkpoint covers the state here as far as it was
    /// noted to have been compared.
    pub(crate) fn assume(&mut self, index: usize) {
        let path = self.path_here();
        let Checkpoints { all, cycles, compared, .. } = &mut self.checkpoints;
        let checkpoint = &all[index];
        let Some(outer) = checkpoint.cycles.outer else { return };
        let original = checkpoint.original.as_ref().map(|original| &original.state);
        let Some(old) = original.or(checkpoint.state.as_ref()).cloned() else { return };
        cycles.visit(outer).assumptions.add(old, path, compared);
    }

    /// Forgets the slots of a checkpoint that seem never to matter, until the cycle is left.
    pub(crate) fn forget_on_assumption(&mut self, index: usize, outer: CycleNumber) {
        let checkpoint = &mut self.checkpoints.all[index];
        let Some(state) = &mut checkpoint.state else { return };
        let original = Rc::clone(state);
        let live = |index| original.live_slots(&self.code, &self.liveness, self.at, index);
        let slots: Vec<u64> = (0..original.frames.len()).map(live).collect();
        for (frame, live) in Rc::make_mut(state).frames.iter_mut().zip(&slots) {
            frame.keep_slots(*live);
        }
        checkpoint.original = Some(Box::new(Original { state: original, slots }));
        self.checkpoints.cycles.visit(outer).assumptions.cleaned.push(index);
    }

    /// The path here ends, and with it all paths of the checkpoints that have no other ones. What
    /// was assumed of the states in a cycle that is left so must hold.
    pub(crate) fn end_path(&mut self) {
        let mut last = self.parent;
        while let Some(index) = last {
            if !self.checkpoints.end_branch(index) {
                break;
            }
            let cycles = self.checkpoints.all[index].cycles;
            if let Some(outer) = self.checkpoints.cycles.begun_by(cycles, index) {
                let Checkpoints { cycles, ids, .. } = &mut self.checkpoints;
                let assumptions = &mut cycles.visit(outer).assumptions;
                let (code, liveness, nodes) = (&self.code, &self.liveness, &mut self.nodes);
                let refuted = assumptions.settle(code, liveness, nodes, ids, self.last_id);
                self.checkpoints.restore(outer);
                if let Some(path) = refuted {
                    self.checkpoints.reopen(path.parent, index);
                    self.wait(path);
                    break;
                }
            }
            last = self.checkpoints.finish(index);
        }
    }

    /// No path is left: nothing that was assumed must be left either.
    pub(crate) fn check_settled(&self) -> Check {
        if self.checkpoints.cycles.are_settled() {
            return Ok(());
        }
        unsupported("a path that returns to a loop which it did not come from")
    }
}
