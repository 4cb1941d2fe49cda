//! `skep verify`: what the verifier says of every program of an object, and why.

mod lines;
mod log;

use std::io::Read;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde::Serialize;
use serde_json::{Value, json};
use skep::prepare::{
    PrepareOptions, Prepared, PreparedProgram, ProgramFailure, Verdict, Verification, prepare,
};
use skep_object::{KernelFunctions, LinkOptions};
use skep_verifier::Profile;
use skep_verifier::report;

use super::run::EngineName;
use crate::failure::Failure;
use crate::input::{Target, read_file};
use crate::kernel::kernel_types;
use crate::render::{BAD, GOOD, NOTE, Render};
use crate::session::{Setting, changes, type_named};
use crate::verdict::{ProgramDocument, show_report, stats_of};

/// Verifies programs as Linux does, and says why what it refuses is refused.
#[derive(Args, Debug)]
pub struct Verify {
    /// The object: FILE.o, or FILE.o:NAME for some of its programs
    #[arg(value_name = "FILE.o", required_unless_present = "jsonl")]
    target: Option<Target>,
    /// Verify raw programs instead, one JSON object a line, one answer a line; - is standard input
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with_all = ["target", "type_name", "stats", "format", "json"]
    )]
    jsonl: Option<PathBuf>,
    /// What executes the runs that lines ask for
    #[arg(long, value_enum, default_value = "auto", value_name = "ENGINE", requires = "jsonl")]
    engine: EngineName,
    /// The type of all programs, in place of what their sections say (xdp, tc, socket, ...)
    #[arg(long = "type", value_name = "TYPE")]
    type_name: Option<String>,
    /// Set a global variable before the programs are verified (again for more)
    #[arg(long, value_name = "VAR=VALUE", conflicts_with = "jsonl")]
    set: Vec<Setting>,
    /// Make a map with values of so many bytes, or for so many elements: BYTES, BYTES,ENTRIES or
    /// ,ENTRIES (again for more)
    #[arg(long, value_name = "MAP=SIZE", conflicts_with = "jsonl")]
    resize: Vec<Setting>,
    /// The types (BTF) of the kernel that the programs are for, in place of those of the kernel that
    /// runs here
    #[arg(long, value_name = "FILE")]
    btf: Option<PathBuf>,
    /// Show the numbers of the verification: states, stack, time
    #[arg(long)]
    stats: bool,
    /// Show the log that the kernel's verifier would write: kernel or kernel=1 for the path to a
    /// rejection, kernel=2 for every path
    #[arg(long, value_enum, value_name = "LOG", conflicts_with_all = ["format", "json", "jsonl"])]
    log: Option<LogForm>,
    /// The form of the answer
    #[arg(long, value_enum, default_value = "text", value_name = "FORMAT")]
    format: Format,
    /// Print one JSON document (--format json)
    #[arg(long, conflicts_with = "format")]
    json: bool,
    /// The kernel whose verdicts are given
    #[arg(long, value_enum, default_value = "6.18", value_name = "RELEASE")]
    kernel_profile: KernelProfile,
}

/// The forms of an answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Format {
    /// For people
    Text,
    /// One JSON document
    Json,
    /// SARIF 2.1.0, for code scanners
    Sarif,
    /// Annotations of GitHub's workflows
    Github,
}

/// The logs that can be written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum LogForm {
    /// The path to a rejection
    #[value(name = "kernel", alias = "kernel=1")]
    KernelOne,
    /// Every path
    #[value(name = "kernel=2")]
    KernelTwo,
}

/// The kernels whose verdicts are known.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum KernelProfile {
    /// Linux 6.18
    #[value(name = "6.18")]
    Linux6_18,
}

impl KernelProfile {
    fn name(self) -> &'static str {
        match self {
            KernelProfile::Linux6_18 => "6.18",
        }
    }
}

/// The document; its shape is described in `docs/json.md`.
#[derive(Serialize, Debug)]
struct Document {
    object: String,
    kernel_profile: &'static str,
    programs: Vec<ProgramDocument>,
}

/// Runs the command.
///
/// # Errors
///
/// If the object cannot be read or a program cannot be prepared; [`Failure::No`] if a program is
/// rejected.
pub fn run(
    arguments: &Verify,
    input: &mut dyn Read,
    render: &mut Render<'_>,
) -> Result<(), Failure> {
    if let Some(path) = &arguments.jsonl {
        let kernel = kernel_types(arguments.btf.as_deref())?;
        return lines::run(path, arguments.engine.engine(), &kernel, input, render);
    }
    let target = arguments.target.as_ref();
    let target = target.ok_or_else(|| Failure::Usage("FILE.o or --jsonl is needed".to_owned()))?;
    let prepared = prepared(arguments, target)?;
    let wanted = match target.name {
        Some(_) => Some(target.functions(&prepared.object)?),
        None => None,
    };
    let is_wanted = |program: &&PreparedProgram| {
        let wanted = wanted.as_ref();
        wanted.is_none_or(|wanted| wanted.iter().any(|f| f.index == program.function))
    };
    let programs: Vec<&PreparedProgram> = prepared.programs.iter().filter(is_wanted).collect();
    if programs.is_empty() {
        let why = match &target.name {
            Some(name) => format!("{name} is a function, not a program"),
            None => "it has no program".to_owned(),
        };
        return Err(Failure::Load(format!("{}: {why}", target.path.display())));
    }
    match if arguments.json { Format::Json } else { arguments.format } {
        Format::Text => {
            for program in &programs {
                if let Some(form) = arguments.log {
                    show_log(&prepared, program, form, render)?;
                }
                text(arguments, program, render)?;
            }
        }
        Format::Json => render.json(&Document {
            object: target.file_name(),
            kernel_profile: arguments.kernel_profile.name(),
            programs: documents(&programs),
        })?,
        Format::Sarif => render.json(&sarif(&programs))?,
        Format::Github => github(target, &programs, render)?,
    }
    outcome(target, &programs)
}

fn prepared(arguments: &Verify, target: &Target) -> Result<Prepared, Failure> {
    let bytes = read_file(&target.path)?;
    let types = match &arguments.type_name {
        Some(name) => Some(type_named(name)?),
        None => None,
    };
    let object = target.object()?;
    let (globals, map_sizes) = changes(&object, &arguments.set, &arguments.resize)?;
    let options = PrepareOptions {
        globals,
        map_sizes,
        prog_type: types.map(|types| types.0),
        attach_type: types.map(|types| types.1),
        // What they do is of no matter for a verdict, only what they are declared to do.
        link: LinkOptions { kernel_functions: KernelFunctions::ByName, ..LinkOptions::default() },
        kernel_types: Some(kernel_types(arguments.btf.as_deref())?),
        verification: match arguments.kernel_profile {
            KernelProfile::Linux6_18 => Verification::Linux,
        },
        ..PrepareOptions::default()
    };
    prepare(&bytes, &target.file_name(), options)
        .map_err(|error| Failure::Load(format!("{}: {error}", target.path.display())))
}

fn documents(programs: &[&PreparedProgram]) -> Vec<ProgramDocument> {
    programs.iter().map(|program| ProgramDocument::new(program)).collect()
}

/// A SARIF log with a result for each program that is rejected, and a notification for each that
/// could not be prepared.
fn sarif(programs: &[&PreparedProgram]) -> Value {
    let reports = programs.iter().filter_map(|program| program.report.as_deref());
    let mut log = report::sarif(reports);
    let notifications: Vec<Value> = not_loaded(programs)
        .map(|(name, why)| {
            json!({"level": "error", "message": {"text": format!("{name} is not loaded: {why}")}})
        })
        .collect();
    log["runs"][0]["invocations"] = json!([{
        "executionSuccessful": notifications.is_empty(),
        "toolExecutionNotifications": notifications,
    }]);
    log
}

/// A command for each program that is not accepted.
fn github(
    target: &Target,
    programs: &[&PreparedProgram],
    render: &mut Render<'_>,
) -> Result<(), Failure> {
    for report in programs.iter().filter_map(|program| program.report.as_deref()) {
        render.line(format_args!("{}", report::github(report)))?;
    }
    for (name, why) in not_loaded(programs) {
        let place = format!("{}: {name} is not loaded: {why}", target.path.display());
        let place = place.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A");
        render.line(format_args!("::error ::{place}"))?;
    }
    Ok(())
}

/// The programs that could not be prepared, and why.
fn not_loaded<'a>(
    programs: &'a [&PreparedProgram],
) -> impl Iterator<Item = (&'a str, &'a ProgramFailure)> {
    programs.iter().filter_map(|program| match program.verdict() {
        Verdict::NotLoaded(failure) => Some((program.name.as_str(), failure)),
        _ => None,
    })
}

/// The exit code: a rejection is an answer, a program that could not be prepared has none.
fn outcome(target: &Target, programs: &[&PreparedProgram]) -> Result<(), Failure> {
    if programs.iter().any(|program| matches!(program.verdict(), Verdict::Rejected(_))) {
        return Err(Failure::No);
    }
    match not_loaded(programs).count() {
        0 => Ok(()),
        missing => Err(Failure::Load(format!(
            "{}: {missing} of {} programs could not be verified",
            target.path.display(),
            programs.len()
        ))),
    }
}

/// The log of the kernel between the lines with which libbpf frames it.
fn show_log(
    prepared: &Prepared,
    program: &PreparedProgram,
    form: LogForm,
    render: &mut Render<'_>,
) -> Result<(), Failure> {
    let profile = Profile::linux(prepared.machine.host().cpus);
    let facts = prepared.facts(program, profile);
    // What was not verified has no log.
    let Some(facts) = facts.filter(|_| stats_of(program.verdict()).is_some()) else {
        return Ok(());
    };
    let level = match form {
        LogForm::KernelOne => log::Level::One,
        LogForm::KernelTwo => log::Level::Two,
    };
    render.line(format_args!("-- BEGIN PROG LOAD LOG --"))?;
    log::write(&facts.input(), level, render.out())?;
    render.line(format_args!("-- END PROG LOAD LOG --"))?;
    Ok(())
}

/// A line for a program, and under it why it is refused.
fn text(
    arguments: &Verify,
    program: &PreparedProgram,
    render: &mut Render<'_>,
) -> Result<(), Failure> {
    let verdict = program.verdict();
    let mut numbers = String::new();
    if let Some(stats) = stats_of(verdict) {
        numbers = format!(": {} instructions processed", stats.insns_processed);
        if arguments.stats {
            numbers += &format!(
                ", {} states (at most {} at a time)",
                stats.total_states, stats.peak_states
            );
        }
    }
    if let (true, Verdict::Accepted(verified)) = (arguments.stats, verdict) {
        numbers += &format!(", {} bytes of stack", verified.stack_depth());
    }
    if let (true, Some(time)) = (arguments.stats, program.verify_time) {
        numbers += &format!(", in {}us", time.as_micros());
    }
    let label = format!("{} ({})", program.name, program.prog_type);
    match verdict {
        Verdict::Accepted(_) => {
            let word = render.paint(GOOD, "accepted");
            render.line(format_args!("{word} {label}{numbers}"))?;
        }
        Verdict::Rejected(_) => {
            let word = render.paint(BAD, "rejected");
            render.line(format_args!("{word} {label}{numbers}"))?;
            if let Some(report) = &program.report {
                show_report(render, report)?;
            }
        }
        Verdict::NotLoaded(failure) => {
            let word = render.paint(NOTE, "not loaded");
            render.line(format_args!("{word} {label}: {failure}"))?;
        }
        Verdict::Unverified => {
            let word = render.paint(NOTE, "not verified");
            render.line(format_args!("{word} {label}"))?;
        }
    }
    Ok(())
}
