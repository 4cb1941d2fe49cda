//! The `skep` command as a library: arguments in, text out, an exit code.
//!
//! [`run`] is all of the command but the process, so that tests can call it. One command is one
//! file of [`cmd`]; what several of them need lies beside: disassembly in [`listing`], prepared
//! programs in [`session`], verdicts in [`verdict`], map contents in [`contents`], values by C type
//! in [`value`], timing in [`measure`]. Nothing here knows ELF or runs code: the crates below do.

#![forbid(unsafe_code)]

pub mod assembly;
pub mod cmd;
pub mod contents;
pub mod context;
pub mod delivered;
pub mod failure;
pub mod input;
pub mod kernel;
pub mod listing;
pub mod live;
pub mod measure;
pub mod packet;
pub mod profilers;
pub mod record;
pub mod render;
pub mod session;
pub mod value;
pub mod verdict;

use std::ffi::OsString;
use std::io::{Read, Write};

use clap::{Parser, Subcommand};

use failure::Failure;
use render::Render;

/// Where a command reads from and writes to.
pub struct Streams<'a> {
    /// Standard input.
    pub input: &'a mut dyn Read,
    /// Standard output.
    pub out: &'a mut dyn Write,
    /// Standard error.
    pub err: &'a mut dyn Write,
    /// Whether output may have colours.
    pub colour: bool,
    /// Whether output goes to a terminal, which takes no raw bytes.
    pub terminal: bool,
}

/// Takes eBPF programs apart, explains, verifies and runs them.
#[derive(Parser, Debug)]
#[command(name = "skep", version, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    Inspect(cmd::inspect::Inspect),
    Objdump(cmd::objdump::Objdump),
    Explain(cmd::explain::Explain),
    Asm(cmd::asm::Asm),
    Disasm(cmd::disasm::Disasm),
    Verify(cmd::verify::Verify),
    Run(Box<cmd::run::Run>),
    Jit(cmd::jit::Jit),
    Bench(Box<cmd::bench::Bench>),
    Conformance(cmd::conformance::Conformance),
}

/// Runs a command. The result is the process's exit code: 0 done and accepted, 1 the answer is
/// no, 2 wrong usage, 3 the input could not be read or loaded.
pub fn run(arguments: impl IntoIterator<Item = OsString>, streams: Streams<'_>) -> u8 {
    let Streams { input, out, err, colour, terminal } = streams;
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) => return refuse(&error, out, err, colour),
    };
    let mut render = Render::new(out, err, colour, terminal);
    let result = dispatch(arguments.command, input, &mut render);
    match result {
        Ok(()) => 0,
        // Whoever reads the output has seen enough.
        Err(Failure::Output(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => 0,
        Err(failure) => {
            render.failure(&failure);
            failure.code()
        }
    }
}

fn dispatch(
    command: Command,
    input: &mut dyn Read,
    render: &mut Render<'_>,
) -> Result<(), Failure> {
    match command {
        Command::Inspect(arguments) => cmd::inspect::run(&arguments, render),
        Command::Objdump(arguments) => cmd::objdump::run(&arguments, render),
        Command::Explain(arguments) => cmd::explain::run(&arguments, render),
        Command::Asm(arguments) => cmd::asm::run(&arguments, input, render),
        Command::Disasm(arguments) => cmd::disasm::run(&arguments, input, render),
        Command::Verify(arguments) => cmd::verify::run(&arguments, input, render),
        Command::Run(arguments) => cmd::run::run(&arguments, input, render),
        Command::Jit(arguments) => cmd::jit::run(&arguments, render),
        Command::Bench(arguments) => cmd::bench::run(&arguments, input, render),
        Command::Conformance(arguments) => cmd::conformance::run(&arguments, input, render),
    }
}

/// Prints what is wrong with the arguments, or the help that they asked for.
fn refuse<'a>(
    error: &clap::Error,
    out: &'a mut dyn Write,
    err: &'a mut dyn Write,
    colour: bool,
) -> u8 {
    let text = error.render();
    let to = if error.use_stderr() { err } else { out };
    // There is nobody left to tell that this could not be written.
    let _ = if colour { write!(to, "{}", text.ansi()) } else { write!(to, "{text}") };
    u8::try_from(error.exit_code()).unwrap_or(2)
}
