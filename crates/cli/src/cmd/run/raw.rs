//! `skep run --raw`: code without an object, on plain memory.

use std::io::Read;
use std::path::Path;
use std::sync::{Arc, Mutex};

use serde_json::json;
use skep::context::RawMemory;
use skep::cpu::Cpu;
use skep::machine::Machine;
use skep::run::RunError;
use skep_bpf::platform::{AttachType, ProgType};
use skep_bpf::program::{Bytecode, Program};
use skep_verifier::report::{self, Report};
use skep_verifier::{Input, Profile, Verified};

use super::{Run, engine_name, json::TrapDocument, text};
use crate::failure::Failure;
use crate::input::{argument_bytes, read_code, read_input};
use crate::profilers::Profilers;
use crate::render::Render;
use crate::session::{Printed, host, type_named};
use crate::value::hex;
use crate::verdict::show_report;

pub(super) fn run(
    arguments: &Run,
    path: &Path,
    profilers: Option<&Arc<Profilers>>,
    input: &mut dyn Read,
    render: &mut Render<'_>,
) -> Result<(), Failure> {
    refuse_object_options(arguments)?;
    let name = path.display().to_string();
    let fail = |reason: String| Failure::Load(format!("{name}: {reason}"));
    let slots = read_code(&read_input(path, input)?, &name)?;
    let bytecode = Bytecode::from(slots);
    let bytes = match &arguments.memory {
        Some(argument) => argument_bytes(argument, "--memory")?,
        None => Vec::new(),
    };
    let printed = Arc::new(Mutex::new(Printed::default()));
    let machine =
        Machine::new(host(&printed, profilers)).map_err(|error| fail(error.to_string()))?;
    let machine = Arc::new(machine);
    let mut cpu = Cpu::new(&machine).map_err(|error| fail(error.to_string()))?;
    let loaded = match &arguments.verify {
        Some(name) => {
            let verified = match verify(&bytecode, type_named(name)?, machine.host().cpus) {
                Ok(verified) => verified,
                Err(report) => return refuse(arguments, &report, render),
            };
            machine.load_verified("raw", Arc::new(verified), &[])
        }
        None => {
            let program = Program::new(&bytecode).map_err(|error| fail(error.to_string()))?;
            machine.load("raw", ProgType::UNSPEC, program, &[])
        }
    };
    let loaded = loaded.map_err(|error| fail(error.to_string()))?;
    let options = arguments.options();
    let mut memory = RawMemory { bytes: bytes.clone() };
    let mut result = loaded.run(&mut cpu, &mut memory, options);
    for _ in 1..arguments.repeat {
        if result.is_err() {
            break;
        }
        memory.bytes.clone_from(&bytes);
        result = loaded.run(&mut cpu, &mut memory, options);
    }
    let printed =
        std::mem::take(&mut *printed.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
    if arguments.json {
        render.json(&json!({
            "engine": engine_name(options.engine),
            "runs": arguments.repeat,
            "r0": result.as_ref().ok().map(|finished| format!("{:#x}", finished.r0)),
            "insns": result.as_ref().ok().and_then(|finished| finished.insns),
            "printk": printed.lines,
            "memory_out": (memory.bytes != bytes).then(|| hex(&memory.bytes)),
            "trap": match &result {
                Err(RunError::Trap(trap)) => json!(TrapDocument::new(trap)),
                _ => json!(null),
            },
        }))?;
    } else {
        for line in &printed.lines {
            render.line(format_args!("{line}"))?;
        }
        if let Ok(finished) = &result {
            render.line(format_args!("r0 = {:#x}", finished.r0))?;
        }
        if let Err(RunError::Trap(trap)) = &result {
            text::show_trap(render, trap)?;
        }
        text::bytes(render, "memory", &bytes, &memory.bytes)?;
    }
    match result {
        Ok(_) => Ok(()),
        Err(RunError::Trap(_)) => Err(Failure::No),
        Err(other) => Err(fail(other.to_string())),
    }
}

/// Verifies code without maps and names, under a licence that allows every helper.
fn verify(
    bytecode: &Bytecode,
    (prog_type, attach_type): (ProgType, AttachType),
    cpus: u32,
) -> Result<Verified, Box<Report>> {
    let input = Input { attach_type, ..Input::new(bytecode, prog_type, Profile::linux(cpus)) };
    skep_verifier::verify(&input)
        .map_err(|rejection| Box::new(Report::new(&rejection, &input, "raw")))
}

fn refuse(arguments: &Run, report: &Report, render: &mut Render<'_>) -> Result<(), Failure> {
    match arguments.json {
        true => render.json(&json!({"verdict": "rejected", "error": report::json(report)}))?,
        false => show_report(render, report)?,
    }
    Err(Failure::No)
}

/// Options that mean nothing without an object are not ignored.
fn refuse_object_options(arguments: &Run) -> Result<(), Failure> {
    let given = [
        ("--packet", !arguments.packet.is_empty()),
        ("--pcap", arguments.pcap.is_some()),
        ("--write", arguments.write.is_some()),
        ("--verdicts", arguments.verdicts),
        ("--ctx", arguments.ctx.is_some()),
        ("--set", !arguments.set.is_empty()),
        ("--resize", !arguments.resize.is_empty()),
        ("--map", !arguments.map.is_empty()),
        ("--dump-maps", arguments.dump_maps),
        ("--type", arguments.type_name.is_some()),
    ];
    match given.iter().find(|(_, is_given)| *is_given) {
        Some((option, _)) => {
            Err(Failure::Usage(format!("{option} needs an object; raw code takes --memory")))
        }
        None => Ok(()),
    }
}
