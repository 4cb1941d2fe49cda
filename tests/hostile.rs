//! Hostile programs: random slots that decode, run without a verifier on every engine that has
//! window semantics.
//!
//! Nothing crashes or hangs, nothing outside guest memory changes, and the engines agree on
//! everything: result, instructions executed, trap with its instruction, memory.

use std::sync::Arc;

use skep::context::RawMemory;
use skep::cpu::Cpu;
use skep::host::Host;
use skep::machine::Machine;
use skep::memory::Access;
use skep::run::{Engine, Finished, Options, RunError};
use skep::trap::TrapKind;
use skep_bpf::codec::{Slot, SlotIndex, decode};
use skep_bpf::platform::ProgType;
use skep_bpf::program::{Bytecode, Program};
use skep_jit::ssa::Passes;

use crate::random::Random;

/// The fuel of a run: enough for some rounds of a loop.
const FUEL: u64 = 2_000;
/// The bytes that programs are given.
const MEMORY_BYTES: usize = 256;
/// The bytes of each canary.
const CANARY_BYTES: usize = 1 << 16;

/// The engines, the reference first. The last is the optimising compiler with fewer passes.
const ENGINES: [Engine; 4] =
    [Engine::Fast, Engine::Template, Engine::Optimising, Engine::Optimising];

/// A machine that runs hostile programs, with memory around it that must not change.
#[derive(Debug)]
pub struct Arena {
    before: Vec<u8>,
    /// A machine for each engine: what one run leaves in memory that is not cleared, such as
    /// unused parts of the stack, the next finds on its own engine only.
    engines: Vec<(Engine, Arc<Machine>, Cpu)>,
    /// The passes of the optimising compiler that the last of the engines takes in turn.
    reduced: Vec<(String, Passes)>,
    programs: usize,
    after: Vec<u8>,
    drops_loads: bool,
}

/// What became of a program in all engines.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ran {
    /// It came to its exit.
    Exited,
    /// It trapped.
    Trapped,
    /// An emulator of the processor did not make the load that traps, so that engines went on
    /// differently. The arena's machines are no longer alike.
    LoadDropped,
}

/// What a run gave: the result or the trap's instruction and kind, and the memory.
type Outcome = (Result<Finished, (usize, TrapKind)>, Vec<u8>);

/// Random slots that are a program: one that decodes, whose jumps and calls lead to instructions.
#[must_use]
pub fn program(random: &mut Random) -> Program {
    loop {
        let count = 2 + random.below(40);
        let slots: Vec<Slot> = (0..count).flat_map(|at| slots(random, at, count)).collect();
        let last = [Slot::new(0x95, 0, 0, 0, 0)];
        let code = slots.into_iter().chain(last).collect::<Vec<Slot>>();
        if let Ok(program) = Program::new(&Bytecode::from(code)) {
            return program;
        }
    }
}

/// Random bytes of an instruction, again and again until they decode. Registers are few, so that
/// values meet, and targets near, so that most lead into the program.
fn slots(random: &mut Random, at: usize, count: usize) -> Vec<Slot> {
    loop {
        let opcode = random.bits() as u8;
        let (mut dst, mut src) = (random.below(11) as u8, random.below(11) as u8);
        // Some accesses should lead to memory.
        let pointer = random.of(&[1, 10, 10, 1, dst, src]);
        match opcode & 7 {
            1 => src = pointer,
            2 | 3 => dst = pointer,
            // There are no maps to refer to; numbers and functions there are.
            0 if opcode == 0x18 => src = random.of(&[0, 0, 0, 4]),
            _ => {}
        }
        let is_jump = matches!(opcode & 7, 5 | 6);
        let distance = random.below(count) as i32 - at as i32;
        let offset = match random.below(4) {
            _ if is_jump => distance as i16,
            0 => random.bits() as i16,
            1 => 0,
            _ => (random.below(128) as i16 - 64) & !7,
        };
        let imm = match random.below(4) {
            _ if is_jump && opcode & 0xf0 == 0x80 => random.of(&[distance, 1, 5, 12, 7]),
            _ if opcode == 0x18 && src == 4 => distance,
            0 => 0,
            1 => random.below(256) as i32 - 64,
            2 => random.of(&[0x01, 0x41, 0x51, 0xa1, 0xe1, 0xf1, 0x100, 0x110, 16, 32, 64]),
            _ => random.imm(),
        };
        // Most calls and exits would end the run.
        if opcode == 0x95 && !random.one_in(4) {
            continue;
        }
        let first = Slot::new(opcode, dst, src, offset, imm);
        let second = Slot::new(0, 0, 0, 0, random.imm());
        match decode(&[first, second], SlotIndex(0)) {
            Ok(insn) if insn.written() == skep_bpf::insn::Reg::new(10) => {}
            // Where functions begin others end, and jumps between them are none.
            Ok(insn) if insn.function_target().is_some() && !random.one_in(12) => {}
            Ok(insn) if insn.len_slots() == 2 => return vec![first, second],
            Ok(_) => return vec![first],
            Err(_) => {}
        }
    }
}

impl Arena {
    /// A machine whose helpers always give the same.
    ///
    /// # Errors
    ///
    /// If the host does not give the memory.
    pub fn new() -> Result<Arena, String> {
        let canary = || vec![0xa5; CANARY_BYTES];
        let before = canary();
        let mut engines = Vec::new();
        for engine in ENGINES.into_iter().filter(|engine| engine.is_available()) {
            let host = Host {
                ktime_ns: Box::new(|| 1),
                boot_ns: Box::new(|| 2),
                tai_ns: Box::new(|| 3),
                random: Box::new(|| 4),
                printk: Box::new(|_| {}),
                cpus: 1,
                ..Host::default()
            };
            let machine = Arc::new(Machine::new(host).map_err(|error| error.to_string())?);
            let cpu = Cpu::new(&machine).map_err(|error| error.to_string())?;
            engines.push((engine, machine, cpu));
        }
        let (reduced, after) = (Passes::reduced(), canary());
        Ok(Arena { before, engines, reduced, programs: 0, after, drops_loads: false })
    }

    /// The same under an emulator of the processor that, as valgrind does, leaves out loads whose
    /// value nobody uses, and so their faults. Machine code that makes such a load traps there on
    /// every processor.
    ///
    /// # Errors
    ///
    /// As for [`Arena::new`].
    pub fn emulated() -> Result<Arena, String> {
        Ok(Arena { drops_loads: true, ..Arena::new()? })
    }

    /// Runs a program on every engine and compares.
    ///
    /// # Errors
    ///
    /// How the engines differ, or that memory outside changed.
    pub fn check(&mut self, program: &Program, random: &mut Random) -> Result<Ran, String> {
        let bytes: Vec<u8> = (0..MEMORY_BYTES).map(|_| random.bits() as u8).collect();
        let mut reference: Option<Outcome> = None;
        let mut dropped = false;
        let (passes, reduced) = &self.reduced[self.programs % self.reduced.len()];
        self.programs += 1;
        if let [.., (_, machine, _)] = &self.engines[..] {
            machine.set_passes(*reduced);
        }
        for (engine, machine, cpu) in &mut self.engines {
            let engine = *engine;
            let loaded = machine.load("hostile", ProgType::UNSPEC, program.clone(), &[]);
            let loaded = loaded.map_err(|error| error.to_string())?;
            let mut memory = RawMemory { bytes: bytes.clone() };
            let result =
                loaded.run(cpu, &mut memory, Options { engine, fuel: FUEL, ..Options::default() });
            let result = match result {
                Ok(finished) => Ok(finished),
                Err(RunError::Trap(trap)) => Err((trap.slot.0, trap.kind)),
                Err(other) => return Err(other.to_string()),
            };
            let outcome = (result, memory.bytes);
            match &reference {
                None => reference = Some(outcome),
                Some(expected) if *expected == outcome => {}
                Some((Err((_, TrapKind::Memory(fault))), _))
                    if self.drops_loads && fault.access == Access::Read =>
                {
                    dropped = true;
                }
                Some(expected) => {
                    let which = if machine.passes() == *reduced { passes } else { "" };
                    return Err(format!(
                        "{engine:?} {which}: {outcome:x?}\nexpected {expected:x?}"
                    ));
                }
            }
        }
        if [&self.before, &self.after].iter().any(|bytes| bytes.iter().any(|byte| *byte != 0xa5)) {
            return Err("memory outside the machine changed".to_owned());
        }
        Ok(match reference {
            _ if dropped => Ran::LoadDropped,
            Some((Ok(_), _)) => Ran::Exited,
            _ => Ran::Trapped,
        })
    }
}
