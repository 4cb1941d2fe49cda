//! Telling the forms of lines apart.

use super::scan::{decimal, numbers_in_parentheses, register_set, slot_list, small, unsigned};
use super::state::{State, frame_prefix, parse_state};
use super::{Entry, Expected, FrameHeading, GlobalEvent, LogError, SlotChange};

/// A line of the walk back that marks values as precise.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub enum Precision<'a> {
    /// The walk begins within one state's instructions.
    Begin {
        /// The frame.
        frame: u32,
        /// The last instruction.
        last: i32,
        /// The first one.
        first: i32,
        /// The one after the last, -1 at the start.
        next: i32,
    },
    /// Registers and slots wanted before an instruction.
    Before {
        /// The frame.
        frame: u32,
        /// The registers, as bits.
        registers: u16,
        /// The slots.
        slots: Vec<i32>,
        /// The instruction.
        insn: u32,
        /// Its text, opcode in front.
        text: &'a str,
    },
    /// Registers and slots wanted in the parent state, which is shown.
    Parent {
        /// The frame.
        frame: u32,
        /// The registers, as bits.
        registers: u16,
        /// The slots.
        slots: Vec<i32>,
        /// The parent.
        state: State<'a>,
    },
    /// All numbers of all states are marked instead.
    GiveUp {
        /// The frame.
        frame: u32,
    },
    /// One of these.
    Forced {
        /// The frame.
        frame: u32,
        /// The register `r1` or slot `fp-8`.
        name: &'a str,
    },
}

/// The last line: how much the verifier worked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Processed {
    /// Instructions walked, over all paths.
    pub insns: u32,
    /// The most that may be.
    pub limit: u32,
    /// The most states kept for one instruction.
    pub max_states_per_insn: u32,
    /// States kept.
    pub total_states: u32,
    /// States kept at one time.
    pub peak_states: u32,
    /// The longest chain of parents that a read was marked in.
    pub mark_read: u32,
}

/// Reads one line. Leading spaces count: some lines are told by them.
///
/// # Errors
///
/// [`LogError`] if the line begins as one of the fixed forms and does not go on as one.
pub fn parse_line(line: &str) -> Result<Entry<'_>, LogError> {
    let line = line.trim_end();
    if let Some((number, rest)) = decimal(line) {
        return numbered(line, number, rest);
    }
    if line.starts_with(' ') {
        let text = line.trim_start();
        if text.starts_with(|c: char| c.is_ascii_digit()) {
            return Ok(live_registers(text).unwrap_or(Entry::Message(line)));
        }
        if frame_prefix(text).is_some() || starts_state(text) {
            return parse_state(text).map(Entry::FrameState);
        }
    }
    fixed_start(line).unwrap_or_else(|| Ok(ended(line).unwrap_or(Entry::Message(line))))
}

/// Whether a text begins as a register or slot does.
fn starts_state(text: &str) -> bool {
    let name = text.split('=').next().unwrap_or_default();
    let number = name.strip_prefix('R').or_else(|| name.strip_prefix("fp-"));
    name.len() < text.len()
        && number.is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
}

/// `7: (95) exit`, `7: R0=1`, `7: safe`, `7 (speculative execution): safe`.
fn numbered<'a>(line: &'a str, insn: u32, rest: &'a str) -> Result<Entry<'a>, LogError> {
    let (rest, speculative) = speculation(rest);
    let Some(rest) = rest.strip_prefix(':') else { return Ok(Entry::Message(line)) };
    let text = rest.trim_start();
    if let Some((opcode, text)) = opcode(text) {
        let (text, state) = match text.split_once(" ;") {
            Some((text, state)) => (text.trim_end(), Some(parse_state(state)?)),
            None => (text, None),
        };
        return Ok(Entry::Insn { insn, opcode, text, state });
    }
    if text == "safe" {
        return Ok(Entry::Safe { insn, speculative });
    }
    if text.is_empty() || frame_prefix(text).is_some() || starts_state(text) {
        return Ok(Entry::At { insn, state: parse_state(text)? });
    }
    Ok(Entry::Message(line))
}

/// `(95) exit`: the opcode and the text.
fn opcode(text: &str) -> Option<(u8, &str)> {
    let (digits, text) = text.strip_prefix('(')?.split_once(") ")?;
    let opcode = u8::from_str_radix(digits, 16).ok().filter(|_| digits.len() == 2)?;
    Some((opcode, text))
}

fn speculation(text: &str) -> (&str, bool) {
    match text.strip_prefix(" (speculative execution)") {
        Some(rest) => (rest, true),
        None => (text, false),
    }
}

/// `[component] insn: 01........ (95) exit`.
fn live_registers(text: &str) -> Option<Entry<'_>> {
    let (number, rest) = decimal(text)?;
    let (component, insn, rest) = match rest.strip_prefix(':') {
        Some(rest) => (None, number, rest),
        None => {
            let (insn, rest) = decimal(rest.trim_start())?;
            (Some(number), insn, rest.strip_prefix(':')?)
        }
    };
    let (marks, text) = rest.trim_start().split_once(' ')?;
    let registers =
        marks.chars().enumerate().try_fold(0u16, |set, (register, mark)| match mark {
            '.' => Some(set),
            _ if mark.to_digit(10)? as usize == register => Some(set | 1 << register),
            _ => None,
        })?;
    (marks.len() == 10).then_some(Entry::LiveRegisters { component, insn, registers, text })
}

/// The lines that are known by how they begin.
fn fixed_start(line: &str) -> Option<Result<Entry<'_>, LogError>> {
    if let Some(text) = line.strip_prefix("; ") {
        return Some(Ok(source(text)));
    }
    if let Some(rest) = line.strip_prefix("from ") {
        return from(rest);
    }
    if let Some(rest) = line.strip_prefix("mark_precise: ") {
        return Some(precision(rest).map(Entry::Precision));
    }
    if let Some(rest) = line.strip_prefix("force_precise: ") {
        let forced = (|| {
            let (frame, rest) = frame_prefix(rest)?;
            let name = rest.strip_prefix(" forcing ")?.strip_suffix(" to be precise")?;
            Some(Entry::Precision(Precision::Forced { frame, name }))
        })();
        return Some(forced.ok_or_else(|| LogError::new(Expected::Precision, line)));
    }
    if let Some(rest) = line.strip_prefix("func#") {
        let (index, rest) = decimal(rest)?;
        return Some(Ok(Entry::Function { index, insn: rest.strip_prefix(" @")?.parse().ok()? }));
    }
    if let Some(rest) = line.strip_prefix("SCC ") {
        let (event, rest) = rest.split_once(' ')?;
        let (chain, rest) = numbers_in_parentheses(rest)?;
        return Some(Ok(Entry::Component { event, chain, rest: rest.trim() }));
    }
    for (start, current) in [("cur state:", true), ("old state:", false)] {
        if let Some(rest) = line.strip_prefix(start) {
            return Some(parse_state(rest).map(|state| Entry::LoopState { current, state }));
        }
    }
    if let Some(rest) = line.strip_prefix("frame ") {
        return propagating(rest).map(Ok);
    }
    if let Some(rest) = line.strip_prefix("verification time ") {
        let time = unsigned(rest.strip_suffix(" usec")?);
        return Some(time.map(Entry::VerificationTime));
    }
    if let Some(rest) = line.strip_prefix("stack depth ") {
        let depths = rest.split('+').map(small).collect::<Result<_, _>>();
        return Some(depths.map(Entry::StackDepth));
    }
    if line.starts_with("processed ") && line.contains(" insns (limit ") {
        return Some(
            processed(line)
                .map(Entry::Processed)
                .ok_or_else(|| LogError::new(Expected::Statistics, line)),
        );
    }
    if line.starts_with('(') { stack_liveness(line).map(Ok) } else { None }
}

/// The lines that are known as a whole, or by how they end.
fn ended(line: &str) -> Option<Entry<'_>> {
    let heading = match line {
        "Live regs before insn:" => return Some(Entry::LiveRegistersHeading),
        "caller:" => FrameHeading::Caller,
        "callee:" => FrameHeading::Callee,
        "returning from callee:" => FrameHeading::Returning,
        _ => match line.strip_prefix("to caller at ") {
            Some(rest) => FrameHeading::ToCaller(rest.strip_suffix(':')?.parse().ok()?),
            None => return global(line),
        },
    };
    Some(Entry::Frame(heading))
}

/// `text @ file.c:12`.
fn source(text: &str) -> Entry<'_> {
    let place = text.rsplit_once(" @ ").and_then(|(text, place)| {
        let (file, number) = place.rsplit_once(':')?;
        Some((text, (file, number.parse().ok()?)))
    });
    match place {
        Some((text, place)) => Entry::Source { text, place: Some(place) },
        None => Entry::Source { text, place: None },
    }
}

/// `4 to 7: state`, `4 to 7: safe`.
fn from(rest: &str) -> Option<Result<Entry<'_>, LogError>> {
    let (from, rest) = decimal(rest)?;
    let (to, rest) = decimal(rest.strip_prefix(" to ")?)?;
    let (rest, speculative) = speculation(rest);
    let text = rest.strip_prefix(':')?.trim();
    let state = if text == "safe" { Ok(None) } else { parse_state(text).map(Some) };
    Some(state.map(|state| Entry::From { from, to, speculative, state }))
}

fn precision(text: &str) -> Result<Precision<'_>, LogError> {
    let unknown = || LogError::new(Expected::Precision, text);
    let (frame, rest) = frame_prefix(text).ok_or_else(unknown)?;
    let rest = rest.trim_start();
    if rest.starts_with("last_idx ") {
        return begin(frame, rest).ok_or_else(unknown);
    }
    if rest == "falling back to forcing all scalars precise" {
        return Ok(Precision::GiveUp { frame });
    }
    let parent = rest.strip_prefix("parent state ");
    let (registers, rest) = parent
        .unwrap_or(rest)
        .strip_prefix("regs=")
        .and_then(|rest| rest.split_once(" stack="))
        .ok_or_else(unknown)?;
    let registers = register_set(registers).ok_or_else(unknown)?;
    if parent.is_some() {
        let (slots, state) = rest.split_once(':').ok_or_else(unknown)?;
        let slots = slot_list(slots.trim()).ok_or_else(unknown)?;
        return Ok(Precision::Parent { frame, registers, slots, state: parse_state(state)? });
    }
    let (slots, rest) = rest.split_once(" before ").ok_or_else(unknown)?;
    let (insn, text) = decimal(rest).ok_or_else(unknown)?;
    Ok(Precision::Before {
        frame,
        registers,
        slots: slot_list(slots).ok_or_else(unknown)?,
        insn,
        text: text.strip_prefix(": ").ok_or_else(unknown)?,
    })
}

/// `last_idx 10 first_idx 0 subseq_idx -1`.
fn begin<'a>(frame: u32, text: &str) -> Option<Precision<'a>> {
    let mut words = text.split_whitespace();
    let mut labelled = |label: &str| {
        if words.next()? == label { words.next()?.parse::<i32>().ok() } else { None }
    };
    Some(Precision::Begin {
        frame,
        last: labelled("last_idx")?,
        first: labelled("first_idx")?,
        next: labelled("subseq_idx")?,
    })
}

/// `0: propagating r1,fp-8`.
fn propagating(rest: &str) -> Option<Entry<'_>> {
    let (frame, rest) = decimal(rest)?;
    let names = rest.strip_prefix(": propagating ")?;
    let (mut registers, mut slots) = (0, Vec::new());
    for name in names.split(',') {
        match name.strip_prefix("fp") {
            Some(slot) => slots.push(slot.parse().ok()?),
            None => registers |= register_set(name)?,
        }
    }
    Some(Entry::Propagating { frame, registers, slots })
}

/// `(0) frame 0 insn 7 +live -8,-16`, `(0) live stack update done in 2 iterations`.
fn stack_liveness(line: &str) -> Option<Entry<'_>> {
    let (chain, rest) = numbers_in_parentheses(line)?;
    if let Some(rest) = rest.strip_prefix(" live stack update done in ") {
        let iterations = rest.strip_suffix(" iterations")?.parse().ok()?;
        return Some(Entry::StackLivenessDone { chain, iterations });
    }
    let (frame, rest) = decimal(rest.strip_prefix(" frame ")?)?;
    let (insn, rest) = decimal(rest.strip_prefix(" insn ")?)?;
    let mut words = rest.split_whitespace();
    let mut changes = Vec::new();
    while let Some(word) = words.next() {
        let change = match word {
            "+live" => SlotChange::Live,
            "-live" => SlotChange::NotLive,
            "+written" => SlotChange::Written,
            "-written" => SlotChange::NotWritten,
            _ => return None,
        };
        changes.push((change, slot_list(words.next()?)?));
    }
    Some(Entry::StackLiveness { chain, frame, insn, changes })
}

/// `Func#1 ('f') is global and assumed valid.`, `Validating f() func#1...`,
/// `Func#1 ('f') is safe for any args that match its prototype`.
fn global(line: &str) -> Option<Entry<'_>> {
    if let Some(rest) = line.strip_prefix("Validating ") {
        let (name, rest) = rest.split_once("() func#")?;
        let index = rest.strip_suffix("...")?.parse().ok()?;
        return Some(Entry::Global { index, name, event: GlobalEvent::Validating });
    }
    let (index, rest) = decimal(line.strip_prefix("Func#")?)?;
    let (name, rest) = rest.strip_prefix(" ('")?.split_once("') ")?;
    let event = match rest {
        "is global and assumed valid." => GlobalEvent::Assumed,
        "is safe for any args that match its prototype" => GlobalEvent::Safe,
        _ => return None,
    };
    Some(Entry::Global { index, name, event })
}

fn processed(line: &str) -> Option<Processed> {
    let mut words = line.split([' ', '(', ')']).filter(|word| !word.is_empty());
    let mut number = |label: &str| {
        words.find(|word| *word == label)?;
        words.next()?.parse().ok()
    };
    Some(Processed {
        insns: number("processed")?,
        limit: number("limit")?,
        max_states_per_insn: number("max_states_per_insn")?,
        total_states: number("total_states")?,
        peak_states: number("peak_states")?,
        mark_read: number("mark_read")?,
    })
}
