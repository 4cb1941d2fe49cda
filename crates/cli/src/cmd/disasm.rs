//! `skep disasm`: raw bytes or hexadecimal text to instructions, one a line.

use std::io::Read;
use std::path::PathBuf;

use clap::Args;
use skep_bpf::codec::{SlotIndex, decode, decode_all};
use skep_bpf::text::llvm;

use crate::failure::Failure;
use crate::input::{read_code, read_input};
use crate::listing::Style;
use crate::render::Render;

/// Disassembles raw code.
#[derive(Args, Debug)]
pub struct Disasm {
    /// Raw bytes or hexadecimal text; - is standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// How instructions are written; skep asm reads all but llvm's back without loss
    #[arg(long, value_enum, default_value = "decimal", value_name = "STYLE")]
    style: Style,
}

/// Runs the command.
///
/// # Errors
///
/// If the file cannot be read or holds something that is no instruction.
pub fn run(
    arguments: &Disasm,
    input: &mut dyn Read,
    render: &mut Render<'_>,
) -> Result<(), Failure> {
    let name = arguments.file.display().to_string();
    let slots = read_code(&read_input(&arguments.file, input)?, &name)?;
    if arguments.style == Style::Llvm {
        return llvm_style(&slots, render);
    }
    for (at, result) in decode_all(&slots) {
        let fail = |reason: String| Failure::Load(format!("{name}: {reason}"));
        result.map_err(|error| fail(error.to_string()))?;
        let next = slots.get(at.0 + 1).copied();
        let text = slots.get(at.0).and_then(|slot| arguments.style.print(*slot, next));
        let text = text.ok_or_else(|| fail(format!("slot {at}: not an instruction")))?;
        render.line(format_args!("{text}"))?;
    }
    Ok(())
}

/// LLVM prints by its own rules, and goes on where it knows no instruction.
fn llvm_style(slots: &[skep_bpf::codec::Slot], render: &mut Render<'_>) -> Result<(), Failure> {
    let mut at = 0;
    while let Some(slot) = slots.get(at) {
        let next = slots.get(at + 1).copied();
        match llvm::print(*slot, next) {
            llvm::Printed::Insn { text, slots, .. } => {
                render.line(format_args!("{text}"))?;
                at += slots;
            }
            llvm::Printed::Unknown | llvm::Printed::Truncated => {
                render.line(format_args!("<unknown>"))?;
                // A wide instruction that LLVM does not know is two slots nevertheless.
                at += decode(slots, SlotIndex(at)).map_or(1, |insn| insn.len_slots());
            }
        }
    }
    Ok(())
}
