//! Loops that end by reaching a state that was seen before: `may_goto`, iterators, callbacks.
//!
//! Such a loop is walked until a state is covered by one of an earlier turn, whose paths have not
//! ended. What matters of the earlier state is then not known yet, so numbers are compared whether
//! they matter or not, and once it turns out that one does, its counterpart does as well
//! ([`Nodes::depend`](crate::precision::Nodes::depend)). Until the walk has left the loop, a cycle
//! of the code (strongly connected component), all states in it are compared so. The loop of a
//! callback is not in the code: [`crate::assumptions`] says how its states are compared. (Linux
//! 6.18, `is_state_visited`, `compute_scc`.)

use crate::assumptions::Assumptions;
use crate::explore::Walk;
use crate::state::State;
use crate::state::frame::Place;
use crate::state::value::Value;
use crate::structure::Code;
use std::collections::HashMap;

/// What a cycle repeats.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Repeated {
    /// A strongly connected component of the code, by number.
    Code(u32),
    /// A function that the helper called at a slot calls back.
    Callback(usize),
}

/// A cycle, entered by a chain of calls.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Cycle {
    callsites: Vec<usize>,
    repeated: Repeated,
}

/// The walk within a cycle.
#[derive(Default)]
pub(crate) struct Visit {
    /// The checkpoint that was the first in it.
    entry: Option<usize>,
    /// Whether a state was covered by one whose paths have not ended.
    incomplete: bool,
    /// What is to be seen to once all paths in it have ended.
    pub(crate) assumptions: Assumptions,
}

/// A cycle that was entered, by number.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct CycleNumber(usize);

/// The cycles that a state lies in.
#[derive(Clone, Copy, Default)]
pub(crate) struct Cycles {
    /// The outermost one of the code alone.
    pub(crate) code: Option<CycleNumber>,
    /// The outermost one.
    pub(crate) outer: Option<CycleNumber>,
}

/// All cycles that the walk was in.
#[derive(Default)]
pub(crate) struct Visits {
    numbers: HashMap<Cycle, usize>,
    visits: Vec<Visit>,
}

impl Visits {
    /// A checkpoint was made of a state at a slot.
    pub(crate) fn enter(
        &mut self,
        code: &Code,
        state: &State,
        at: usize,
        checkpoint: usize,
    ) -> Cycles {
        let mut cycles = Cycles::default();
        let calls = state.frames.iter().skip(1).map(|frame| frame.callsite);
        for (depth, at) in calls.chain([at]).enumerate() {
            let number = code.cycles.get(at).copied().unwrap_or(0);
            let repeated = match number {
                0 if cycles.outer.is_none() && code.calls_back(at) => Repeated::Callback(at),
                0 => continue,
                number => Repeated::Code(number),
            };
            let frames = state.frames.iter().skip(1).take(depth);
            let callsites = frames.map(|frame| frame.callsite).collect();
            let cycle = self.enter_cycle(Cycle { callsites, repeated }, checkpoint);
            cycles.outer.get_or_insert(cycle);
            if number != 0 {
                cycles.code = Some(cycle);
                break;
            }
        }
        cycles
    }

    fn enter_cycle(&mut self, cycle: Cycle, checkpoint: usize) -> CycleNumber {
        let number = *self.numbers.entry(cycle).or_insert(self.visits.len());
        if number == self.visits.len() {
            self.visits.push(Visit::default());
        }
        self.visits[number].entry.get_or_insert(checkpoint);
        CycleNumber(number)
    }

    /// A path from a checkpoint in cycles whose paths had all ended is taken up again. To be called
    /// for the outermost checkpoint last.
    pub(crate) fn enter_again(&mut self, cycles: Cycles, checkpoint: usize) {
        if let Some(cycle) = cycles.code {
            self.visits[cycle.0].entry = Some(checkpoint);
        }
    }

    /// All paths from a checkpoint have ended: the cycles that it began are left.
    pub(crate) fn leave(&mut self, cycles: Cycles, checkpoint: usize) {
        for cycle in [cycles.code, cycles.outer].into_iter().flatten() {
            let visit = &mut self.visits[cycle.0];
            if visit.entry == Some(checkpoint) {
                *visit = Visit::default();
            }
        }
    }

    /// The outermost cycle, if a checkpoint began it.
    pub(crate) fn begun_by(&self, cycles: Cycles, checkpoint: usize) -> Option<CycleNumber> {
        cycles.outer.filter(|cycle| self.visits[cycle.0].entry == Some(checkpoint))
    }

    /// The present walk within a cycle.
    pub(crate) fn visit(&mut self, cycle: CycleNumber) -> &mut Visit {
        &mut self.visits[cycle.0]
    }

    /// Whether nothing is left to be seen to in any cycle.
    pub(crate) fn are_settled(&self) -> bool {
        self.visits.iter().all(|visit| visit.assumptions.is_settled())
    }

    /// A state in a cycle of the code was covered by one of an earlier turn.
    pub(crate) fn close(&mut self, cycles: Cycles) {
        if let Some(cycle) = cycles.code {
            self.visits[cycle.0].incomplete = true;
        }
    }

    /// Whether what matters of the states in a cycle of the code is not known yet.
    #[inline]
    pub(crate) fn is_incomplete(&self, cycles: Cycles) -> bool {
        cycles.code.is_some_and(|cycle| self.visits[cycle.0].incomplete)
    }

    /// Whether a state is covered only on the assumption that what is known of the one that covers
    /// it is all that matters.
    #[inline]
    pub(crate) fn is_assumed(&self, cycles: Cycles) -> bool {
        cycles.outer.is_some_and(|cycle| self.visits[cycle.0].assumptions.is_needed())
    }
}

/// Whether two states came by the same calls.
pub(crate) fn same_callsites(a: &State, b: &State) -> bool {
    let calls = |state: &State| -> Vec<usize> {
        state.frames.iter().skip(1).map(|frame| frame.callsite).collect()
    };
    calls(a) == calls(b)
}

impl Walk<'_> {
    /// Forgets what is known of the numbers that differ from those of an earlier turn and have not
    /// mattered so far: they are likely to differ in every turn.
    pub(crate) fn widen(&self, earlier: &State, state: &mut State) {
        for (old, frame) in earlier.frames.iter().zip(&mut state.frames) {
            let differs = |place: Place, before: &Value, value: &Value| {
                before.is_scalar()
                    && value.is_scalar()
                    && !self.nodes.is_precise(old.node(place, before))
                    && (before.scalar != value.scalar
                        || before.id != value.id
                        || before.off != value.off)
            };
            let places = frame.places(|value| value.is_scalar());
            let changed = places.filter(|(place, value)| {
                old.value(*place).is_some_and(|before| differs(*place, before, value))
            });
            let changed: Vec<Place> = changed.map(|(place, _)| place).collect();
            for place in changed {
                *frame.value_mut(place) = Value::UNKNOWN;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::{Input, Profile, Rejection, Rule, Verified, verify};
    use skep_bpf::codec::Slot;
    use skep_bpf::platform::ProgType;
    use skep_bpf::program::Bytecode;

    fn verdict(slots: &[Slot]) -> Result<Verified, Box<Rejection>> {
        verify(&Input::new(
            &Bytecode::from(slots.to_vec()),
            ProgType::SOCKET_FILTER,
            Profile::linux(1),
        ))
    }

    const EXIT: Slot = Slot::new(0x95, 0, 0, 0, 0);

    const fn may_goto(offset: i16) -> Slot {
        Slot::new(0xe5, 0, 0, offset, 0)
    }

    /// The counter differs in every turn; that it does not matter ends the walk.
    #[test]
    fn a_loop_with_may_goto_is_walked_a_few_times() {
        // r0 = 0; l: may_goto out; r0 += 1; goto l; out: r0 = 0; exit
        let count = Slot::new(0x07, 0, 0, 0, 1);
        let zero = Slot::new(0xb7, 0, 0, 0, 0);
        let code = [zero, may_goto(2), count, Slot::new(0x05, 0, 0, -3, 0), zero, EXIT];
        let verified = verdict(&code).expect("it ends");
        assert!(verified.stats().insns_processed < 30);
    }

    /// The number that grows is an offset of the stack: it matters in the end, and then the turns
    /// that were thought to be covered are not.
    #[test]
    fn what_matters_after_the_loop_matters_in_it() {
        // r1 = -16; l: may_goto out; r1 += 1; goto l; out: r2 = r10; r2 += r1; *(u8 *)r2 = 0; ...
        let code = [
            Slot::new(0xb7, 1, 0, 0, -16),
            may_goto(2),
            Slot::new(0x07, 1, 0, 0, 1),
            Slot::new(0x05, 0, 0, -3, 0),
            Slot::new(0xbf, 2, 10, 0, 0),
            Slot::new(0x0f, 2, 1, 0, 0),
            Slot::new(0x72, 2, 0, 0, 0),
            Slot::new(0xb7, 0, 0, 0, 0),
            EXIT,
        ];
        let rejection = verdict(&code).expect_err("the offset is unbounded");
        assert!(matches!(rejection.rule, Rule::Stack | Rule::Unbounded | Rule::PointerArithmetic));
    }
}
