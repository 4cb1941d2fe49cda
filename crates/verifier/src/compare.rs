//! Whether a state that was proved safe covers another one.
//!
//! Only live registers count; numbers count only where they are precise; ids must correspond one
//! to one. In the exact mode the states must be the same but for ids: then a loop made no
//! progress. (Linux 6.18, `states_equal`.)

use crate::ids::IdMap;
use crate::precision::{Node, Nodes};
use crate::state::State;
use crate::state::frame::{Active, Place, REGS};
use crate::state::stack::Slot;
use crate::state::value::{ADD_CONST, Kind, NARROW_SUM, Reach, Value};
use crate::structure::Code;

/// How two states are compared.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Whether the old state covers the current one.
    Covers,
    /// The same, but numbers are compared whether they matter or not: it is not known yet.
    CoversAll,
    /// Whether they are the same.
    Exact,
}

/// A comparison of states at one instruction.
pub(crate) struct Comparison<'a> {
    pub(crate) code: &'a Code,
    pub(crate) nodes: &'a Nodes,
    pub(crate) ids: &'a mut IdMap,
    pub(crate) mode: Mode,
    /// In which frame and where the states differed, if that is why one does not cover the other.
    pub(crate) differed: Option<(usize, Place)>,
}

/// What a remembered state requires of one place, apart from ids, and a state lacked that it was
/// compared with. Most of the states that lack something lack the same, so this is asked first.
pub(crate) struct Requirement {
    frame: usize,
    place: Place,
    old: Value,
    /// Whether it counts even where only numbers that matter are compared.
    pub(crate) always: bool,
}

impl Requirement {
    /// What an old state requires in a place of a frame where a comparison failed.
    pub(crate) fn new(
        (frame, place): (usize, Place),
        mode: Mode,
        old: &State,
        current: &State,
    ) -> Option<Requirement> {
        let values = old.frames.get(frame)?;
        let value = match place {
            Place::Reg(_) => *values.value(place)?,
            Place::Slot(slot) => {
                let slot = values.stack().get(slot)?;
                if !slot.is_spilled_scalar64() {
                    return None;
                }
                slot.value
            }
        };
        let requirement = Requirement { frame, place, old: value, always: mode == Mode::Covers };
        requirement.is_lacking(current).then_some(requirement)
    }

    /// Whether a state lacks it: then it is not covered.
    #[inline]
    pub(crate) fn is_lacking(&self, current: &State) -> bool {
        // If there is no such frame, the comparison will say so.
        let Some(frame) = current.frames.get(self.frame) else { return false };
        let value = match self.place {
            Place::Reg(_) => frame.value(self.place),
            Place::Slot(slot) => frame.stack().get(slot).and_then(as_number),
        };
        value.is_some_and(|value| excludes(&self.old, value))
    }
}

/// Whether an old value does not cover another one whatever their ids are. Of numbers, the old one
/// matters.
fn excludes(old: &Value, current: &Value) -> bool {
    if old.kind == Kind::Invalid {
        return false;
    }
    if old.or_null != current.or_null || !old.kind.same_type(current.kind) {
        return true;
    }
    match old.kind {
        Kind::Scalar => !current.scalar.within(&old.scalar),
        Kind::Packet(_) | Kind::PacketMeta(_) => old.off != current.off,
        _ => old.kind != current.kind || old.off != current.off,
    }
}

/// Which numbers of a frame matter.
#[derive(Clone, Copy)]
struct Precise<'a> {
    /// Those that the last checkpoint knows.
    places: u128,
    of: &'a Active,
}

impl Precise<'_> {
    /// Whether the number in a place does.
    #[inline]
    fn contains(&self, nodes: &Nodes, place: Place, value: &Value) -> bool {
        let number = place.number();
        self.places >> number & 1 == 1
            || self.of.written().contains(number) && nodes.is_precise(value.node)
    }
}

impl Comparison<'_> {
    /// Compares two states at slot `at`.
    pub(crate) fn states(&mut self, old: &State, current: &State, at: usize) -> bool {
        if old.frames.len() != current.frames.len()
            || old.references.len() != current.references.len()
            || old.interrupts.len() != current.interrupts.len()
            || old.lock.is_some() != current.lock.is_some()
            || old.rcu != current.rcu
            || old.preempt != current.preempt
            || old.sleepable != current.sleepable
        {
            return false;
        }
        for (a, b) in old.references.iter().zip(&current.references) {
            if !self.ids.same(a.id, b.id) {
                return false;
            }
        }
        for (a, b) in old.interrupts.iter().zip(&current.interrupts) {
            if !self.ids.same(a.id, b.id) {
                return false;
            }
        }
        if let (Some(a), Some(b)) = (old.lock, current.lock)
            && (a.owner != b.owner || !self.ids.same(a.id, b.id))
        {
            return false;
        }
        let depth = old.depth();
        old.frames.iter().zip(&current.frames).enumerate().all(|(index, (a, b))| {
            let callsite = |state: &State| state.frames.get(index + 1).map(|f| f.callsite);
            let at = if index == depth { at } else { callsite(old).unwrap_or(at) };
            let same_call = index == 0 || a.callsite == b.callsite;
            same_call && self.frames(index, a, b, at)
        })
    }

    fn frames(&mut self, frame: usize, old: &Active, current: &Active, at: usize) -> bool {
        // A state from which a helper may call back more often covers one that may less often.
        if old.callback_turns > current.callback_turns {
            return false;
        }
        let live = self.code.live.get(at).copied().unwrap_or(u16::MAX);
        let precise = Precise { places: self.nodes.precise_places(old.written()), of: old };
        old.all_regs_beside(current, live, |reg, a, b, shared| {
            // What is the same covers itself, but for ids.
            let covers = shared && a.has_no_id()
                || self.values(a, b, |nodes| precise.contains(nodes, Place::Reg(reg), a));
            if !covers {
                self.differed = Some((frame, Place::Reg(reg)));
            }
            covers
        }) && self.stacks(frame, old, current, precise)
    }

    /// Whether the old value, which may be a number that matters, covers the current one.
    fn values(
        &mut self,
        old: &Value,
        current: &Value,
        is_precise: impl Fn(&Nodes) -> bool,
    ) -> bool {
        if self.mode == Mode::Exact {
            return self.exact(old, current);
        }
        if matches!(old.kind, Kind::Invalid) {
            return self.mode == Mode::Covers || current.kind == Kind::Invalid;
        }
        if old.or_null != current.or_null || !old.kind.same_type(current.kind) {
            return false;
        }
        match old.kind {
            Kind::Scalar => self.numbers(old, current, is_precise),
            Kind::MapValue(_)
            | Kind::MapKey(_)
            | Kind::Memory { .. }
            | Kind::ReadOnlyMemory { .. }
            | Kind::Slice(_)
            | Kind::Buffer { .. }
            | Kind::TracepointBuffer => {
                old.kind == current.kind
                    && old.off == current.off
                    && current.scalar.within(&old.scalar)
                    && self.ids.same(old.id, current.id)
                    && self.ids.same(old.ref_id, current.ref_id)
            }
            Kind::Packet(old_reach) | Kind::PacketMeta(old_reach) => {
                let reaches = match (old_reach, current.kind.reach()) {
                    (Reach::Bytes(old), Some(Reach::Bytes(current))) => old <= current,
                    (old, current) => Some(old) == current,
                };
                reaches
                    && old.off == current.off
                    && self.ids.same(old.id, current.id)
                    && current.scalar.within(&old.scalar)
            }
            _ => self.exact(old, current),
        }
    }

    fn numbers(
        &mut self,
        old: &Value,
        current: &Value,
        is_precise: impl Fn(&Nodes) -> bool,
    ) -> bool {
        if self.mode == Mode::Covers && !is_precise(self.nodes) {
            return true;
        }
        let (old_sum, current_sum) = (old.id & ADD_CONST != 0, current.id & ADD_CONST != 0);
        if old_sum && (!current_sum || old.off != current.off) {
            return false;
        }
        if old_sum && (old.id ^ current.id) & NARROW_SUM != 0 {
            return false;
        }
        if old.id != 0 && !old_sum && current_sum {
            return false;
        }
        self.ids.same_scalar(old.id, current.id) && current.scalar.within(&old.scalar)
    }

    fn exact(&mut self, old: &Value, current: &Value) -> bool {
        old.kind == current.kind
            && old.or_null == current.or_null
            && old.off == current.off
            && old.scalar == current.scalar
            && self.ids.same(old.id, current.id)
            && self.ids.same(old.ref_id, current.ref_id)
    }

    fn stacks(
        &mut self,
        frame: usize,
        old: &Active,
        current: &Active,
        precise: Precise<'_>,
    ) -> bool {
        let exact = self.mode == Mode::Exact;
        old.stack().all_beside(current.stack(), |index, a, b, shared| match b {
            // What is the same covers itself, but for ids.
            Some(_) if shared && (!a.has_value() || a.value.has_no_id()) => true,
            Some(_) if !exact && a.is_all_misc() => true,
            Some(b) => {
                let place = Place::Slot(index);
                let covers = self.slots(a, b, |nodes, value| precise.contains(nodes, place, value));
                if !covers {
                    self.differed = Some((frame, Place::Slot(index)));
                }
                covers
            }
            None if exact => false,
            None => a.is_all_misc(),
        })
    }

    /// How many elements iterators gave does not count: then no loop over one would end.
    fn iterators(&mut self, old: &Value, current: &Value) -> bool {
        let uncounted = |kind| match kind {
            Kind::Iterator { number, first, active, trust, .. } => {
                Some((number, first, active, trust))
            }
            _ => None,
        };
        uncounted(old.kind) == uncounted(current.kind) && self.ids.same(old.ref_id, current.ref_id)
    }

    fn slots(
        &mut self,
        old: &Slot,
        current: &Slot,
        is_precise: impl Fn(&Nodes, &Value) -> bool,
    ) -> bool {
        let differ = old.word() ^ current.word();
        if self.mode == Mode::Exact && differ != 0 {
            return false;
        }
        // Eight bytes of anything are a number of which nothing is known.
        if let (Some(a), Some(b)) = (as_number(old), as_number(current)) {
            let nowhere = !old.is_spilled();
            return self.values(a, b, |nodes| nowhere || is_precise(nodes, a));
        }
        if differ & old.known_bytes() != 0 {
            return false;
        }
        if old.is_iterator() {
            return self.iterators(&old.value, &current.value);
        }
        if old.is_dynptr() {
            // Which one it is does not matter, but what it points to does.
            return old.value.kind == current.value.kind
                && self.ids.same(old.value.ref_id, current.value.ref_id);
        }
        if old.has_interrupts() {
            return old.value.kind == current.value.kind
                && self.ids.same(old.value.ref_id, current.value.ref_id);
        }
        !old.is_spilled()
            || (current.is_spilled()
                && self.values(&old.value, &current.value, |nodes| is_precise(nodes, &old.value)))
    }
}

/// A slot as a number of eight bytes, if it is one.
fn as_number(slot: &Slot) -> Option<&Value> {
    if slot.is_spilled_scalar64() {
        Some(&slot.value)
    } else if slot.is_all_misc() {
        Some(&Value::UNKNOWN)
    } else {
        None
    }
}

/// The active functions of two states, with the registers that are live where each goes on.
fn frames_beside<'a>(
    code: &'a Code,
    old: &'a State,
    current: &'a State,
    at: usize,
) -> impl Iterator<Item = (&'a Active, &'a Active, u16)> {
    let depth = old.depth();
    old.frames.iter().zip(&current.frames).enumerate().map(move |(index, (a, b))| {
        let callsite = old.frames.get(index + 1).map_or(at, |frame| frame.callsite);
        let live_at = if index == depth { at } else { callsite };
        (a, b, code.live.get(live_at).copied().unwrap_or(u16::MAX))
    })
}

/// What matters in an old state, a checkpoint, matters in the current one that it covers. Whether
/// that was not known.
pub(crate) fn mark_counterparts(
    code: &Code,
    nodes: &mut Nodes,
    old: &State,
    current: &State,
    at: usize,
) -> bool {
    let mut changed = false;
    for (a, b, live) in frames_beside(code, old, current, at) {
        let counted = u128::MAX << REGS | u128::from(live);
        // What is marked already needs no more.
        let marked = nodes.precise_places(b.written());
        let mut places = nodes.precise_places(a.written()) & counted & !marked;
        while places != 0 {
            let place = Place::of_number(places.trailing_zeros() as usize);
            places &= places - 1;
            if let (Some(old), Some(current)) = (a.value(place), b.value(place))
                && old.is_scalar()
                && current.is_scalar()
            {
                changed |= nodes.mark(b.node(place, current));
            }
        }
    }
    changed
}

/// Gives the nodes of live numbers of an old state, each with that of the number it covers in the
/// current one.
pub(crate) fn counterparts(
    code: &Code,
    old: &State,
    current: &State,
    at: usize,
    mut found: impl FnMut(Node, Node),
) {
    for (a, b, live) in frames_beside(code, old, current, at) {
        let registers = a.regs().zip(b.regs()).enumerate();
        let registers = registers.filter(|(reg, _)| live >> reg & 1 == 1);
        let registers = registers.map(|(reg, (a, b))| (Place::Reg(reg), a, b));
        let spilled = a.stack().iter().zip(b.stack().iter()).enumerate();
        let spilled = spilled
            .filter(|(_, (a, b))| a.is_spilled_scalar() && b.is_spilled_scalar())
            .map(|(slot, (a, b))| (Place::Slot(slot), &a.value, &b.value));
        let mut find = |(place, old, current): (Place, &Value, &Value)| {
            if old.is_scalar() && current.is_scalar() {
                found(a.node(place, old), b.node(place, current));
            }
        };
        registers.for_each(&mut find);
        spilled.for_each(&mut find);
    }
}
