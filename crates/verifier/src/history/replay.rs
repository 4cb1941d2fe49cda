//! Walking one path again.
//!
//! A path is what it is by the turns it took: at which of the forks on its way it went where the
//! waiting state leads. A trail counts forks and keeps the turns, shared between paths.

use crate::explore::{Step, Walk};
use crate::state::State;
use crate::structure::Code;
use std::collections::VecDeque;

/// The way of one path: a turn, and how many forks and instructions lie behind it.
#[derive(Clone, Copy, Default)]
pub(crate) struct Trail {
    last_turn: Option<u32>,
    forks: u32,
    steps: u64,
}

impl Trail {
    /// Counts an instruction.
    #[inline]
    pub(crate) fn step(&mut self) {
        self.steps += 1;
    }

    /// Counts a fork, and gives its number.
    fn fork(&mut self) -> u32 {
        let fork = self.forks;
        self.forks = self.forks.saturating_add(1);
        fork
    }
}

/// The turns of all paths: the turn before, and the number of the fork.
#[derive(Default)]
pub(crate) struct Trails {
    turns: Vec<(Option<u32>, u32)>,
}

impl Trails {
    /// A fork: the trail of the state that waits.
    pub(crate) fn fork(&mut self, here: &mut Trail) -> Trail {
        let turn = u32::try_from(self.turns.len()).ok();
        self.turns.push((here.last_turn, here.fork()));
        Trail { last_turn: turn, ..*here }
    }

    /// The forks at which a path turned, the first one last.
    fn turns(&self, trail: Trail) -> Vec<u32> {
        let mut turns = Vec::new();
        let mut next = trail.last_turn;
        while let Some((before, fork)) = next.and_then(|turn| self.turns.get(turn as usize)) {
            turns.push(*fork);
            next = *before;
        }
        turns
    }
}

/// A path that is being walked again.
pub(crate) struct Replay {
    /// The forks at which to turn, the next one last.
    turns: Vec<u32>,
    /// Where this instruction's turn leads.
    turn: Option<(State, usize)>,
    forked: bool,
}

impl Replay {
    /// At a fork: the state that would wait, which is taken up if the path turned here.
    pub(crate) fn offer(&mut self, trail: &mut Trail, state: State, at: usize) {
        let fork = trail.fork();
        self.forked = true;
        if self.turns.last() == Some(&fork) {
            self.turns.pop();
            self.turn = Some((state, at));
        }
    }
}

/// One instruction of a path.
pub(crate) struct TraceStep {
    /// The instruction.
    pub(crate) at: usize,
    /// What was known before it.
    pub(crate) state: State,
    /// Whether it could go more than one way.
    pub(crate) forked: bool,
}

/// The end of a path, instruction by instruction; the last one is where it failed.
pub(crate) struct Trace {
    pub(crate) steps: Vec<TraceStep>,
    /// Whether the path's beginning was too far away to be kept.
    pub(crate) truncated: bool,
}

/// As many instructions of a path are kept.
const KEPT: usize = 4096;

impl Walk<'_> {
    /// Walks the current path again. `None` if that does not end at the same instruction, which
    /// happens where paths depend on what others found.
    pub(crate) fn trace(&self) -> Option<Trace> {
        let (state, at) = self.start.clone()?;
        let mut walk = Walk::new(self.input, Code::new(self.input).ok()?, None);
        walk.state = state;
        walk.at = at;
        // An instruction remembers the kinds of pointers of all paths.
        walk.pointer_kinds.clone_from(&self.pointer_kinds);
        let turns = self.trails.turns(self.trail);
        walk.replay = Some(Replay { turns, turn: None, forked: false });
        let mut steps = VecDeque::new();
        let mut truncated = false;
        let mut trail_steps = 0;
        loop {
            if steps.len() == KEPT {
                steps.pop_front();
                truncated = true;
            }
            let (at, state) = (walk.at, walk.state.clone());
            steps.push_back(TraceStep { at, state, forked: false });
            if trail_steps == self.trail.steps {
                break;
            }
            trail_steps += 1;
            let outcome = walk.step();
            let replay = walk.replay.as_mut()?;
            if let Some(last) = steps.back_mut() {
                last.forked = core::mem::take(&mut replay.forked);
            }
            if let Some((state, at)) = replay.turn.take() {
                walk.state = state;
                walk.at = at;
                continue;
            }
            match outcome {
                Ok(Step::Next) => {
                    walk.at += if walk.code.slots.get(walk.at)?.is_wide() { 2 } else { 1 }
                }
                Ok(Step::Jump(target)) => walk.at = target,
                Ok(Step::End) | Err(_) => break,
            }
        }
        (steps.back()?.at == self.at).then(|| Trace { steps: steps.into(), truncated })
    }
}
