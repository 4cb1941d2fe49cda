//! Comparisons of pointers: with NULL, with each other, with the packet's end.
//!
//! Whatever was compared with the end tells how many bytes from its base exist; this holds for all
//! pointers with the same base (kind and id).

use crate::explore::Walk;
use crate::input::MapFacts;
use crate::state::State;
use crate::state::value::{Kind, MapRef, Reach, Value};
use skep_bpf::insn::{Reg, Src};
use skep_bpf::op::{Cond, Width};
use skep_bpf::platform::MapType;

/// The largest offset into a packet.
const MAX_PACKET_OFFSET: u64 = 0xffff;

/// The condition with its operands swapped.
fn swapped(cond: Cond) -> Cond {
    match cond {
        Cond::Lt => Cond::Gt,
        Cond::Le => Cond::Ge,
        Cond::Gt => Cond::Lt,
        Cond::Ge => Cond::Le,
        Cond::Slt => Cond::Sgt,
        Cond::Sle => Cond::Sge,
        Cond::Sgt => Cond::Slt,
        Cond::Sge => Cond::Sle,
        Cond::Eq | Cond::Ne | Cond::Set => cond,
    }
}

/// Whether a comparison with the packet's end is decided by an earlier one.
pub(crate) fn decide_packet(cond: Cond, left: &Value, right: &Value) -> Option<bool> {
    let (packet, cond) = if right.kind == Kind::PacketEnd {
        (left, cond)
    } else if left.kind == Kind::PacketEnd {
        (right, swapped(cond))
    } else {
        return None;
    };
    match (packet.kind.reach()?, cond) {
        (Reach::BeyondEnd, Cond::Le | Cond::Gt) => Some(cond == Cond::Gt),
        (Reach::BeyondEnd | Reach::AtEnd, Cond::Lt | Cond::Ge) => Some(cond == Cond::Ge),
        _ => None,
    }
}

impl Walk<'_> {
    /// What an undecided comparison tells about pointers, here and in `other`, where it is true.
    #[expect(clippy::too_many_arguments, reason = "the parts of one instruction and its operands")]
    pub(crate) fn compare_pointers(
        &mut self,
        cond: Cond,
        width: Width,
        dst: Reg,
        src: Src,
        left: &Value,
        right: &Value,
        other: &mut State,
    ) {
        if width == Width::W32 {
            return;
        }
        let maps = &self.input.maps;
        let here = &mut self.state;
        match src {
            Src::Imm(0) if left.or_null && matches!(cond, Cond::Eq | Cond::Ne) => {
                mark_null(here, maps, left, cond == Cond::Ne);
                mark_null(other, maps, left, cond == Cond::Eq);
            }
            Src::Imm(_) => {}
            Src::Reg(src) => {
                let equal = match cond {
                    Cond::Eq => Some(&mut *other),
                    Cond::Ne => Some(&mut *here),
                    _ => None,
                };
                if let Some(equal) = equal {
                    not_null_by_equality(equal, maps, (dst, left), (src, right));
                }
                match_packet(here, other, cond, (dst, left), (src, right));
            }
        }
    }
}

/// Of two equal pointers one is not NULL: neither is the other.
fn not_null_by_equality(
    state: &mut State,
    maps: &[MapFacts],
    (dst, left): (Reg, &Value),
    (src, right): (Reg, &Value),
) {
    let is_object = |value: &Value| matches!(value.kind, Kind::Btf { .. });
    if !left.kind.is_pointer() || !right.kind.is_pointer() || is_object(left) || is_object(right) {
        return;
    }
    if left.is_not_null() && right.or_null {
        set_not_null(state.reg_mut(src), maps);
    }
    if right.is_not_null() && left.or_null {
        set_not_null(state.reg_mut(dst), maps);
    }
}

/// A pointer is not NULL: what it points to may have another kind than what was looked up.
pub(crate) fn set_not_null(value: &mut Value, maps: &[MapFacts]) {
    value.or_null = false;
    let Kind::MapValue(map) = value.kind else { return };
    let Some(facts) = facts_of(maps, map) else { return };
    if facts.inner.is_some() && !map.inner {
        value.kind = Kind::ConstMap(MapRef { inner: true, ..map });
    } else if facts.map_type == MapType::XSKMAP {
        value.kind = Kind::XdpSock;
    } else if matches!(facts.map_type, MapType::SOCKMAP | MapType::SOCKHASH) {
        value.kind = Kind::Socket;
    }
}

/// What is known of a map.
pub(crate) fn facts_of(maps: &[MapFacts], map: MapRef) -> Option<&MapFacts> {
    let facts = maps.get(usize::from(map.index))?;
    if map.inner { facts.inner.as_deref() } else { Some(facts) }
}

/// All copies of a pointer are NULL, or none is.
fn mark_null(state: &mut State, maps: &[MapFacts], pointer: &Value, null: bool) {
    let id = pointer.id;
    if null && pointer.ref_id != 0 && pointer.ref_id == id {
        state.drop_reference(id);
    }
    state.update(
        |value| value.or_null && value.id == id,
        |value| {
            if null {
                *value = Value::constant(0);
                return;
            }
            set_not_null(value, maps);
            // The id of a value with a lock says which lock.
            let has_lock = match value.kind {
                Kind::MapValue(map) => facts_of(maps, map)
                    .is_some_and(|map| map.has_field(crate::input::SpecialKind::SpinLock)),
                Kind::Allocated(object) => object.has_lock(),
                _ => false,
            };
            if !has_lock {
                value.id = 0;
            }
        },
    );
}

/// Comparisons of the packet with its end, or of the metadata with the packet's start. `here` the
/// comparison is false, in `other` it is true.
fn match_packet(
    here: &mut State,
    other: &mut State,
    cond: Cond,
    (dst, left): (Reg, &Value),
    (src, right): (Reg, &Value),
) {
    let is_start = |value: &Value| {
        matches!(value.kind, Kind::Packet(_))
            && value.id == 0
            && value.off == 0
            && value.scalar.as_constant() == Some(0)
    };
    let bounds = |pointer: &Value, end: &Value| match (pointer.kind, end.kind) {
        (Kind::Packet(_), Kind::PacketEnd) => true,
        (Kind::PacketMeta(_), Kind::Packet(_)) => is_start(end),
        _ => false,
    };
    let (pointer, reg, cond) = if bounds(left, right) {
        (left, dst, cond)
    } else if bounds(right, left) {
        (right, src, swapped(cond))
    } else {
        return;
    };
    // pointer cond end: the side where the pointer does not exceed the end, whether it may equal
    // it there, and the side where it is at the end or beyond.
    let (within, beyond, excludes_end) = match cond {
        Cond::Gt => (here, other, false),
        Cond::Lt => (other, here, true),
        Cond::Ge => (here, other, true),
        Cond::Le => (other, here, false),
        _ => return,
    };
    prove_reach(within, pointer, excludes_end);
    mark_end(beyond, reg, !excludes_end);
}

/// So many bytes from the pointer's base exist.
fn prove_reach(state: &mut State, pointer: &Value, excludes_end: bool) {
    let Ok(off) = u32::try_from(pointer.off) else { return };
    if off == 0 && excludes_end {
        return;
    }
    let umax = pointer.scalar.wide().umax;
    if umax > MAX_PACKET_OFFSET || umax + u64::from(off) > MAX_PACKET_OFFSET {
        return;
    }
    let reach = off + u32::from(excludes_end);
    let (kind, id) = (pointer.kind, pointer.id);
    state.update(
        |value| value.kind.same_type(kind) && value.id == id,
        |value| {
            let proved = match value.kind.reach() {
                Some(Reach::Bytes(before)) => before.max(reach),
                _ => reach,
            };
            value.kind = value.kind.with_reach(Reach::Bytes(proved));
        },
    );
}

/// The pointer is at the end or beyond; known of the packet's pointers only.
fn mark_end(state: &mut State, reg: Reg, beyond: bool) {
    let value = state.reg_mut(reg);
    if let Kind::Packet(_) = value.kind {
        value.kind = Kind::Packet(if beyond { Reach::BeyondEnd } else { Reach::AtEnd });
    }
}
