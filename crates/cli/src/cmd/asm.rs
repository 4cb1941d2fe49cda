//! `skep asm`: assembles either dialect to raw bytes, hexadecimal text or an object.

use std::io::Read;
use std::path::PathBuf;

use clap::Args;
use skep_bpf::codec::SlotIndex;
use skep_bpf::text::parse::{Assembly, assemble};
use skep_object::NewObject;

use crate::failure::Failure;
use crate::input::{read_input, write_file};
use crate::render::Render;

/// Assembles a file.
#[derive(Args, Debug)]
pub struct Asm {
    /// The text, C-like or mnemonic; - is standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Where to write; an object if the name ends in .o, else raw bytes
    #[arg(short = 'o', long, value_name = "OUT")]
    output: Option<PathBuf>,
    /// Write hexadecimal text, one slot a line (the default on a terminal)
    #[arg(long)]
    hex: bool,
    /// The section of an object, which says the program's type
    #[arg(long, default_value = ".text", value_name = "NAME")]
    section: String,
    /// The licence of an object
    #[arg(long, value_name = "TEXT")]
    license: Option<String>,
}

/// Runs the command.
///
/// # Errors
///
/// If the file cannot be read, is not assembly, or the output cannot be written.
pub fn run(arguments: &Asm, input: &mut dyn Read, render: &mut Render<'_>) -> Result<(), Failure> {
    let text = read_input(&arguments.file, input)?;
    let name = arguments.file.display();
    let text = String::from_utf8(text).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        Failure::Load(format!("{name}: byte {at} is not UTF-8; assembly is text"))
    })?;
    let assembly = assemble(&text).map_err(|error| Failure::Load(format!("{name}: {error}")))?;
    let bytes: Vec<u8> = assembly.slots.iter().flat_map(|slot| slot.to_bytes()).collect();
    match &arguments.output {
        Some(path) if path.extension().is_some_and(|extension| extension == "o") => {
            write_file(path, &object(arguments, &assembly)?)
        }
        Some(path) if !arguments.hex => write_file(path, &bytes),
        Some(path) => write_file(path, hex(&bytes).as_bytes()),
        None if arguments.hex || render.is_terminal() => {
            Ok(render.out().write_all(hex(&bytes).as_bytes())?)
        }
        None => Ok(render.out().write_all(&bytes)?),
    }
}

fn object(arguments: &Asm, assembly: &Assembly) -> Result<Vec<u8>, Failure> {
    let mut functions = assembly.functions.clone();
    functions.sort();
    if functions.first().is_none_or(|(start, _)| start.0 != 0) {
        let at_start = assembly.labels.iter().find(|(_, slot)| slot.0 == 0);
        let name = match at_start {
            Some((name, _)) => name.clone(),
            None => arguments
                .file
                .file_stem()
                .map_or_else(|| "main".to_owned(), |stem| stem.to_string_lossy().into_owned()),
        };
        functions.insert(0, (SlotIndex(0), name));
    }
    let new = NewObject {
        section: &arguments.section,
        code: &assembly.slots,
        functions: &functions,
        license: arguments.license.as_deref(),
    };
    new.to_bytes().map_err(Failure::Load)
}

/// Bytes as text, one slot a line.
fn hex(bytes: &[u8]) -> String {
    let mut text = String::new();
    for slot in bytes.chunks(8) {
        let line: Vec<String> = slot.iter().map(|byte| format!("{byte:02x}")).collect();
        text.push_str(&line.join(" "));
        text.push('\n');
    }
    text
}
