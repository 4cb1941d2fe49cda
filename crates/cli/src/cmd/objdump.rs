//! `skep objdump`: disassembly as `llvm-objdump` prints it, or in other styles.

use clap::Args;

use crate::failure::Failure;
use crate::input::Target;
use crate::listing::{self, Style};
use crate::render::Render;

/// Disassembles an object.
#[derive(Args, Debug)]
pub struct Objdump {
    /// The object: FILE.o, or FILE.o:NAME for one function or section
    #[arg(value_name = "FILE.o")]
    target: Target,
    /// Disassemble code (the default)
    #[arg(short = 'd', long)]
    disassemble: bool,
    /// Show source lines from BTF between instructions; implies -d
    #[arg(short = 'S', long)]
    source: bool,
    /// Show relocations: with -d at their instructions, else in tables
    #[arg(short = 'r', long)]
    reloc: bool,
    /// Leave out the bytes of instructions
    #[arg(long)]
    no_show_raw_insn: bool,
    /// How instructions are written
    #[arg(long, value_enum, default_value = "llvm", value_name = "STYLE")]
    style: Style,
    /// Add the names of maps, variables, helpers and called functions
    #[arg(long)]
    names: bool,
}

/// Runs the command.
///
/// # Errors
///
/// If the object cannot be read or has no such function.
pub fn run(arguments: &Objdump, render: &mut Render<'_>) -> Result<(), Failure> {
    let target = &arguments.target;
    let object = target.object()?;
    let only = match target.name {
        Some(_) => Some(target.functions(&object)?),
        None => None,
    };
    let disassemble = arguments.disassemble || arguments.source || !arguments.reloc;
    writeln!(render.out(), "\n{}:\tfile format elf64-bpf", target.path.display())?;
    if !disassemble {
        return Ok(listing::write_relocations(&object, render.out())?);
    }
    let options = listing::Options {
        source: arguments.source,
        relocations: arguments.reloc,
        raw_bytes: !arguments.no_show_raw_insn,
        style: arguments.style,
        names: arguments.names,
        only: only.as_deref(),
    };
    listing::write(&object, &options, render.out())?;
    Ok(())
}
