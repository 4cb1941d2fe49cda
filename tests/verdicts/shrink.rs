//! Making a disagreement small: instructions are removed and made simpler while it stays.

use super::{Case, Judge, Opinion};
use skep_bpf::codec::Slot;
use skep_bpf::op::{AluOp, Imm64Kind, call, class, code};

/// A smaller case of which both still have this opinion.
#[must_use]
pub fn shrink(case: &Case, judge: &Judge, opinion: &Opinion) -> Case {
    let keeps = |case: &Case| judge.opinion(case).as_ref() == Ok(opinion);
    let mut best = case.clone();
    loop {
        let before = best.slots.clone();
        remove(&mut best, &keeps);
        simplify(&mut best, &keeps);
        if best.slots == before {
            return best;
        }
    }
}

/// Removes runs of instructions, the long ones first.
fn remove(best: &mut Case, keeps: &impl Fn(&Case) -> bool) {
    for run in [16, 8, 4, 2, 1] {
        let mut at = best.slots.len();
        while at > 0 {
            at -= 1;
            let mut slots = Some(best.slots.clone());
            for _ in 0..run {
                slots = slots.and_then(|slots| without(&slots, at));
            }
            if let Some(slots) = slots {
                let smaller = Case { slots, ..best.clone() };
                if keeps(&smaller) {
                    *best = smaller;
                }
            }
            at = at.min(best.slots.len());
        }
    }
    if best.checkpoint_everywhere {
        let plain = Case { checkpoint_everywhere: false, ..best.clone() };
        if keeps(&plain) {
            *best = plain;
        }
    }
}

/// Replaces single instructions by simpler ones.
fn simplify(best: &mut Case, keeps: &impl Fn(&Case) -> bool) {
    for at in 0..best.slots.len() {
        let slot = best.slots[at];
        if slot.is_wide() || (at > 0 && best.slots[at - 1].is_wide()) {
            continue;
        }
        let (dst, src) = (slot.dst(), slot.src());
        let candidates = [
            Slot::new(class::ALU64 | AluOp::Mov.row().code, dst, 0, 0, 0),
            Slot::new(class::JMP | code::JA, 0, 0, slot.offset, 0),
            Slot::new(slot.opcode, dst, src, slot.offset, 0),
            Slot::new(slot.opcode, dst, src, slot.offset, 1),
            Slot::new(slot.opcode, dst, src, slot.offset, slot.imm & 0xff),
        ];
        for candidate in candidates {
            let rank = |slot: Slot| (slot.imm.unsigned_abs(), slot.src());
            if candidate == slot || rank(candidate) >= rank(slot) {
                continue;
            }
            let mut simpler = best.clone();
            simpler.slots[at] = candidate;
            if keeps(&simpler) {
                *best = simpler;
                break;
            }
        }
    }
}

/// The code without the instruction at a slot; jumps over it become shorter, and jumps to it lead
/// to the one after it. `None` if there is no instruction to remove.
pub(super) fn without(slots: &[Slot], at: usize) -> Option<Vec<Slot>> {
    let wide = slots.get(at)?.is_wide();
    if at > 0 && slots[at - 1].is_wide() && slots[at].opcode == 0 {
        return None;
    }
    let len = if wide { 2 } else { 1 };
    if slots.len() <= len {
        return None;
    }
    // Where a slot will be.
    let moved = |index: i64| {
        if index > at as i64 { (index - len as i64).max(at as i64) } else { index }
    };
    let mut rest = Vec::with_capacity(slots.len());
    let mut index = 0;
    while index < slots.len() {
        let slot = slots[index];
        let step = if slot.is_wide() { 2 } else { 1 };
        if index != at {
            let distance = |old: i64| {
                let here = index as i64;
                moved(here + 1 + old) - moved(here) - 1
            };
            rest.push(match kind(slot) {
                Field::None => slot,
                Field::Offset => {
                    let offset = distance(slot.offset.into()) as i16;
                    Slot::new(slot.opcode, slot.dst(), slot.src(), offset, slot.imm)
                }
                Field::Imm => {
                    let imm = distance(slot.imm.into()) as i32;
                    Slot::new(slot.opcode, slot.dst(), slot.src(), slot.offset, imm)
                }
            });
            if step == 2 {
                rest.extend(slots.get(index + 1));
            }
        }
        index += step;
    }
    Some(rest)
}

/// Which field of an instruction is a distance.
enum Field {
    None,
    Offset,
    Imm,
}

fn kind(slot: Slot) -> Field {
    let operation = slot.opcode & 0xf0;
    match slot.class() {
        class::JMP if operation == code::CALL => {
            if slot.src() == call::LOCAL {
                Field::Imm
            } else {
                Field::None
            }
        }
        class::JMP if operation == code::EXIT => Field::None,
        class::JMP32 if operation == code::JA => Field::Imm,
        class::JMP | class::JMP32 => Field::Offset,
        _ if slot.is_wide() && slot.src() == Imm64Kind::Code.row().src => Field::Imm,
        _ => Field::None,
    }
}
