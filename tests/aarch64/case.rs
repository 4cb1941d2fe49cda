//! Cases and outcomes as words: the format that `runner.c` describes.

use std::sync::Arc;

use skep::memory::PAGE_BYTES;
use skep_jit::code::Code;

use super::record::{EventKind, EventOutcome, Pages, Recording};

/// Machine code of a program, and what its calls through registers name.
#[derive(Clone, Debug)]
pub struct CodePart {
    /// The code.
    pub code: Arc<Code>,
    /// References to functions, with the functions' indices.
    pub functions: Vec<(u64, usize)>,
}

/// A run of machine code.
#[derive(Clone, Debug)]
pub struct Case {
    /// The codes: first the one that is entered, then those that tail calls lead to.
    pub codes: Vec<CodePart>,
    /// What an interpreter did.
    pub recording: Arc<Recording>,
    /// The most instructions.
    pub fuel: u64,
    /// How many instructions run until fuel is asked for.
    pub slice: u64,
}

/// The bit that marks the site of a helper that does not exist.
pub(super) const ABSENT: u64 = 1 << 63;

/// Frames below the first.
const CALLEES: u64 = 7;

impl Case {
    /// Appends the case in the runner's format.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let recording = &*self.recording;
        let registers = &recording.registers;
        let lowest = registers[10] - CALLEES * u64::from(skep::cpu::FRAME_BYTES);
        let pages = &recording.before.0;
        let counts = [self.codes.len(), pages.len(), recording.events.len()];
        words(out, [self.fuel, self.slice, registers[1], registers[2], registers[10], lowest]);
        words(out, counts.map(|count| count as u64));
        for part in &self.codes {
            part.write(out);
        }
        for (addr, page) in pages {
            let is_zero = page.bytes.iter().all(|byte| *byte == 0);
            words(out, [u64::from(*addr), u64::from(page.writable) | u64::from(is_zero) << 1]);
            if !is_zero {
                out.extend(&page.bytes);
            }
        }
        for event in &recording.events {
            let (kind, site) = match event.kind {
                EventKind::Helper(id) => (0, u64::from(id.0)),
                EventKind::Packet => (1, 0),
                EventKind::TailCall => (2, event.site),
            };
            let mut args = [0; 5];
            args[..event.args.len()].copy_from_slice(&event.args);
            let (outcome, value) = match event.outcome {
                EventOutcome::Value(value) => (0, value),
                EventOutcome::Trap(_) => (1, 0),
                EventOutcome::Other(value) => (2, value),
            };
            words(out, [kind, site, event.args.len() as u64]);
            words(out, args);
            words(out, [outcome, value, event.writes.len() as u64]);
            for (addr, bytes) in &event.writes {
                words(out, [u64::from(*addr), bytes.len() as u64]);
                padded(out, bytes);
            }
        }
    }
}

impl CodePart {
    fn write(&self, out: &mut Vec<u8>) {
        let code = &*self.code;
        let first = code.entries.first().copied().unwrap_or_default();
        words(out, [code.bytes.len() as u64]);
        words(out, [code.enter, code.fault_exit, first].map(u64::from));
        words(out, [code.accesses.len() as u64, self.functions.len() as u64]);
        words(out, [code.callback.map_or(0, u64::from)]);
        padded(out, &code.bytes);
        for access in &code.accesses {
            out.extend(access.offset.to_le_bytes());
            out.extend(access.insn.to_le_bytes());
            out.extend(access.disp.to_le_bytes());
            out.extend([access.reg, access.len, access.write, access.host]);
        }
        for (reference, function) in &self.functions {
            words(out, [*reference, u64::from(code.entries[*function])]);
        }
    }
}

fn words(out: &mut Vec<u8>, words: impl IntoIterator<Item = u64>) {
    for word in words {
        out.extend(word.to_le_bytes());
    }
}

fn padded(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend(bytes);
    out.resize(out.len().next_multiple_of(8), 0);
}

/// How a run of machine code ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Status {
    /// With an exit.
    Exited,
    /// With a trap.
    Trapped,
    /// A call was not the one that was noted, or the runtime was called wrongly.
    Diverged,
    /// A signal that no access of the code explains.
    Crashed,
    /// A register that C preserves was changed.
    Clobbered,
    /// It did not end.
    Hung,
}

/// What a run of machine code gave.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Outcome {
    /// How it ended.
    pub status: Status,
    /// `r0` after an exit; after a crash or the like, what happened.
    pub r0: u64,
    /// Fuel given less fuel left.
    pub spent: u64,
    /// The trap: its code, the instruction, the guest address, the number of bytes, whether it
    /// writes.
    pub trap: [u64; 5],
    /// The index of the code that trapped.
    pub code: u64,
    /// Why the runtime refused.
    pub reason: u64,
    /// How many calls were answered.
    pub answered: u64,
    /// The pages that changed, by address.
    pub pages: Vec<(u32, Vec<u8>)>,
}

impl Outcome {
    /// Reads an outcome from the front of the runner's words.
    pub(super) fn read(bytes: &mut &[u8]) -> Option<Outcome> {
        let status = match word(bytes)? {
            0 => Status::Exited,
            1 => Status::Trapped,
            2 => Status::Diverged,
            3 => Status::Crashed,
            4 => Status::Clobbered,
            5 => Status::Hung,
            _ => return None,
        };
        let (r0, spent) = (word(bytes)?, word(bytes)?);
        let trap = [word(bytes)?, word(bytes)?, word(bytes)?, word(bytes)?, word(bytes)?];
        let (code, reason, answered) = (word(bytes)?, word(bytes)?, word(bytes)?);
        let mut pages = Vec::new();
        for _ in 0..word(bytes)? {
            let addr = word(bytes)? as u32;
            let (page, rest) = bytes.split_at_checked(PAGE_BYTES as usize)?;
            pages.push((addr, page.to_vec()));
            *bytes = rest;
        }
        Some(Outcome { status, r0, spent, trap, code, reason, answered, pages })
    }

    /// The pages after the run.
    #[must_use]
    pub fn after(&self, before: &Pages) -> Pages {
        let mut after = before.clone();
        for (addr, bytes) in &self.pages {
            if let Some(page) = after.0.get_mut(addr) {
                page.bytes.clone_from(bytes);
            }
        }
        after
    }
}

fn word(bytes: &mut &[u8]) -> Option<u64> {
    let (first, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(u64::from_le_bytes(*first))
}
