//! Near misses: an accepted program of another generator with one thing changed.

use super::shrink::without;
use super::{Case, Generator, Prover};
use crate::random::Random;
use skep_bpf::codec::Slot;
use skep_bpf::op::class;

/// The case that a sequence of random numbers leads to.
pub(super) fn case(random: &mut Random, prover: &Prover) -> Result<Case, String> {
    const ATTEMPTS: usize = 8;
    let base = random.of(&[
        Generator::Guided,
        Generator::Guided,
        Generator::Precision,
        Generator::Pruning,
    ]);
    let mut case = base.case(random.bits(), prover)?;
    for _ in 0..ATTEMPTS {
        if prover.answer(&case).is_some_and(|answer| answer.accepts()) {
            break;
        }
        case = base.case(random.bits(), prover)?;
    }
    change(random, &mut case);
    if random.one_in(4) {
        change(random, &mut case);
    }
    if prover.is_longer(&case, LONG) && !random.one_in(64) {
        return Err("walking it takes too long".to_owned());
    }
    Ok(case)
}

/// Most programs that take so many instructions to walk are left out, because the kernel needs a
/// tenth of a second for each.
const LONG: u64 = 20_000;

/// Changes one thing.
fn change(random: &mut Random, case: &mut Case) {
    let starts = starts(&case.slots);
    let at = random.of(&starts);
    let slot = case.slots[at];
    match random.below(12) {
        0 if starts.len() > 2 => {
            if let Some(slots) = without(&case.slots, at) {
                case.slots = slots;
            }
        }
        1 => {
            let other = random.of(&starts);
            let wide = slot.is_wide() || case.slots[other].is_wide();
            if !wide {
                case.slots.swap(at, other);
            }
        }
        2 => case.checkpoint_everywhere = !case.checkpoint_everywhere,
        _ => {
            let changed = change_slot(random, slot);
            // What names a map must go on to name one of them.
            let names_map = |slot: Slot| slot.is_wide() && slot.src() != 0;
            if slot.is_wide() == changed.is_wide() && !names_map(changed) && !names_map(slot) {
                case.slots[at] = changed;
            } else if names_map(slot) {
                case.slots[at] = Slot::new(slot.opcode, changed.dst(), slot.src(), 0, slot.imm);
            }
        }
    }
}

/// Where instructions begin.
fn starts(slots: &[Slot]) -> Vec<usize> {
    let mut starts = Vec::new();
    let mut at = 0;
    while at < slots.len() {
        starts.push(at);
        at += if slots[at].is_wide() { 2 } else { 1 };
    }
    starts
}

fn change_slot(random: &mut Random, slot: Slot) -> Slot {
    let Slot { opcode, offset, imm, .. } = slot;
    let (dst, src) = (slot.dst(), slot.src());
    let register = |random: &mut Random| {
        let registers = if random.one_in(40) { 16 } else { 11 };
        random.below(registers) as u8
    };
    match random.below(9) {
        0 => Slot::new(opcode, register(random), src, offset, imm),
        1 => Slot::new(opcode, dst, register(random), offset, imm),
        2 | 3 => {
            let imm = match random.below(6) {
                0 => imm.wrapping_add(1),
                1 => imm.wrapping_sub(1),
                2 => imm ^ (1 << random.below(32)),
                3 => imm.wrapping_neg(),
                4 => imm.wrapping_mul(2),
                _ => random.imm(),
            };
            Slot::new(opcode, dst, src, offset, imm)
        }
        4 | 5 => {
            let offset = match random.below(6) {
                0 => offset.wrapping_add(1),
                1 => offset.wrapping_sub(1),
                2 => offset.wrapping_add(8),
                3 => offset.wrapping_sub(8),
                4 => offset ^ (1 << random.below(16)),
                _ => offset.wrapping_neg(),
            };
            Slot::new(opcode, dst, src, offset, imm)
        }
        6 => {
            // Another operation, or another size.
            let bits = [0x08, 0x10, 0x18, 0x20, 0x40, 0x80, 0x90, 0xe0];
            Slot::new(opcode ^ random.of(&bits), dst, src, offset, imm)
        }
        7 => {
            let other = match slot.class() {
                class::ALU => class::ALU64,
                class::ALU64 => class::ALU,
                class::JMP => class::JMP32,
                class::JMP32 => class::JMP,
                class::LDX => class::STX,
                class::STX => class::LDX,
                other => other ^ 1,
            };
            Slot::new(opcode & !7 | other, dst, src, offset, imm)
        }
        _ => Slot::new(opcode ^ (1 << random.below(8)), dst, src, offset, imm),
    }
}
