//! `skep bench`: how long a program takes, engine beside engine.
//!
//! Engines take turns within the process, sample by sample; a sample is the thread's CPU time over
//! so many runs that the clock's grain does not matter. A program runs on what its last run left
//! behind, as in the kernel's own test runs, so that nothing but the program is measured.

mod live;
mod show;
mod subject;

use std::io::Read;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use skep::prepare::Verification;

use super::run::EngineName;
use crate::failure::Failure;
use crate::input::{Target, argument_bytes};
use crate::measure::{Settings, measure};
use crate::render::Render;
use crate::session::Setting;
use show::Row;
use subject::Made;

/// Measures how long a program takes, engine beside engine.
///
/// Times are CPU time of a run with all that belongs to it: context, maps, helpers. Only ratios
/// within one call mean anything: machines differ and are shared.
#[derive(Args, Debug)]
pub struct Bench {
    /// The object: FILE.o, or FILE.o:NAME where there are several programs
    #[arg(value_name = "FILE.o", required_unless_present = "raw", conflicts_with = "raw")]
    target: Option<Target>,
    /// Measure raw code instead of an object: bytes or hexadecimal text; - is standard input.
    /// Helpers that do not exist return 0
    #[arg(long, value_name = "FILE")]
    raw: Option<PathBuf>,
    /// The memory that r1 leads to, as hexadecimal digits or @FILE; r2 is its length
    #[arg(long, value_name = "HEX", conflicts_with_all = ["packet", "ctx"])]
    memory: Option<String>,
    /// The packet, as hexadecimal digits or @FILE; 64 zeros if there is none
    #[arg(long, value_name = "HEX", conflicts_with = "raw")]
    packet: Option<String>,
    /// Fields of the context, from a TOML file
    #[arg(long, value_name = "FILE", conflicts_with = "raw")]
    ctx: Option<PathBuf>,
    /// The program's type, in place of what its section says (xdp, tc, socket, ...)
    #[arg(long = "type", value_name = "TYPE", conflicts_with = "raw")]
    type_name: Option<String>,
    /// Run the program whether it is safe or not
    #[arg(long, conflicts_with = "raw")]
    unverified: bool,
    /// The engines to measure, the first of which others are compared to; all if none is named
    #[arg(long, value_enum, value_delimiter = ',', value_name = "ENGINE")]
    engine: Vec<EngineName>,
    /// Measure the live kernel as well (BPF_PROG_TEST_RUN; needs the right to load programs)
    #[arg(long)]
    kernel: bool,
    /// How many samples are taken of each engine
    #[arg(long, value_name = "N", default_value_t = 51, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// The least CPU time of a sample, in microseconds
    #[arg(long, value_name = "US", default_value_t = 2000, value_parser = clap::value_parser!(u32).range(1..))]
    sample: u32,
    /// Set a global variable before the program is loaded (again for more)
    #[arg(long, value_name = "VAR=VALUE", conflicts_with = "raw")]
    set: Vec<Setting>,
    /// Fill a map from a JSON file: a list of {"key": ..., "value": ...} (again for more); the
    /// kernel's maps stay empty
    #[arg(long, value_name = "NAME=FILE", conflicts_with_all = ["raw", "kernel"])]
    map: Vec<Setting>,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// A packet that every program type takes.
const ZEROS: [u8; 64] = [0; 64];

impl Bench {
    fn engines(&self) -> Vec<EngineName> {
        match self.engine.as_slice() {
            [] => EngineName::measured().to_vec(),
            given => given.to_vec(),
        }
    }

    fn memory(&self) -> Result<Vec<u8>, Failure> {
        let argument = self.memory.as_deref();
        argument.map_or(Ok(Vec::new()), |argument| argument_bytes(argument, "--memory"))
    }

    fn packet(&self) -> Result<Vec<u8>, Failure> {
        let argument = self.packet.as_deref();
        argument.map_or(Ok(ZEROS.to_vec()), |argument| argument_bytes(argument, "--packet"))
    }

    fn verification(&self) -> Verification {
        if self.unverified { Verification::Off } else { Verification::Linux }
    }

    fn settings(&self) -> Settings {
        let sample = Duration::from_micros(self.sample.into());
        // A program goes on from what its last run left behind.
        Settings { rounds: self.rounds as usize, sample, compare: false }
    }
}

/// Runs the command.
///
/// # Errors
///
/// If something cannot be read or loaded, a run fails.
pub fn run(
    arguments: &Bench,
    input: &mut dyn Read,
    render: &mut Render<'_>,
) -> Result<(), Failure> {
    let mut field = match &arguments.raw {
        Some(path) => subject::raw(arguments, path, input)?,
        None => subject::object(arguments)?,
    };
    let mut left_out = Vec::new();
    let mut compiled = Vec::new();
    let mut subjects = Vec::new();
    let mut take = |name, made: Result<Made, String>| match made {
        Ok(Made { subject, compile }) => {
            compiled.push(compile);
            subjects.push((name, subject));
        }
        Err(why) => left_out.push((name, why)),
    };
    for engine in arguments.engines() {
        take(engine.name(), field.own(engine));
    }
    if arguments.kernel {
        take(live::NAME, field.live());
    }
    for (name, why) in &left_out {
        render.note(format_args!("{name} is left out: {why}"));
    }
    if subjects.is_empty() {
        return Err(Failure::Load(format!("{}: no engine runs it", field.name)));
    }
    let measured = measure(&mut subjects, arguments.settings())
        .map_err(|why| Failure::Load(format!("{}: {why}", field.name)))?;
    let names = subjects.iter().map(|(name, _)| *name);
    let rows = names.zip(compiled).zip(measured);
    let rows = rows
        .map(|((name, compile), measured)| Row { name, compile, measured })
        .collect::<Vec<Row>>();
    match arguments.json {
        true => render.json(&show::document(&field, &rows))?,
        false => show::table(render, &field, &rows)?,
    }
    Ok(())
}
