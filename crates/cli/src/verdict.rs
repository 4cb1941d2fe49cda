//! What the verifier says of a program, for people and as a document.

use std::io;

use serde::Serialize;
use skep::prepare::{PreparedProgram, ProgramFailure, Verdict};
use skep_bpf::codec::{Slot, SlotIndex, decode};
use skep_bpf::debug_info::SourceLine;
use skep_bpf::platform::{AttachType, ProgType};
use skep_bpf::program::Bytecode;
use skep_bpf::text::c_like::Decimal;
use skep_verifier::{Rejection, Stats};

use crate::render::{BAD, FAINT, Render};

/// Where in a source file something stands.
#[derive(Serialize, Clone, PartialEq, Eq, Debug)]
pub struct Source {
    /// The file, as the compiler recorded it.
    pub file: String,
    /// The line, from 1.
    pub line: u32,
    /// The column, from 1; 0 if unknown.
    pub column: u32,
    /// The text of the line.
    pub text: String,
}

impl From<&SourceLine> for Source {
    fn from(line: &SourceLine) -> Source {
        Source {
            file: line.file.to_string(),
            line: line.line,
            column: line.column,
            text: line.text.to_string(),
        }
    }
}

/// Why a program was not accepted, as `verify --json` has it.
#[derive(Serialize, Debug)]
pub struct ErrorDocument {
    /// `E....`; none if the program was not verified.
    pub code: Option<String>,
    /// The kernel's sentence, where it has one.
    pub message: String,
    /// What the kernel says before it.
    pub details: Vec<String>,
    /// The slot of the instruction.
    pub insn: Option<usize>,
    /// The instruction.
    pub text: Option<String>,
    /// The function that it is in.
    pub function: Option<String>,
    /// Its source line.
    pub source: Option<Source>,
}

/// The numbers of a verification.
#[derive(Serialize, Clone, Copy, Debug)]
pub struct StatsDocument {
    /// Instructions walked, over all paths.
    pub insns_processed: u64,
    /// States remembered.
    pub total_states: u64,
    /// The largest number of remembered states at one time.
    pub peak_states: u64,
    /// How long it took.
    pub time_us: u128,
}

/// A program and what became of it, as `verify --json` has it.
#[derive(Serialize, Debug)]
pub struct ProgramDocument {
    /// Its name.
    pub name: String,
    /// The section it is from.
    pub section: String,
    /// Its type.
    #[serde(rename = "type")]
    pub prog_type: String,
    /// What it would be attached to, unless that is open.
    pub attach_type: Option<String>,
    /// The number of slots of its linked code.
    pub insns: Option<usize>,
    /// `accepted`, `rejected` or `not_loaded`.
    pub verdict: &'static str,
    /// Why it was not accepted.
    pub error: Option<ErrorDocument>,
    /// The numbers, if it was verified.
    pub stats: Option<StatsDocument>,
}

impl ProgramDocument {
    /// What became of a prepared program.
    #[must_use]
    pub fn new(program: &PreparedProgram) -> ProgramDocument {
        let bytecode = program.linked.as_ref().map(|linked| &linked.bytecode);
        let (verdict, error) = match program.verdict() {
            Verdict::Accepted(_) => ("accepted", None),
            Verdict::Rejected(rejection) => {
                ("rejected", Some(ErrorDocument::rejected(rejection, bytecode)))
            }
            Verdict::NotLoaded(failure) => ("not_loaded", Some(ErrorDocument::not_loaded(failure))),
            Verdict::Unverified => ("not_verified", None),
        };
        let is_open = program.attach_type == AttachType::UNSPECIFIED;
        let time_us = program.verify_time.map_or(0, |time| time.as_micros());
        ProgramDocument {
            name: program.name.clone(),
            section: program.section.clone(),
            prog_type: program.prog_type.to_string(),
            attach_type: (!is_open).then(|| program.attach_type.to_string()),
            insns: bytecode.map(|bytecode| bytecode.slots.len()),
            verdict,
            error,
            stats: stats_of(program.verdict()).map(|stats| StatsDocument::new(stats, time_us)),
        }
    }
}

/// The numbers of a verdict.
#[must_use]
pub fn stats_of(verdict: Verdict<'_>) -> Option<Stats> {
    match verdict {
        Verdict::Accepted(verified) => Some(verified.stats()),
        Verdict::Rejected(rejection) => Some(rejection.stats),
        Verdict::NotLoaded(_) | Verdict::Unverified => None,
    }
}

impl StatsDocument {
    /// These numbers.
    #[must_use]
    pub fn new(stats: Stats, time_us: u128) -> StatsDocument {
        StatsDocument {
            insns_processed: stats.insns_processed,
            total_states: stats.total_states,
            peak_states: stats.peak_states,
            time_us,
        }
    }
}

impl ErrorDocument {
    /// Why the verifier refuses code.
    #[must_use]
    pub fn rejected(rejection: &Rejection, bytecode: Option<&Bytecode>) -> ErrorDocument {
        let place = rejection.at.zip(bytecode);
        let function = place.and_then(|(at, code)| Some(code.debug.function_at(at)?.1.to_owned()));
        ErrorDocument {
            code: Some(rejection.rule.to_string()),
            message: rejection.message.clone(),
            details: rejection.details.clone(),
            insn: rejection.at.map(|at| at.0),
            text: place.and_then(|(at, code)| insn_text(&code.slots, at)),
            function,
            source: place.and_then(|(at, code)| code.debug.line_at(at)).map(Source::from),
        }
    }

    /// Why a program was not verified.
    #[must_use]
    pub fn not_loaded(failure: &ProgramFailure) -> ErrorDocument {
        ErrorDocument {
            code: None,
            message: failure.to_string(),
            details: Vec::new(),
            insn: None,
            text: None,
            function: None,
            source: None,
        }
    }
}

/// The instruction at a slot; its bytes if it is none.
fn insn_text(slots: &[Slot], at: SlotIndex) -> Option<String> {
    let slot = slots.get(at.0)?;
    Some(match decode(slots, at) {
        Ok(insn) => Decimal(&insn).to_string(),
        Err(_) => crate::value::hex(&slot.to_bytes()),
    })
}

/// Prints why the verifier refuses code: the sentence, the C line, the instruction.
///
/// # Errors
///
/// If standard output takes no more.
pub fn show_rejection(
    render: &mut Render<'_>,
    rejection: &Rejection,
    bytecode: Option<&Bytecode>,
) -> io::Result<()> {
    let error = ErrorDocument::rejected(rejection, bytecode);
    let head = render.paint(BAD, &format!("error[{}]", rejection.rule));
    render.line(format_args!("{head}: {}", error.message))?;
    let width = error.source.as_ref().map_or(1, |source| source.line.to_string().len());
    let bar = render.paint(FAINT, "|");
    if let Some(source) = &error.source {
        let arrow = render.paint(FAINT, "-->");
        let column = match source.column {
            0 => String::new(),
            column => format!(":{column}"),
        };
        render
            .line(format_args!("{:width$}{arrow} {}:{}{column}", "", source.file, source.line))?;
        if !source.text.is_empty() {
            render.line(format_args!("{:width$} {bar}", ""))?;
            render.line(format_args!("{} {bar} {}", source.line, source.text))?;
            render.line(format_args!("{:width$} {bar}", ""))?;
        }
    }
    if let (Some(insn), Some(text)) = (error.insn, &error.text) {
        let function = match &error.function {
            Some(function) => format!(" of {function}"),
            None => String::new(),
        };
        render.line(format_args!("{:width$} = instruction {insn}{function}: {text}", ""))?;
    }
    for detail in &error.details {
        render.line(format_args!("{:width$} = {detail}", ""))?;
    }
    Ok(())
}

/// How a program is named in messages.
#[must_use]
pub fn label(name: &str, prog_type: ProgType) -> String {
    format!("{name} ({prog_type})")
}
