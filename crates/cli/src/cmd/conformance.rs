//! `skep conformance`: the plugin protocol of the public bpf_conformance suite.
//!
//! Code as hexadecimal text on standard input, memory as the first argument, `r0` in hexadecimal
//! on standard output. Nothing is verified, and helpers that do not exist return 0.

use std::io::Read;
use std::sync::{Arc, Mutex};

use clap::Args;
use skep::context::RawMemory;
use skep::cpu::Cpu;
use skep::helpers::{Implementation, standard};
use skep::machine::Machine;
use skep::run::{Options, RunError};
use skep_bpf::insn::{Callee, Insn};
use skep_bpf::platform::{HelperId, ProgType};
use skep_bpf::program::{Bytecode, Program};

use super::run::EngineName;
use crate::failure::Failure;
use crate::input::{argument_bytes, read_code};
use crate::render::Render;
use crate::session::{Printed, host};

/// Runs a program of the bpf_conformance suite: code on standard input, r0 on standard output.
#[derive(Args, Debug)]
pub struct Conformance {
    /// What executes the program
    #[arg(long, value_enum, default_value = "auto", value_name = "ENGINE")]
    engine: EngineName,
    /// The memory, as hexadecimal digits
    #[arg(value_name = "HEX", default_value = "")]
    memory: String,
    /// What the suite passes on to plugins and this one does not need
    #[arg(value_name = "OPTION", trailing_var_arg = true, allow_hyphen_values = true)]
    options: Vec<String>,
}

/// Runs the command.
///
/// # Errors
///
/// If the code is not a program or traps.
pub fn run(
    arguments: &Conformance,
    input: &mut dyn Read,
    render: &mut Render<'_>,
) -> Result<(), Failure> {
    let mut text = Vec::new();
    input.read_to_end(&mut text)?;
    let slots = read_code(&text, "standard input")?;
    let fail = |reason: String| Failure::Load(format!("standard input: {reason}"));
    let program = Program::new(&Bytecode::from(slots)).map_err(|error| fail(error.to_string()))?;
    let printed = Arc::new(Mutex::new(Printed::default()));
    let machine = Machine::with_helpers(host(&printed, None), missing_helpers(&program));
    let machine = Arc::new(machine.map_err(|error| fail(error.to_string()))?);
    let mut cpu = Cpu::new(&machine).map_err(|error| fail(error.to_string()))?;
    let loaded = machine.load("conformance", ProgType::UNSPEC, program, &[]);
    let loaded = loaded.map_err(|error| fail(error.to_string()))?;
    let mut memory = RawMemory { bytes: argument_bytes(&arguments.memory, "the memory")? };
    let options = Options { engine: arguments.engine.engine(), ..Options::default() };
    match loaded.run(&mut cpu, &mut memory, options) {
        Ok(finished) => Ok(render.line(format_args!("{:x}", finished.r0))?),
        Err(RunError::Trap(trap)) => {
            render.note(format_args!("{trap}"));
            Err(Failure::No)
        }
        Err(other) => Err(fail(other.to_string())),
    }
}

/// Helpers that a program calls and that do not exist: they return 0.
pub(crate) fn missing_helpers(program: &Program) -> Vec<(HelperId, Implementation)> {
    let mut missing: Vec<(HelperId, Implementation)> = Vec::new();
    for insn in program.insns() {
        if let Insn::Call { callee: Callee::Helper(id) } = insn
            && !standard().any(|(known, _)| known == *id)
            && !missing.iter().any(|(known, _)| known == id)
        {
            missing.push((*id, Implementation::Own(Box::new(|_| Ok(0)))));
        }
    }
    missing
}
