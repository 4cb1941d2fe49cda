//! What memory is known to hold: loads of what was just loaded or stored are that value, and
//! stores that are overwritten before anybody can look do not take place.
//!
//! Accesses with one base and different displacements are told apart by those. Others are told
//! apart by their regions where a proof knows them: the stack, the context, the packet and the
//! values of maps never overlap. What is known lasts from a block to those that only it leads
//! to, so never around a loop: a loop that waits for somebody else's store goes on looking.
//! Calls, atomic operations and ordered accesses end it.
//!
//! A load may be left out without a proof, too, since the access before it would have trapped; a
//! store only if it cannot trap, and nothing between it and the next can.

use skep_bpf::insn::{Extend, Insn, Reg};
use skep_bpf::op::{Size, Width};
use skep_bpf::program::Pc;
use skep_verifier::Region;

use super::cleanup;
use super::dominators::Dominators;
use super::ir::{Bin, Func, Op, Un, Val};
use crate::abi::FRAME_BYTES;
use crate::source::Source;

/// How many accesses are remembered at a time.
const MOST_KNOWN: usize = 24;

/// Memory that an access reads or writes.
#[derive(Clone, Copy, Debug)]
struct Place {
    /// What the displacement is added to; `None` is 0.
    base: Option<Val>,
    disp: u32,
    bytes: u32,
    class: Class,
}

/// Memory that others are not part of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Class {
    Stack,
    Context,
    Packet,
    Map,
    Unknown,
}

impl Place {
    /// How many bytes this place starts behind another of the same base, modulo 2^32.
    fn behind(&self, other: &Place) -> Option<u32> {
        (self.base == other.base).then(|| self.disp.wrapping_sub(other.disp))
    }

    /// Whether this place contains another, and where in it the other starts.
    fn contains(&self, other: &Place) -> Option<u32> {
        let at = other.behind(self)?;
        (at < self.bytes && other.bytes <= self.bytes - at).then_some(at)
    }

    /// Whether both may have a byte in common.
    fn may_overlap(&self, other: &Place) -> bool {
        match (self.behind(other), other.behind(self)) {
            (Some(after), Some(before)) => after < other.bytes || before < self.bytes,
            _ => {
                self.class == other.class
                    || self.class == Class::Unknown
                    || other.class == Class::Unknown
            }
        }
    }
}

/// What tells places apart.
struct Places<'a> {
    source: &'a Source<'a>,
}

impl Places<'_> {
    fn of(&self, func: &Func, value: Val) -> Option<Place> {
        let (addr, disp, size) = match func.op(value) {
            Op::Load { size, addr, disp, .. } | Op::Store { size, addr, disp, .. } => {
                (addr, disp, size)
            }
            _ => return None,
        };
        let (base, disp) = match func.constant(addr) {
            Some(number) => (None, (number as u32).wrapping_add(disp as u32)),
            None => (Some(addr), disp as u32),
        };
        let class = self.class(func.nodes[value.index()].pc);
        Some(Place { base, disp, bytes: size.bytes(), class })
    }

    fn class(&self, pc: u32) -> Class {
        let Some(proof) = self.source.proof else { return Class::Unknown };
        // What a lookup without its helper reads belongs to no load of the program.
        if !matches!(self.source.insns[pc as usize], Insn::Load { .. } | Insn::Store { .. }) {
            return Class::Unknown;
        }
        let slot = self.source.program.slot(Pc::from_index(pc as usize));
        match proof.region(slot) {
            Some(Region::Stack) => Class::Stack,
            Some(Region::Context) => Class::Context,
            Some(Region::Packet) => Class::Packet,
            // Two maps of a program may be one map of the machine.
            Some(Region::MapValue(_)) => Class::Map,
            // Memory may be part of anything.
            _ => Class::Unknown,
        }
    }

    /// Whether an access can trap: not with a proof, and not in the function's own frame.
    fn may_trap(&self, func: &Func, place: &Place) -> bool {
        let in_frame = place.base.is_some_and(|base| func.op(base) == Op::Entry(Reg::R10))
            && place.disp.wrapping_neg() <= FRAME_BYTES
            && place.bytes <= place.disp.wrapping_neg();
        self.source.proof.is_none() && !in_frame
    }
}

/// Leaves out loads and stores.
pub(crate) fn forward(func: &mut Func, source: &Source<'_>, dominators: &Dominators) {
    let places = Places { source };
    loads(func, &places, dominators);
    for &id in &dominators.order {
        stores(func, &places, id.index());
    }
}

/// Bytes that are the low ones of a value.
#[derive(Clone, Copy, Debug)]
struct Known {
    place: Place,
    value: Val,
}

fn loads(func: &mut Func, places: &Places<'_>, dominators: &Dominators) {
    let mut replaced: Vec<Val> = Vec::new();
    let mut nodes: Vec<Val> = Vec::new();
    let mut at_end: Vec<Vec<Known>> = vec![Vec::new(); dominators.order.len()];
    for (index, &id) in dominators.order.iter().enumerate() {
        let mut known = match dominators.predecessors(id)[..] {
            [from] => at_end
                .get(dominators.position[from.index()] as usize)
                .filter(|_| (dominators.position[from.index()] as usize) < index)
                .cloned()
                .unwrap_or_default(),
            _ => Vec::new(),
        };
        let old = std::mem::take(&mut func.blocks[id.index()].nodes);
        for &value in &old {
            match func.op(value) {
                Op::Load { size, extend, .. } => {
                    let Some(place) = places.of(func, value) else { continue };
                    let found = known
                        .iter()
                        .rev()
                        .find_map(|known| Some((known.value, known.place.contains(&place)?)));
                    if let Some((whole, at)) = found {
                        let pc = func.nodes[value.index()].pc;
                        let part = part(func, &mut nodes, (whole, at, pc), size, extend);
                        replaced.extend((replaced.len() as u32..func.nodes.len() as u32).map(Val));
                        replaced[value.index()] = part;
                        continue;
                    }
                    remember(&mut known, Known { place, value });
                }
                Op::Store { value: stored, .. } => {
                    let Some(place) = places.of(func, value) else { continue };
                    known.retain(|known| !known.place.may_overlap(&place));
                    remember(&mut known, Known { place, value: stored });
                }
                Op::Charge(_) | Op::ChargeAndCheck(_) | Op::ChargeBy(_) => {}
                Op::Fuel | Op::CheckDepth(_) => {}
                op if op.is_pure() => {}
                _ => known.clear(),
            }
            nodes.push(value);
        }
        let block = &mut func.blocks[id.index()];
        block.nodes = old;
        block.nodes.clear();
        block.nodes.append(&mut nodes);
        at_end[index] = known;
    }
    if !replaced.is_empty() {
        cleanup::replace(func, &dominators.order, &mut replaced);
    }
}

fn remember(known: &mut Vec<Known>, new: Known) {
    if known.len() == MOST_KNOWN {
        known.remove(0);
    }
    known.push(new);
}

/// Some bytes of a value, as a load extends them.
fn part(
    func: &mut Func,
    nodes: &mut Vec<Val>,
    (whole, at, pc): (Val, u32, u32),
    size: Size,
    extend: Extend,
) -> Val {
    let mut add = |func: &mut Func, op: Op| {
        let value = func.make(op, pc);
        nodes.push(value);
        value
    };
    let mut value = whole;
    if at != 0 {
        let amount = func.make_const(u64::from(8 * at));
        value = add(func, Op::Binary(Bin::Rsh, Width::W64, value, amount));
    }
    match (size, extend) {
        (Size::Dw, _) => value,
        (Size::W, Extend::Zero) => add(func, Op::Unary(Un::Zext, Width::W32, value)),
        (_, Extend::Zero) => {
            let mask = func.make_const(u64::MAX >> (64 - 8 * size.bytes()));
            add(func, Op::Binary(Bin::And, Width::W32, value, mask))
        }
        (Size::B, _) => add(func, Op::Unary(Un::Sext8, Width::W64, value)),
        (Size::H, _) => add(func, Op::Unary(Un::Sext16, Width::W64, value)),
        (Size::W, _) => add(func, Op::Unary(Un::Sext32, Width::W64, value)),
    }
}

/// Takes out of a block the stores that later ones overwrite.
fn stores(func: &mut Func, places: &Places<'_>, block: usize) {
    let mut later: Vec<Place> = Vec::new();
    let mut dead: Vec<Val> = Vec::new();
    for &value in func.blocks[block].nodes.iter().rev() {
        let op = func.op(value);
        match op {
            Op::Load { .. } | Op::Store { .. } => {
                let Some(place) = places.of(func, value) else { continue };
                let traps = places.may_trap(func, &place);
                let stores = matches!(op, Op::Store { .. });
                if stores && !traps && later.iter().any(|over| over.contains(&place).is_some()) {
                    dead.push(value);
                    continue;
                }
                if traps {
                    later.clear();
                }
                if stores {
                    if later.len() < MOST_KNOWN {
                        later.push(place);
                    }
                } else {
                    later.retain(|over| !over.may_overlap(&place));
                }
            }
            Op::Charge(_) | Op::ChargeBy(_) | Op::Fuel => {}
            op if op.is_pure() => {}
            _ => later.clear(),
        }
    }
    if !dead.is_empty() {
        func.blocks[block].nodes.retain(|value| !dead.contains(value));
    }
}
