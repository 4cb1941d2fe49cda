//! Programs that the optimising compiler refuses.

use std::error::Error;

use skep_bpf::codec::Slot;
use skep_bpf::platform::{MapFlags, MapType, ProgType};
use skep_bpf::program::{Bytecode, Program};
use skep_bpf::text::parse::assemble;
use skep_jit::CompileError;

use super::*;
use crate::context::RawMemory;
use crate::cpu::Cpu;
use crate::host::Host;
use crate::machine::{Loaded, MapId};
use crate::maps::MapSpec;
use crate::run::{Engine, Options};

fn load(machine: &Arc<Machine>, text: &str, maps: &[MapId]) -> Loaded {
    let mut slots = assemble(text).unwrap().slots;
    for load in slots.iter_mut().filter(|slot| slot.is_wide()) {
        // The map of index 0 (RFC 9669, section 5.4).
        *load = Slot::new(load.opcode, load.dst(), 5, 0, 0);
    }
    let program = Program::new(&Bytecode::from(slots)).unwrap();
    machine.load("test", ProgType::UNSPEC, program, maps).unwrap()
}

/// As if the compiler had refused the program.
fn refuse(loaded: &Loaded) {
    for code in &loaded.linked().native().code[tier_index(Tier::Optimising)] {
        let why = "there are too few".to_owned();
        let refused = CompileFailure::Refused(CompileError::Allocation { why });
        code.set(Err(refused)).expect("nothing was compiled before");
    }
}

fn options(engine: Engine) -> Options {
    Options { engine, ..Options::default() }
}

#[test]
fn the_automatic_engine_stays_with_the_template_compiler() {
    if !Engine::Optimising.is_available() {
        println!("skipped: there is no compiler for this computer");
        return;
    }
    let machine = Arc::new(Machine::new(Host::default()).unwrap());
    let loaded = load(&machine, "r0 = 7\nexit", &[]);
    refuse(&loaded);
    let mut cpu = Cpu::new(&machine).unwrap();
    for _ in 0..=2 * OFTEN {
        let result = loaded.run(&mut cpu, &mut RawMemory::default(), options(Engine::Auto));
        assert_eq!(result.map(|finished| finished.r0), Ok(7));
        assert_eq!(loaded.engine_now(options(Engine::Auto)), Engine::Template);
    }
}

#[test]
fn whoever_asks_for_the_optimising_compiler_is_told_why_not() {
    let machine = Arc::new(Machine::new(Host::default()).unwrap());
    let loaded = load(&machine, "r0 = 7\nexit", &[]);
    refuse(&loaded);
    let mut cpu = Cpu::new(&machine).unwrap();
    let result = loaded.run(&mut cpu, &mut RawMemory::default(), options(Engine::Optimising));
    let error = result.unwrap_err();
    assert_eq!(error.to_string(), "program test was not compiled");
    let why = error.source().unwrap().to_string();
    assert_eq!(why, "no registers could be allocated: there are too few");
}

#[test]
fn tail_calls_go_on_in_what_code_there_is() {
    if !Engine::Optimising.is_available() {
        println!("skipped: there is no compiler for this computer");
        return;
    }
    let machine = Arc::new(Machine::new(Host::default()).unwrap());
    let programs = machine.create_map(MapSpec {
        name: "programs".into(),
        map_type: MapType::PROG_ARRAY,
        key_bytes: 4,
        value_bytes: 4,
        max_entries: 1,
        flags: MapFlags::default(),
        inner: None,
        extra: 0,
    });
    let programs = programs.unwrap();
    let next = "r1 = 0\n call more\n r0 += 1\n exit\n more:\n r0 = r1\n r0 += 70\n exit";
    let next = load(&machine, next, &[]);
    refuse(&next);
    machine.map(programs).unwrap().set_program(&[0; 4], Arc::clone(next.linked())).unwrap();
    let call = "r1 = 0\n r2 = 0 ll\n r3 = 0\n call bpf_tail_call\n r0 = 2\n exit";
    let first = load(&machine, call, &[programs]);
    let mut cpu = Cpu::new(&machine).unwrap();
    for engine in [Engine::Optimising, Engine::Template, Engine::Fast] {
        let finished = first.run(&mut cpu, &mut RawMemory::default(), options(engine)).unwrap();
        assert_eq!(finished.r0, 71, "{engine:?}");
    }
}
