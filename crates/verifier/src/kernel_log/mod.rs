//! Reads the log of the kernel's verifier (`log_level` 2 and 4, Linux 6.18) into values.
//!
//! One line is one [`Entry`]; [`entries`] reads a log line by line. What has no fixed form (the
//! kernel's reasons for a rejection, above all) is an [`Entry::Message`]; a line that begins as one
//! of the fixed forms and goes on otherwise is an error that names the line and the piece.
//!
//! ```text
//! func#0 @0                                         function and its first instruction
//! Live regs before insn:                            then, [component] insn: registers (opcode) text
//!       1: .1........ (57) r1 &= 255
//! 1: (57) r1 &= 255    ; R1=scalar(umax=255)        instruction, registers and slots it touched
//! 7: R1=ctx() R10=fp0                               whole state at an instruction
//! from 4 to 7: R1=ctx() R10=fp0                     the same where a pending branch is taken up
//! from 4 to 7: safe  /  7: safe                     pruned
//! caller: / callee: / returning from callee: / to caller at 9:    each followed by a state
//! (0) frame 0 insn 7 +live -8                       stack liveness
//! mark_precise: frame0: ...                         precision, walking back
//! ```

mod line;
mod register;
mod scan;
mod state;

#[cfg(test)]
mod tests;

use core::fmt;
pub use line::{Precision, Processed, parse_line};
pub use register::{Kind, PointerName, Register};
pub use state::{Slot, State, parse_state};

/// One line of the log.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub enum Entry<'a> {
    /// A function and its first instruction.
    Function {
        /// The function's number.
        index: u32,
        /// Its first instruction, in slots.
        insn: u32,
    },
    /// The heading of the live registers.
    LiveRegistersHeading,
    /// The registers that are live before an instruction.
    LiveRegisters {
        /// The strongly connected component (a loop) that the instruction is in.
        component: Option<u32>,
        /// The instruction, in slots.
        insn: u32,
        /// Bit n is set if register n may be read before it is written; `r10` is not listed.
        registers: u16,
        /// The instruction's text, its opcode in front.
        text: &'a str,
    },
    /// A source line.
    Source {
        /// The line.
        text: &'a str,
        /// File and number, if known.
        place: Option<(&'a str, u32)>,
    },
    /// An instruction that is walked, with what it touched.
    Insn {
        /// The instruction, in slots.
        insn: u32,
        /// The opcode.
        opcode: u8,
        /// The instruction's text.
        text: &'a str,
        /// Registers and slots that it read or wrote, after it; absent if it failed, left the
        /// function, or was followed by other lines.
        state: Option<State<'a>>,
    },
    /// The state at an instruction: all of it where the walk begins, otherwise what the
    /// instruction touched, on a line of its own because others came between.
    At {
        /// The instruction, in slots.
        insn: u32,
        /// The state.
        state: State<'a>,
    },
    /// A pending branch is taken up.
    From {
        /// The instruction that branched.
        from: u32,
        /// Where it goes on.
        to: u32,
        /// Whether the path is walked only for what a processor may speculate.
        speculative: bool,
        /// The state, or nothing if it was found safe at once.
        state: Option<State<'a>>,
    },
    /// The path ends because a state already walked covers this one.
    Safe {
        /// The instruction, in slots.
        insn: u32,
        /// Whether the path is speculative.
        speculative: bool,
    },
    /// A heading of a call or return; the state follows.
    Frame(FrameHeading),
    /// The state after such a heading.
    FrameState(State<'a>),
    /// One of the two equal states of a loop that does not end.
    LoopState {
        /// True for the state of the present round, false for the earlier one.
        current: bool,
        /// The state.
        state: State<'a>,
    },
    /// A step of marking values as precise.
    Precision(Precision<'a>),
    /// Precision copied from an equal state.
    Propagating {
        /// The frame.
        frame: u32,
        /// Registers as bits.
        registers: u16,
        /// Stack slots, as offsets from the frame pointer.
        slots: Vec<i32>,
    },
    /// A loop is entered or left, or a state in it was found equal to one still open.
    Component {
        /// `enter`, `exit` or `backedge`.
        event: &'a str,
        /// Call sites, then the component.
        chain: Vec<u32>,
        /// What else the line says.
        rest: &'a str,
    },
    /// What stack liveness learnt.
    StackLiveness {
        /// Call sites, then the first instruction of the function.
        chain: Vec<u32>,
        /// The frame whose slots these are.
        frame: u32,
        /// The instruction, in slots.
        insn: u32,
        /// What changed, with the slots as offsets from the frame pointer.
        changes: Vec<(SlotChange, Vec<i32>)>,
    },
    /// Stack liveness has settled.
    StackLivenessDone {
        /// Call sites, then the first instruction of the function.
        chain: Vec<u32>,
        /// The number of passes.
        iterations: u32,
    },
    /// A global function is called on trust, or verified by itself.
    Global {
        /// The function's number.
        index: u32,
        /// Its name.
        name: &'a str,
        /// Which of the three.
        event: GlobalEvent,
    },
    /// How long verification took, in microseconds.
    VerificationTime(u64),
    /// The stack of each function in bytes.
    StackDepth(Vec<u32>),
    /// The statistics, always the last line.
    Processed(Processed),
    /// Anything else: a message.
    Message(&'a str),
}

/// Headings of the states around calls.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FrameHeading {
    /// `caller:`
    Caller,
    /// `callee:`
    Callee,
    /// `returning from callee:`
    Returning,
    /// `to caller at N:`
    ToCaller(u32),
}

/// What stack liveness learnt of slots.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SlotChange {
    /// `+live`: they may be read.
    Live,
    /// `-live`: they are not read after all.
    NotLive,
    /// `+written`: they are written for certain.
    Written,
    /// `-written`: they are not after all.
    NotWritten,
}

/// What is said of a global function.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum GlobalEvent {
    /// A call assumes it valid.
    Assumed,
    /// Its own verification begins.
    Validating,
    /// It is safe for all arguments of its type.
    Safe,
}

/// What was expected where a line does not have the form that it begins with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Expected {
    /// A number.
    Number,
    /// `R0=` to `R10=`, `fp-8=`, `refs=`, `cb` or `async_cb`.
    StateItem,
    /// The value of a register.
    Register,
    /// The contents of a stack slot.
    Slot,
    /// An attribute of a register.
    Attribute,
    /// Bounds that are not empty.
    Bounds,
    /// A precision step.
    Precision,
    /// The statistics.
    Statistics,
}

/// A line of which the form is not known.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogError {
    /// The line's number, from 1; 0 when a line is parsed by itself.
    pub line: usize,
    /// What was expected.
    pub expected: Expected,
    /// What was found.
    pub found: String,
}

impl LogError {
    pub(crate) fn new(expected: Expected, found: &str) -> Self {
        LogError { line: 0, expected, found: found.to_owned() }
    }
}

impl fmt::Display for LogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let expected = match self.expected {
            Expected::Number => "a number",
            Expected::StateItem => "a register, stack slot or references",
            Expected::Register => "the value of a register",
            Expected::Slot => "the contents of a stack slot",
            Expected::Attribute => "an attribute of a register",
            Expected::Bounds => "bounds that are not empty",
            Expected::Precision => "a precision step",
            Expected::Statistics => "statistics",
        };
        write!(f, "line {}: expected {expected}, found `{}`", self.line, self.found)
    }
}

impl std::error::Error for LogError {}

/// The entries of a log with their line numbers, from 1. Empty lines are left out.
pub fn entries(log: &str) -> impl Iterator<Item = (usize, Result<Entry<'_>, LogError>)> {
    log.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()).map(|(index, line)| {
        let number = index + 1;
        (number, parse_line(line).map_err(|error| LogError { line: number, ..error }))
    })
}
