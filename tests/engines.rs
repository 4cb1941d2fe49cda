//! The engines that must agree with the corpus, and one way to run a case on each.

use std::sync::Arc;

use skep::context::{Context, RawMemory, Skb};
use skep::cpu::Cpu;
use skep::host::Host;
use skep::machine::{Loaded, Machine};
use skep::maps::MapSpec;
use skep::run::{Engine, Options, RunError};
use skep::trap::TrapKind;
use skep_bpf::platform::{MapFlags, MapType, ProgType};
use skep_bpf::program::Program;
use skep_jit::ssa::Passes;

use crate::corpus::{Case, Expect, Input, MapDeclaration};

/// An engine under test.
#[derive(Clone, Copy, Debug)]
pub struct EngineRow {
    /// The name in reports.
    pub name: &'static str,
    /// The engine.
    pub engine: Engine,
    /// Whether it knows objects, so that every access outside one is a trap; else pages only.
    pub knows_objects: bool,
}

/// Every engine. A new one is a new line.
pub const ENGINES: &[EngineRow] = &[
    EngineRow { name: "fast", engine: Engine::Fast, knows_objects: false },
    EngineRow { name: "auto", engine: Engine::Auto, knows_objects: false },
    EngineRow { name: "jit1", engine: Engine::Template, knows_objects: false },
    EngineRow { name: "jit", engine: Engine::Optimising, knows_objects: false },
    EngineRow { name: "checked", engine: Engine::Checked, knows_objects: true },
];

/// The kinds of traps by the names that the corpus has for them.
pub const TRAPS: &[&str] = &[
    "memory",
    "misaligned-atomic",
    "out-of-fuel",
    "call-depth",
    "no-such-helper",
    "not-a-function",
    "not-a-map",
    "helper-context",
    "unsupported",
    "no-socket-buffer",
    "stopped",
];

/// The corpus's name for a trap. Whether an access left the window or an object, and who made it,
/// is the engine's affair.
fn trap_name(kind: &TrapKind) -> &'static str {
    match kind {
        TrapKind::Memory(_) | TrapKind::Region(_) | TrapKind::HelperMemory { .. } => "memory",
        TrapKind::MisalignedAtomic { .. } => "misaligned-atomic",
        TrapKind::OutOfFuel { .. } => "out-of-fuel",
        TrapKind::CallDepth { .. } => "call-depth",
        TrapKind::NoSuchHelper(_) => "no-such-helper",
        TrapKind::NotAFunction { .. } => "not-a-function",
        TrapKind::NotAMap { .. } => "not-a-map",
        TrapKind::HelperContext { .. } => "helper-context",
        TrapKind::Unsupported { .. } => "unsupported",
        TrapKind::NoSocketBuffer => "no-socket-buffer",
        TrapKind::Stopped => "stopped",
        _ => "unknown to the corpus",
    }
}

/// What an engine made of a case.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Outcome {
    Result { r0: u64, memory: Vec<u8> },
    Trap { kind: &'static str, slot: usize, message: String },
}

/// Runs a case, whose program was assembled, on an engine.
///
/// # Errors
///
/// How the outcome differs from the expectation.
pub fn check(case: &Case, program: &Program, row: &EngineRow) -> Result<(), String> {
    check_with(case, program, row, Passes::ALL)
}

/// The same with some passes of the optimising compiler.
///
/// # Errors
///
/// As for [`check`].
pub fn check_with(
    case: &Case,
    program: &Program,
    row: &EngineRow,
    passes: Passes,
) -> Result<(), String> {
    let prog_type = match case.input {
        Input::Memory(_) => ProgType::UNSPEC,
        Input::Packet(_) => ProgType::SCHED_CLS,
    };
    let loaded = load(program.clone(), prog_type, &case.maps)?;
    loaded.machine().set_passes(passes);
    let outcome = run(case, row.engine, &loaded)?;
    match (&case.expect, &outcome) {
        (Expect::Result(expected), Outcome::Result { r0, memory }) => {
            if r0 != expected {
                return Err(format!("r0 is {r0:#x}, expected {expected:#x}"));
            }
            if *memory != case.memory_after {
                let expected = &case.memory_after;
                return Err(format!("memory is {memory:02x?}, expected {expected:02x?}"));
            }
            Ok(())
        }
        // What an engine without objects does then is its own affair, as long as it survives.
        (Expect::Trap { regions_only: true, .. }, _) if !row.knows_objects => Ok(()),
        (Expect::Trap { kind, slot, .. }, Outcome::Trap { kind: found, slot: at, message }) => {
            if (kind.as_str(), *slot) == (*found, *at) {
                return Ok(());
            }
            Err(format!("trap {found} at {at}, expected {kind} at {slot}: {message}"))
        }
        (expected, outcome) => Err(format!("{outcome:x?}, expected {expected:x?}")),
    }
}

/// Loads a program into a machine of its own.
fn load(program: Program, prog_type: ProgType, maps: &[MapDeclaration]) -> Result<Loaded, String> {
    let machine = Machine::new(Host::default()).map_err(|error| error.to_string())?;
    load_on(&Arc::new(machine), program, prog_type, maps)
}

/// Loads a program into a machine that has nothing yet, with the maps of a case.
///
/// # Errors
///
/// What the machine says of maps or program.
pub fn load_on(
    machine: &Arc<Machine>,
    program: Program,
    prog_type: ProgType,
    maps: &[MapDeclaration],
) -> Result<Loaded, String> {
    let mut ids = Vec::new();
    for (index, map) in maps.iter().enumerate() {
        let spec = MapSpec {
            name: format!("map{index}").into(),
            map_type: MapType(map.map_type),
            key_bytes: map.key_bytes,
            value_bytes: map.value_bytes,
            max_entries: map.max_entries,
            flags: if map.read_only { MapFlags::RDONLY_PROG } else { MapFlags::default() },
            extra: 0,
            inner: None,
        };
        ids.push(machine.create_map(spec).map_err(|error| error.to_string())?);
    }
    machine
        .load("conformance", prog_type, program, &ids)
        .map_err(|error| format!("not loaded: {error}"))
}

fn run(case: &Case, engine: Engine, loaded: &Loaded) -> Result<Outcome, String> {
    let mut cpu = Cpu::new(loaded.machine()).map_err(|error| error.to_string())?;
    let mut raw = RawMemory { bytes: case.memory().to_vec() };
    let mut packet;
    let context: &mut dyn Context = match &case.input {
        Input::Memory(_) => &mut raw,
        Input::Packet(bytes) => {
            packet = Skb::new(ProgType::SCHED_CLS, bytes.clone());
            &mut packet
        }
    };
    match loaded.run(&mut cpu, context, Options { engine, fuel: case.fuel, ..Options::default() }) {
        Ok(finished) => Ok(Outcome::Result { r0: finished.r0, memory: raw.bytes }),
        Err(RunError::Trap(trap)) => Ok(Outcome::Trap {
            kind: trap_name(&trap.kind),
            slot: trap.slot.0,
            message: trap.to_string(),
        }),
        Err(error) => Err(error.to_string()),
    }
}
