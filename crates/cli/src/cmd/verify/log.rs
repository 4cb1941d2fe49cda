//! The log of a verification in the form of Linux's verifier, for tools that read such logs and
//! for comparing with one.
//!
//! At level 1 it holds the path to a rejection, at level 2 every path, as the kernel's does. What
//! the kernel says of its analyses (live registers, stack liveness, precision) is left out; ids
//! are numbered in our way; where the kernel takes up a branch at level 1 it loses a line feed,
//! which stands here.

use std::io::{self, Write};

use skep_bpf::codec::{Slot, SlotIndex, decode};
use skep_bpf::insn::{Insn, Reg, Src};
use skep_bpf::program::Bytecode;
use skep_bpf::text::c_like::{Kernel, LinuxNames};
use skep_verifier::{Event, Input, Observed, Stats, verify_observed};

/// Text is handed on in pieces of about this size.
const PIECE_BYTES: usize = 1 << 16;

/// How much is said.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Level {
    /// The path to a rejection.
    One,
    /// Every path.
    Two,
}

/// Verifies a program and writes the log.
///
/// # Errors
///
/// If it cannot be written.
pub(super) fn write(input: &Input<'_>, level: Level, out: &mut dyn Write) -> io::Result<()> {
    let mut log = Log::new(input.bytecode, level, out);
    let verdict = {
        let mut observer = |observed: &Observed<'_>| log.note(observed);
        verify_observed(input, &mut observer)
    };
    let (stats, sentences) = match verdict {
        Ok(verified) => (verified.stats(), Vec::new()),
        Err(rejection) => {
            let mut sentences = rejection.details;
            sentences.push(rejection.message);
            (rejection.stats, sentences)
        }
    };
    log.finish(&sentences, stats, input.profile.max_insns)
}

/// A branch that waits.
struct Waiting {
    from: usize,
    /// How long the log was after its instruction.
    len: usize,
    calls: Vec<usize>,
    source: Option<usize>,
}

/// What the next instruction comes after, if not after the one before it.
enum Coming {
    /// A call: what it told the function is said once more.
    Called,
    /// A function's exit.
    Returned { from: usize },
    /// A branch that was taken up.
    Resumed { from: usize },
}

struct Log<'a> {
    bytecode: &'a Bytecode,
    level: Level,
    out: &'a mut dyn Write,
    /// What was not handed on yet.
    text: String,
    /// The length of the last line, if it holds an instruction and has no end yet.
    open: Option<usize>,
    waiting: Vec<Waiting>,
    coming: Option<Coming>,
    /// The state before the instruction.
    before: Vec<String>,
    depth: usize,
    /// The calls that are active.
    calls: Vec<usize>,
    /// The slot that the last source line printed begins at.
    source: Option<usize>,
    begun: bool,
    failed: Option<io::Error>,
}

impl<'a> Log<'a> {
    fn new(bytecode: &'a Bytecode, level: Level, out: &'a mut dyn Write) -> Log<'a> {
        Log {
            bytecode,
            level,
            out,
            text: String::new(),
            open: None,
            waiting: Vec::new(),
            coming: None,
            before: Vec::new(),
            depth: 1,
            calls: Vec::new(),
            source: None,
            begun: false,
            failed: None,
        }
    }

    fn note(&mut self, observed: &Observed<'_>) {
        let at = observed.at().0;
        match observed.event() {
            Event::Before => self.before(at, observed),
            Event::After => self.after(at, observed),
            Event::Waiting => self.waiting.push(Waiting {
                from: at,
                len: self.text.len(),
                calls: self.calls.clone(),
                source: self.source,
            }),
            Event::Covered => {
                self.close();
                self.text += &match self.coming.take() {
                    Some(Coming::Returned { from } | Coming::Resumed { from }) => {
                        format!("\nfrom {from} to {at}: safe\n")
                    }
                    Some(Coming::Called) | None => format!("{at}: safe\n"),
                };
            }
            Event::Resumed => self.resume(),
            Event::Finished => {}
        }
    }

    /// The instruction, and what is said before it.
    fn before(&mut self, at: usize, observed: &Observed<'_>) {
        self.close();
        let state = observed.to_string();
        self.text += &match self.coming.take() {
            Some(Coming::Resumed { from }) if self.level == Level::Two => {
                format!("\nfrom {from} to {at}:{state}\n{at}:{state}\n")
            }
            Some(Coming::Resumed { .. }) => format!("{at}:{state}\n"),
            Some(Coming::Returned { from }) => format!("\nfrom {from} to {at}:{state}\n"),
            Some(Coming::Called) => format!("{at}:{state}\n"),
            None if self.begun => String::new(),
            None => format!("{at}:{state}\n"),
        };
        self.begun = true;
        if let Some(line) = self.bytecode.debug.line_at(SlotIndex(at))
            && self.source != Some(line.slot.0)
        {
            self.source = Some(line.slot.0);
            let file = line.file.rsplit('/').next().unwrap_or(&line.file);
            let text = line.text.trim_start();
            self.text += &format!("; {text} @ {file}:{}\n", line.line);
        }
        let insn = insn_text(&self.bytecode.slots, at);
        let line = format!("{at}: {insn}");
        self.text += &line;
        self.open = Some(line.len());
        self.before = parts(&state);
        self.depth = observed.depth();
    }

    /// What the instruction touched: at a call and a return all that is known.
    fn after(&mut self, at: usize, observed: &Observed<'_>) {
        let state = observed.to_string();
        if observed.depth() > self.depth {
            self.close();
            self.calls.push(at);
            // The call has taken the arguments from the caller.
            let is_argument =
                |part: &&String| (0..=5).any(|reg| part.starts_with(&format!("R{reg}=")));
            let caller = self.before.iter().filter(|part| !is_argument(part));
            let caller: Vec<&str> = caller.map(String::as_str).collect();
            self.coming = Some(Coming::Called);
            self.text += &format!("caller:\n {}\ncallee:\n{state}\n", caller.join(" "));
        } else if observed.depth() < self.depth {
            self.close();
            self.coming = Some(Coming::Returned { from: at });
            let callee = self.before.join(" ");
            let to = self.calls.pop().map_or(at, |call| call + 1);
            self.text +=
                &format!("returning from callee:\n {callee}\nto caller at {to}:\n{state}\n");
        } else if let Some(len) = self.open.take() {
            let mut named: Vec<String> = operands(&self.bytecode.slots, at)
                .into_iter()
                .map(|reg| format!("R{}=", reg.index()))
                .collect();
            named.extend(stack_slot(&self.bytecode.slots, at, &self.before));
            let now = parts(&state);
            let is_operand = |part: &str| named.iter().any(|name| part.starts_with(name));
            let is_said = |part: &&String| {
                part.ends_with(':') || !self.before.contains(part) || is_operand(part)
            };
            let touched: Vec<&str> = now.iter().filter(is_said).map(String::as_str).collect();
            if touched.iter().any(|part| !part.ends_with(':')) {
                let width = padding(len + 1);
                self.text += &format!("{:width$}; {}", "", touched.join(" "));
            }
            self.text.push('\n');
        }
    }

    fn resume(&mut self) {
        self.close();
        let Some(waiting) = self.waiting.pop() else { return };
        match self.level {
            Level::One => {
                self.text.truncate(waiting.len);
                self.text.push('\n');
            }
            Level::Two => self.hand_on(),
        }
        self.calls = waiting.calls;
        self.source = waiting.source;
        self.coming = Some(Coming::Resumed { from: waiting.from });
    }

    /// Ends the line of an instruction of which nothing more is said.
    fn close(&mut self) {
        if self.open.take().is_some() {
            self.text.push('\n');
        }
    }

    fn hand_on(&mut self) {
        if self.text.len() < PIECE_BYTES || self.failed.is_some() {
            return;
        }
        self.failed = self.out.write_all(self.text.as_bytes()).err();
        self.text.clear();
    }

    fn finish(mut self, sentences: &[String], stats: Stats, limit: u64) -> io::Result<()> {
        self.close();
        if let Some(error) = self.failed {
            return Err(error);
        }
        if self.level == Level::One && sentences.is_empty() {
            // Nothing is wrong with any path.
            self.text.clear();
        }
        for sentence in sentences {
            self.text += sentence;
            self.text.push('\n');
        }
        // The kernel counts the longest walk along which it marked reads, which are known before
        // the walk since Linux 6.15.
        self.text += &format!(
            "processed {} insns (limit {limit}) max_states_per_insn {} total_states {} \
             peak_states {} mark_read 0\n",
            stats.insns_processed, stats.max_states_per_insn, stats.total_states, stats.peak_states
        );
        self.out.write_all(self.text.as_bytes())
    }
}

/// `(b7) r0 = 2`.
fn insn_text(slots: &[Slot], at: usize) -> String {
    match decode(slots, SlotIndex(at)) {
        Ok(insn) => format!("{:#}", Kernel { insn: &insn, names: &LinuxNames }),
        Err(_) => slots.get(at).map_or_else(String::new, |slot| format!("BUG_{:02x}", slot.opcode)),
    }
}

/// The registers and slots of a printed state; values have spaces within parentheses only.
fn parts(state: &str) -> Vec<String> {
    let mut parts = Vec::new();
    let mut part = String::new();
    let mut depth = 0_u32;
    for c in state.chars() {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if c == ' ' && depth == 0 {
            if !part.is_empty() {
                parts.push(std::mem::take(&mut part));
            }
        } else {
            part.push(c);
        }
    }
    if !part.is_empty() {
        parts.push(part);
    }
    parts
}

/// The registers that the instruction at a slot names; the kernel says what they hold after it.
fn operands(slots: &[Slot], at: usize) -> Vec<Reg> {
    let Ok(insn) = decode(slots, SlotIndex(at)) else { return Vec::new() };
    let source = |src: Src| match src {
        Src::Reg(reg) => Some(reg),
        Src::Imm(_) => None,
    };
    let named = match insn {
        Insn::Alu { dst, src, .. } | Insn::Branch { dst, src, .. } => [Some(dst), source(src)],
        Insn::Neg { dst, .. } | Insn::Endian { dst, .. } | Insn::LoadImm64 { dst, .. } => {
            [Some(dst), None]
        }
        Insn::Movsx { dst, src, .. } | Insn::AddrSpaceCast { dst, src, .. } => {
            [Some(dst), Some(src)]
        }
        Insn::Load { dst, mem, .. } | Insn::LoadAcquire { dst, mem, .. } => {
            [Some(dst), Some(mem.base)]
        }
        Insn::Store { mem, src, .. } => [Some(mem.base), source(src)],
        Insn::Atomic { mem, src, .. } | Insn::StoreRelease { mem, src, .. } => {
            [Some(mem.base), Some(src)]
        }
        Insn::LoadPacket { .. }
        | Insn::Jump { .. }
        | Insn::MayGoto { .. }
        | Insn::Call { .. }
        | Insn::Exit => [None, None],
    };
    named.into_iter().flatten().collect()
}

/// The slot of the stack that the instruction at a slot of code accesses, as it is printed; none if
/// it accesses something else.
fn stack_slot(slots: &[Slot], at: usize, before: &[String]) -> Option<String> {
    let mem = match decode(slots, SlotIndex(at)).ok()? {
        Insn::Load { mem, .. }
        | Insn::Store { mem, .. }
        | Insn::Atomic { mem, .. }
        | Insn::LoadAcquire { mem, .. }
        | Insn::StoreRelease { mem, .. } => mem,
        _ => return None,
    };
    let base = format!("R{}=fp", mem.base.index());
    let base = before.iter().find_map(|part| part.strip_prefix(&base))?;
    let offset = base.parse::<i64>().ok()? + i64::from(mem.offset);
    let depth = u64::try_from(-offset).ok()?.next_multiple_of(8);
    Some(format!("fp-{depth}="))
}

/// How many spaces the kernel puts between a line of so many characters, its line feed counted, and
/// the state (`vlog_alignment` of kernel/bpf/log.c).
fn padding(len: usize) -> usize {
    (len + 4).max(40).next_multiple_of(8) - len - 1
}
