//! What the verifier says of a program, for people and as a document.

use std::io;

use serde::Serialize;
use serde_json::{Value, json};
use skep::prepare::{PreparedProgram, ProgramFailure, Verdict};
use skep_bpf::debug_info::SourceLine;
use skep_bpf::platform::AttachType;
use skep_verifier::Stats;
use skep_verifier::report::{self, Report};

use crate::render::Render;

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
    pub error: Option<Value>,
    /// The numbers, if it was verified.
    pub stats: Option<StatsDocument>,
}

impl ProgramDocument {
    /// What became of a prepared program.
    #[must_use]
    pub fn new(program: &PreparedProgram) -> ProgramDocument {
        let (verdict, error) = match program.verdict() {
            Verdict::Accepted(_) => ("accepted", None),
            Verdict::Rejected(_) => ("rejected", program.report.as_deref().map(report::json)),
            Verdict::NotLoaded(failure) => ("not_loaded", Some(not_loaded(failure))),
            Verdict::Unverified => ("not_verified", None),
        };
        let is_open = program.attach_type == AttachType::UNSPECIFIED;
        let time_us = program.verify_time.map_or(0, |time| time.as_micros());
        ProgramDocument {
            name: program.name.clone(),
            section: program.section.clone(),
            prog_type: program.prog_type.to_string(),
            attach_type: (!is_open).then(|| program.attach_type.to_string()),
            insns: program.linked.as_ref().map(|linked| linked.bytecode.slots.len()),
            verdict,
            error,
            stats: stats_of(program.verdict()).map(|stats| StatsDocument {
                insns_processed: stats.insns_processed,
                total_states: stats.total_states,
                peak_states: stats.peak_states,
                time_us,
            }),
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

/// Why a program was not verified, with the members that the reports of rejections have.
fn not_loaded(failure: &ProgramFailure) -> Value {
    json!({
        "code": null,
        "rule": null,
        "message": failure.to_string(),
        "log": [],
        "insn": null,
        "source": null,
        "spans": [],
        "notes": [],
        "drawing": null,
        "help": [],
    })
}

/// Prints why the verifier refuses code.
///
/// # Errors
///
/// If standard output takes no more.
pub fn show_report(render: &mut Render<'_>, report: &Report) -> io::Result<()> {
    let style = match render.has_colour() {
        true => report::Style::Coloured,
        false => report::Style::Plain,
    };
    render.out().write_all(report::text(report, style).as_bytes())
}
