//! Infrared: runs a decoder on every event of a recording, one after the other, and shows what it
//! decoded. Its state stays in its maps from event to event.

use std::io;
use std::path::Path;

use serde::Serialize;
use serde_json::Value;
use skep::context::{Decoded, Lirc, Signal, parse_pulses};
use skep::run::RunError;
use skep_bpf::platform::ProgType;

use super::json::TrapDocument;
use super::{Run, contents_after, engine_name, text};
use crate::contents::{Contents, to_json};
use crate::context::Input;
use crate::delivered::RecordDocument;
use crate::failure::Failure;
use crate::input::{Target, read_file};
use crate::render::{FAINT, GOOD, Render};
use crate::session::{Record, Session};

/// The document; its shape is described in `docs/json.md`.
#[derive(Serialize, Debug)]
struct Document {
    object: String,
    program: String,
    #[serde(rename = "type")]
    prog_type: String,
    engine: &'static str,
    runs: u64,
    insns: Option<u64>,
    time_ns: u128,
    printk: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    records: Vec<RecordDocument>,
    decoded: Vec<Said>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trap: Option<TrapDocument>,
    maps: Value,
}

/// Something decoded, and when.
#[derive(Serialize, Debug)]
struct Said {
    event: usize,
    signal: String,
    #[serde(flatten)]
    what: What,
}

#[derive(Serialize, Debug)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum What {
    Key { protocol: u32, scancode: String, toggle: u32 },
    Repeat,
    Pointer { x: i32, y: i32 },
}

impl From<Decoded> for What {
    fn from(decoded: Decoded) -> What {
        match decoded {
            Decoded::Key { protocol, scancode, toggle } => {
                What::Key { protocol, scancode: format!("{scancode:#x}"), toggle }
            }
            Decoded::Repeat => What::Repeat,
            Decoded::Pointer { x, y } => What::Pointer { x, y },
        }
    }
}

/// Whether a program runs on infrared: it was asked for, or the program takes nothing else and
/// nothing else was given.
pub(super) fn are_meant(arguments: &Run, session: &Session) -> bool {
    let takes_events = session.prog_type() == ProgType::LIRC_MODE2 && arguments.memory.is_none();
    arguments.pulses.is_some() || takes_events
}

/// Runs a decoder on a recording. A trap ends it: what the decoder kept of the message is lost.
pub(super) fn run(
    arguments: &Run,
    target: &Target,
    session: &mut Session,
    render: &mut Render<'_>,
) -> Result<(), Failure> {
    let signals = signals(arguments, session)?;
    let before = Contents::read(&session.prepared);
    let options = arguments.options();
    let mut document = Document {
        object: target.file_name(),
        program: session.name().to_owned(),
        prog_type: session.prog_type().to_string(),
        engine: engine_name(options.engine),
        runs: 0,
        insns: Some(0),
        time_ns: 0,
        printk: Vec::new(),
        records: Vec::new(),
        decoded: Vec::new(),
        trap: None,
        maps: Value::Null,
    };
    for (event, signal) in signals.into_iter().enumerate() {
        let mut record = session.run(&Input::Infrared(Lirc::new(signal)), options, 1);
        let said = match &mut record.input {
            Input::Infrared(lirc) => std::mem::take(&mut lirc.decoded),
            _ => Vec::new(),
        };
        document.runs += 1;
        document.time_ns += record.time.as_nanos();
        if !arguments.json {
            show_event(render, event, signal, &record, &said, arguments.verdicts)?;
            text::delivered(render, session, &record)?;
        }
        let signal = signal.to_string();
        document.decoded.extend(said.into_iter().map(|decoded| Said {
            event,
            signal: signal.clone(),
            what: decoded.into(),
        }));
        match record.result {
            // Without a number from every run there is none for all.
            Ok(finished) => {
                let insns = document.insns.zip(finished.insns);
                document.insns = insns.map(|(sum, insns)| sum + insns);
            }
            Err(RunError::Trap(trap)) => {
                document.trap = Some(TrapDocument::new(&trap));
                if !arguments.json {
                    text::show_trap(render, &trap)?;
                }
            }
            Err(other) => return Err(Failure::Load(format!("{}: {other}", session.place()))),
        }
        if arguments.json {
            document.records.extend(record.delivered.documents(&session.prepared));
            document.printk.extend(record.printed.lines);
        }
        if document.trap.is_some() {
            break;
        }
    }
    let (after, changes) = contents_after(arguments, session, &before);
    for name in &after.too_large {
        render.note(format_args!("map {name} is too large to be shown"));
    }
    let trapped = document.trap.is_some();
    if arguments.json {
        document.maps = to_json(&session.prepared, &changes);
        render.json(&document)?;
    } else {
        show_totals(render, &document)?;
        text::changes(render, session, &changes)?;
    }
    if trapped { Err(Failure::No) } else { Ok(()) }
}

/// The events of the recording.
fn signals(arguments: &Run, session: &Session) -> Result<Vec<Signal>, Failure> {
    let (place, prog_type) = (session.place(), session.prog_type());
    let fits = prog_type == ProgType::LIRC_MODE2;
    let path: &Path = match &arguments.pulses {
        Some(path) if fits => path,
        Some(_) => {
            return Err(Failure::Usage(format!(
                "--pulses is for programs of type lirc_mode2; {place} is of type {prog_type}"
            )));
        }
        None => {
            return Err(Failure::Usage(format!(
                "{place} is of type {prog_type} and needs infrared: give a recording with --pulses \
                 FILE"
            )));
        }
    };
    let fail = |why: String| Failure::Load(format!("{}: {why}", path.display()));
    let recording = String::from_utf8(read_file(path)?).map_err(|error| fail(error.to_string()))?;
    let signals = parse_pulses(&recording).map_err(|error| fail(error.to_string()))?;
    match signals.is_empty() {
        true => Err(fail("it has no events".to_owned())),
        false => Ok(signals),
    }
}

fn show_event(
    render: &mut Render<'_>,
    event: usize,
    signal: Signal,
    record: &Record,
    said: &[Decoded],
    all: bool,
) -> io::Result<()> {
    text::printed(render, record)?;
    let number = render.paint(FAINT, &format!("{event:>4}"));
    for decoded in said {
        let decoded = render.paint(GOOD, &decoded.to_string());
        render.line(format_args!("{number}  {signal}: {decoded}"))?;
    }
    match all && said.is_empty() {
        true => render.line(format_args!("{number}  {signal}")),
        false => Ok(()),
    }
}

fn show_totals(render: &mut Render<'_>, document: &Document) -> io::Result<()> {
    let plural = if document.runs == 1 { "event" } else { "events" };
    let what = match document.decoded.len() {
        0 => "nothing decoded".to_owned(),
        1 => "1 time something decoded".to_owned(),
        count => format!("{count} times something decoded"),
    };
    // There is at least one event.
    let runs = document.runs.max(1);
    let insns = document.insns.map(|insns| format!("{} instructions and ", insns / runs));
    render.line(format_args!(
        "{} {plural}, {what}; {}{} ns each on average",
        document.runs,
        insns.unwrap_or_default(),
        document.time_ns / u128::from(runs)
    ))
}
