//! `skep run`: runs a program on packets, or raw code on memory, and shows what it did.

mod json;
mod pulses;
mod raw;
mod text;

use std::fs::File;
use std::io::{BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, ValueEnum};
use skep::context::RawMemory;
use skep::prepare::Verification;
use skep::run::{DEFAULT_FUEL, Engine, Options, RunError};
use skep_net::{Capture, Format, LinkType, Packet, Writer};

use crate::contents::{Change, Contents};
use crate::context::{Input, goes_on};
use crate::failure::Failure;
use crate::input::{Target, argument_bytes, read_file};
use crate::profilers::Profilers;
use crate::render::Render;
use crate::session::{Opened, Record, Rejected, Session, Setting, Wanted, type_named};
use crate::verdict::{ProgramDocument, show_report};

/// Runs a program and shows what it did.
///
/// A program of type xdp, tc, socket or cgroup/skb needs a packet: --packet or --pcap. One of type
/// lirc_mode2 decodes what an infrared receiver saw: --pulses.
#[derive(Args, Debug)]
pub struct Run {
    /// The object: FILE.o, or FILE.o:NAME where there are several programs
    #[arg(value_name = "FILE.o", required_unless_present = "raw", conflicts_with = "raw")]
    target: Option<Target>,
    /// Run raw code instead of an object: bytes or hexadecimal text; - is standard input
    #[arg(long, value_name = "FILE")]
    raw: Option<PathBuf>,
    /// The memory that r1 leads to, as hexadecimal digits or @FILE, for raw code and for programs
    /// of types that take no packets; r2 is its length
    #[arg(long, value_name = "HEX", conflicts_with_all = ["packet", "pcap", "ctx"])]
    memory: Option<String>,
    /// The program's type, in place of what its section says (xdp, tc, socket, ...)
    #[arg(long = "type", value_name = "TYPE")]
    type_name: Option<String>,
    /// Run the program whether it is safe or not
    #[arg(long, conflicts_with = "raw")]
    unverified: bool,
    /// Verify raw code as a program of this type before it runs
    #[arg(long, value_name = "TYPE", requires = "raw")]
    verify: Option<String>,
    /// A packet, as hexadecimal digits or @FILE (again for more packets)
    #[arg(long, value_name = "HEX")]
    packet: Vec<String>,
    /// Packets from a capture, pcap or pcapng
    #[arg(long, value_name = "IN")]
    pcap: Option<PathBuf>,
    /// What an infrared receiver saw, as ir-ctl or mode2 write it: +9000 -4500 ... or pulse 9000
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with_all = ["raw", "memory", "packet", "pcap", "ctx", "write", "repeat"]
    )]
    pulses: Option<PathBuf>,
    /// Write the packets that were not dropped, as the program left them
    #[arg(short = 'w', long, value_name = "OUT")]
    write: Option<PathBuf>,
    /// Show every packet and its verdict, not only the first ones; of infrared, every event, not
    /// only those that ended in something decoded
    #[arg(long)]
    verdicts: bool,
    /// Fields of the context, from a TOML file
    #[arg(long, value_name = "FILE")]
    ctx: Option<PathBuf>,
    /// How often the program runs on each packet
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    repeat: u32,
    /// What executes the program
    #[arg(long, value_enum, default_value = "auto", value_name = "ENGINE")]
    engine: EngineName,
    /// How many instructions a run may execute
    #[arg(long, value_name = "N", default_value_t = DEFAULT_FUEL)]
    fuel: u64,
    /// Set a global variable before the program is loaded (again for more)
    #[arg(long, value_name = "VAR=VALUE")]
    set: Vec<Setting>,
    /// Make a map with values of so many bytes, or for so many elements: BYTES, BYTES,ENTRIES or
    /// ,ENTRIES (again for more)
    #[arg(long, value_name = "MAP=SIZE")]
    resize: Vec<Setting>,
    /// Fill a map from a JSON file: a list of {"key": ..., "value": ...} (again for more)
    #[arg(long, value_name = "NAME=FILE")]
    map: Vec<Setting>,
    /// Show all that is in the maps afterwards, not only what changed
    #[arg(long)]
    dump_maps: bool,
    /// The types (BTF) of the kernel that the program is for, in place of those of the kernel that
    /// runs here
    #[arg(long, value_name = "FILE", conflicts_with = "raw")]
    btf: Option<PathBuf>,
    /// Write the names of machine code to /tmp/perf-PID.map, where perf report looks for them
    #[arg(long)]
    perf_map: bool,
    /// Write machine code with names and source lines to DIR/jit-PID.dump, for perf inject --jit
    /// after perf record -k mono; without DIR, in this directory
    #[arg(
        long,
        value_name = "DIR",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "."
    )]
    jitdump: Option<PathBuf>,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// What executes a program.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum EngineName {
    /// Machine code where there is a compiler, by the optimising one once it is worth it; else
    /// the fast interpreter
    Auto,
    /// The fast interpreter
    Interp,
    /// The interpreter that checks every access against the object it belongs to
    Checked,
    /// Machine code by the template compiler
    Jit1,
    /// Machine code by the optimising compiler
    Jit,
}

impl EngineName {
    /// The engines that differ, the fastest first.
    pub(crate) fn measured() -> &'static [EngineName] {
        &[EngineName::Jit, EngineName::Jit1, EngineName::Interp, EngineName::Checked]
    }

    /// The name, as `--engine` takes it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            EngineName::Auto => "auto",
            EngineName::Interp => "interp",
            EngineName::Checked => "checked",
            EngineName::Jit1 => "jit1",
            EngineName::Jit => "jit",
        }
    }

    fn is_interpreter(self) -> bool {
        matches!(self, EngineName::Interp | EngineName::Checked)
    }

    pub(crate) fn engine(self) -> Engine {
        match self {
            EngineName::Auto => Engine::Auto,
            EngineName::Interp => Engine::Fast,
            EngineName::Checked => Engine::Checked,
            EngineName::Jit1 => Engine::Template,
            EngineName::Jit => Engine::Optimising,
        }
    }
}

/// The name of an engine, as `--engine` takes it.
fn engine_name(engine: Engine) -> &'static str {
    match engine {
        Engine::Auto => "auto",
        Engine::Fast => "interp",
        Engine::Checked => "checked",
        Engine::Template => "jit1",
        Engine::Optimising => "jit",
    }
}

impl Run {
    /// How the program is run. Its instructions are counted, since they are shown: what that costs
    /// does not show beside what a packet costs.
    fn options(&self) -> Options {
        Options { engine: self.engine.engine(), fuel: self.fuel, count: true }
    }
}

/// How many packets are shown unless all are asked for.
const SHOWN: usize = 32;

/// What all packets did together.
#[derive(Debug, Default)]
struct Totals {
    records: u64,
    /// How many instructions runs executed that counted them, and how many runs those were.
    insns: (u128, u64),
    time_ns: u128,
    traps: u64,
    refused: u64,
    /// How often programs returned what, in the order of the first time.
    verdicts: Vec<(String, u64)>,
}

impl Totals {
    fn add(&mut self, session: &Session, record: &Record) {
        self.records += 1;
        self.time_ns += record.time.as_nanos();
        let verdict = text::count_as(session, record);
        match &record.result {
            Ok(finished) => {
                self.insns.0 += finished.insns.map_or(0, u128::from);
                self.insns.1 += u64::from(finished.insns.is_some());
            }
            Err(RunError::Trap(_)) => self.traps += 1,
            Err(_) => self.refused += 1,
        }
        match self.verdicts.iter_mut().find(|(known, _)| *known == verdict) {
            Some((_, count)) => *count += 1,
            None => self.verdicts.push((verdict, 1)),
        }
    }
}

/// Runs the command.
///
/// # Errors
///
/// If something cannot be read or loaded; [`Failure::No`] after a trap.
pub fn run(arguments: &Run, input: &mut dyn Read, render: &mut Render<'_>) -> Result<(), Failure> {
    let dump = arguments.jitdump.as_deref();
    if (arguments.perf_map || dump.is_some()) && arguments.engine.is_interpreter() {
        let engine = arguments.engine.name();
        let why = format!("--engine {engine} makes no machine code for --perf-map or --jitdump");
        return Err(Failure::Usage(why));
    }
    let profilers = Profilers::open(arguments.perf_map, dump)?;
    let done = execute(arguments, profilers.as_ref(), input, render);
    if let Some(profilers) = profilers {
        profilers.finish(render)?;
    }
    done
}

fn execute(
    arguments: &Run,
    profilers: Option<&Arc<Profilers>>,
    input: &mut dyn Read,
    render: &mut Render<'_>,
) -> Result<(), Failure> {
    if let Some(path) = &arguments.raw {
        return raw::run(arguments, path, profilers, input, render);
    }
    let target = arguments.target.as_ref();
    let target = target.ok_or_else(|| Failure::Usage("FILE.o or --raw is needed".to_owned()))?;
    let types = match &arguments.type_name {
        Some(name) => Some(type_named(name)?),
        None => None,
    };
    let verification = match arguments.unverified {
        true => Verification::Off,
        false => Verification::Linux,
    };
    let (settings, sizes, maps) = (&arguments.set, &arguments.resize, &arguments.map);
    let btf = arguments.btf.as_deref();
    let wanted = Wanted { target, types, verification, settings, sizes, maps, btf, profilers };
    let opened = Session::open(&wanted)?;
    let mut session = match opened {
        Opened::Ready(session) => *session,
        Opened::Rejected(rejected) => return refuse(arguments, target, &rejected, render),
    };
    if pulses::are_meant(arguments, &session) {
        return pulses::run(arguments, target, &mut session, render);
    }
    let template = template(arguments, &session)?;
    let packets = packets(arguments, &session)?;
    let mut writer = arguments.write.as_deref().map(|path| open(path, arguments)).transpose()?;
    let before = Contents::read(&session.prepared);
    let options = arguments.options();
    let mut totals = Totals::default();
    let mut document = json::Document::new(target, &session, options.engine);
    for (index, packet) in packets.enumerate() {
        let packet = packet?;
        check_link(&packet, &session)?;
        let input = template.with_bytes(&packet.bytes);
        let record = session.run(&input, options, arguments.repeat);
        totals.add(&session, &record);
        if let (Some(writer), Ok(finished)) = (&mut writer, &record.result)
            && goes_on(session.prog_type(), finished.r0)
        {
            write_packet(writer, &packet, &record)?;
        }
        if arguments.json {
            document.add(&session, &input, &record);
        } else if arguments.pcap.is_some() || arguments.packet.len() > 1 {
            if arguments.verdicts || index < SHOWN {
                text::packet_line(render, &session, index, &packet, &input, &record)?;
            } else {
                if index == SHOWN {
                    render.line(format_args!("... (--verdicts shows all packets)"))?;
                }
                text::printed(render, &record)?;
                text::delivered(render, &session, &record)?;
            }
        } else {
            if let Err(error @ (RunError::Context(_) | RunError::OtherMachine { .. })) =
                &record.result
            {
                return Err(Failure::Load(format!("{}: {error}", session.place())));
            }
            text::single(render, &session, &input, &record)?;
        }
    }
    if let Some((path, writer)) = writer {
        let flushed = writer.into_inner().flush();
        flushed.map_err(|error| Failure::file(&path, error))?;
    }
    let (after, changes) = contents_after(arguments, &session, &before);
    finish(arguments, &session, &totals, &changes, &after, document, render)
}

/// What is in the maps, and what of it is to be shown.
fn contents_after(
    arguments: &Run,
    session: &Session,
    before: &Contents,
) -> (Contents, Vec<Change>) {
    let after = Contents::read(&session.prepared);
    let changes = match arguments.dump_maps {
        true => after.everything(),
        false => before.changes(&session.prepared, &after),
    };
    (after, changes)
}

/// Says why the program does not run.
fn refuse(
    arguments: &Run,
    target: &Target,
    rejected: &Rejected,
    render: &mut Render<'_>,
) -> Result<(), Failure> {
    let program = rejected.program();
    if arguments.json {
        render.json(&json::Refused {
            object: target.file_name(),
            program: ProgramDocument::new(program),
        })?;
    } else {
        if let Some(report) = &program.report {
            show_report(render, report)?;
        }
        render.line(format_args!(
            "{} is not run because it may be unsafe; --unverified runs it all the same",
            program.name
        ))?;
    }
    Err(Failure::No)
}

fn finish(
    arguments: &Run,
    session: &Session,
    totals: &Totals,
    changes: &[Change],
    after: &Contents,
    document: json::Document,
    render: &mut Render<'_>,
) -> Result<(), Failure> {
    for name in &after.too_large {
        render.note(format_args!("map {name} is too large to be shown"));
    }
    let many = arguments.pcap.is_some() || arguments.packet.len() > 1;
    if arguments.json {
        render.json(&document.finish(session, arguments.repeat, many, changes))?;
    } else {
        if many {
            text::totals(render, totals)?;
        }
        text::changes(render, session, changes)?;
    }
    match (totals.traps, totals.refused) {
        (0, 0) => Ok(()),
        // In a capture some packets may be such that the kernel would not take them.
        (0, refused) if many && refused < totals.records => Ok(()),
        (0, _) => Err(Failure::Load("no packet is one that the kernel would take".to_owned())),
        _ => Err(Failure::No),
    }
}

/// The input without its packet.
fn template(arguments: &Run, session: &Session) -> Result<Input, Failure> {
    if arguments.memory.is_some() {
        return Ok(Input::Memory(RawMemory::default()));
    }
    let fields = match &arguments.ctx {
        Some(path) => {
            let text = String::from_utf8(read_file(path)?);
            Some(text.map_err(|_| Failure::Load(format!("{}: not UTF-8", path.display())))?)
        }
        None => None,
    };
    let prog_type = session.prog_type();
    let input = Input::new(prog_type, fields.as_deref()).map_err(|why| {
        let path = arguments.ctx.as_deref().unwrap_or(Path::new("")).display();
        Failure::Load(format!("{path}: {why}"))
    })?;
    input.ok_or_else(|| {
        Failure::Load(format!(
            "{} is of type {prog_type}, which takes no packets; give the bytes that r1 leads to \
             with --memory HEX, or another type with --type",
            session.place()
        ))
    })
}

type Packets = Box<dyn Iterator<Item = Result<Packet, Failure>>>;

/// The packets to run on.
fn packets(arguments: &Run, session: &Session) -> Result<Packets, Failure> {
    let mut given = Vec::new();
    if let Some(argument) = &arguments.memory {
        let bytes = argument_bytes(argument, "--memory")?;
        given.push(Ok(Packet::new(std::time::Duration::ZERO, bytes)));
    }
    for argument in &arguments.packet {
        let bytes = argument_bytes(argument, "--packet")?;
        given.push(Ok(Packet::new(std::time::Duration::ZERO, bytes)));
    }
    let Some(path) = arguments.pcap.clone() else {
        if given.is_empty() {
            return Err(Failure::Usage(format!(
                "{} is of type {} and needs a packet: give one with --packet HEX or --packet \
                 @FILE, or several with --pcap FILE",
                session.place(),
                session.prog_type()
            )));
        }
        return Ok(Box::new(given.into_iter()));
    };
    let fail = move |error| Failure::Capture { path: path.clone(), error };
    let capture = Capture::open(arguments.pcap.as_deref().unwrap_or(Path::new("")));
    let capture = capture.map_err(&fail)?;
    Ok(Box::new(given.into_iter().chain(capture.map(move |packet| packet.map_err(&fail)))))
}

/// All contexts so far start with an Ethernet header.
fn check_link(packet: &Packet, session: &Session) -> Result<(), Failure> {
    if packet.link_type == LinkType::ETHERNET {
        return Ok(());
    }
    Err(Failure::Load(format!(
        "the capture's packets are {}, programs of type {} take Ethernet",
        packet.link_type,
        session.prog_type()
    )))
}

type Output = (PathBuf, Writer<BufWriter<File>>);

/// Starts a capture in the form that its name or the input says.
fn open(path: &Path, arguments: &Run) -> Result<Output, Failure> {
    let of_input = || {
        let capture = Capture::open(arguments.pcap.as_deref()?).ok()?;
        Some(capture.format())
    };
    let format = match path.extension().and_then(|extension| extension.to_str()) {
        Some("pcapng") => Format::PcapNg,
        _ => match of_input() {
            Some(Format::PcapNg) => Format::Pcap { nanoseconds: true },
            Some(format) => format,
            None => Format::Pcap { nanoseconds: false },
        },
    };
    let file = File::create(path).map_err(|error| Failure::file(path, error))?;
    let writer = Writer::new(BufWriter::new(file), format, LinkType::ETHERNET);
    let writer = writer.map_err(|error| Failure::CaptureWrite { path: path.to_owned(), error })?;
    Ok((path.to_owned(), writer))
}

fn write_packet(output: &mut Output, packet: &Packet, record: &Record) -> Result<(), Failure> {
    let (path, writer) = output;
    let bytes = record.input.bytes().to_vec();
    // What the capture cut off is still missing.
    let missing = u64::from(packet.original_len).saturating_sub(packet.bytes.len() as u64);
    let original_len = u32::try_from(bytes.len() as u64 + missing).unwrap_or(u32::MAX);
    let out = Packet { bytes, original_len, ..packet.clone() };
    writer.write(&out).map_err(|error| Failure::CaptureWrite { path: path.clone(), error })
}
