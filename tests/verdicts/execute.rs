//! Running what was accepted in the checked interpreter: it must never trap.

use super::{Case, Input, maps, prog_types};
use crate::membership::{Proof, Watch};
use crate::random::Random;
use skep::context::Context;
use skep::cpu::Cpu;
use skep::host::Host;
use skep::machine::{Loaded, Machine, MapId};
use skep::run::{Engine, Finished, Options, RunError};
use skep::trap::TrapKind;
use skep_bpf::insn::{Imm64, Insn};
use skep_bpf::platform::ProgType;
use skep_bpf::program::{Bytecode, Program};
use std::sync::Arc;

/// Far more than verified programs of this kind need.
const FUEL: u64 = 50_000_000;

/// What became of a run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Ran {
    /// It came to its end.
    Finished,
    /// The machine does not have what it needs.
    Unsupported(String),
    /// It trapped, which no accepted program may.
    Trapped(String),
}

/// A machine with the maps.
#[derive(Debug)]
pub struct Runner {
    /// One for each program type, to which its map of programs belongs.
    machines: Vec<(ProgType, Bench)>,
}

#[derive(Debug)]
struct Bench {
    machine: Arc<Machine>,
    cpu: Cpu,
    maps: Vec<Option<MapId>>,
}

impl Runner {
    /// Makes machine and maps.
    ///
    /// # Errors
    ///
    /// If the host does not give the memory.
    pub fn new() -> Result<Runner, String> {
        let machines = prog_types().into_iter().map(|of| Ok((of, Bench::new()?)));
        Ok(Runner { machines: machines.collect::<Result<_, String>>()? })
    }

    /// Runs a case several times with random inputs and map contents.
    ///
    /// # Errors
    ///
    /// If the machine fails in another way than by a trap.
    pub fn run(&mut self, case: &Case, random: &mut Random, times: usize) -> Result<Ran, String> {
        let run = |loaded: &Loaded, cpu: &mut Cpu, context: &mut dyn Context, options| {
            loaded.run(cpu, context, options)
        };
        self.bench(case)?.run(case, random, times, run)
    }

    /// The same, each run watched. Gives how many instructions had registers that the proof knows,
    /// and the first that had not.
    ///
    /// # Errors
    ///
    /// If the machine fails in another way than by a trap.
    pub fn watch(
        &mut self,
        case: &Case,
        random: &mut Random,
        times: usize,
        proof: &Proof,
    ) -> Result<(Ran, u64, Option<String>), String> {
        let (mut found, mut violation) = (0, None);
        let run = |loaded: &Loaded, cpu: &mut Cpu, context: &mut dyn Context, options| {
            let mut watch = Watch::new(proof);
            let result = loaded.observe(cpu, context, options, &mut watch);
            found += watch.found;
            violation = violation.take().or(watch.violation);
            result
        };
        let ran = self.bench(case)?.run(case, random, times, run)?;
        Ok((ran, found, violation))
    }

    fn bench(&mut self, case: &Case) -> Result<&mut Bench, String> {
        let machine = self.machines.iter_mut().find(|entry| entry.0 == case.prog_type);
        Ok(&mut machine.ok_or("no machine for this program type")?.1)
    }
}

impl Bench {
    fn new() -> Result<Bench, String> {
        let machine = Machine::new(Host::default()).map_err(|error| error.to_string())?;
        let maps = maps::in_machine(&machine)?;
        let machine = Arc::new(machine);
        let cpu = Cpu::new(&machine).map_err(|error| error.to_string())?;
        Ok(Bench { machine, cpu, maps })
    }

    fn run(
        &mut self,
        case: &Case,
        random: &mut Random,
        times: usize,
        mut run: impl FnMut(&Loaded, &mut Cpu, &mut dyn Context, Options) -> Result<Finished, RunError>,
    ) -> Result<Ran, String> {
        let program = match Program::new(&Bytecode::from(case.slots.clone())) {
            Ok(program) => program,
            // What is never reached may be anything for the verifier, but not for the machine.
            Err(error) => return Ok(Ran::Unsupported(error.to_string())),
        };
        let Some((program, maps)) = self.with_own_maps(&program) else {
            return Ok(Ran::Unsupported("a map".to_owned()));
        };
        let loaded = match self.machine.load("random", case.prog_type, program, &maps) {
            Ok(loaded) => loaded,
            Err(error) => return Ok(Ran::Unsupported(error.to_string())),
        };
        for _ in 0..times {
            maps::fill(&self.machine, &self.maps, random)?;
            let mut input = Input::random(case.prog_type, random);
            let options = Options { engine: Engine::Checked, fuel: FUEL, ..Options::default() };
            match run(&loaded, &mut self.cpu, input.context(), options) {
                Ok(_) => {}
                Err(RunError::Trap(trap)) => match trap.kind {
                    TrapKind::NoSuchHelper(_)
                    | TrapKind::HelperContext { .. }
                    | TrapKind::Unsupported { .. }
                    | TrapKind::NoSocketBuffer => {
                        return Ok(Ran::Unsupported(trap.kind.to_string()));
                    }
                    _ => return Ok(Ran::Trapped(trap.to_string())),
                },
                Err(error) => return Err(error.to_string()),
            }
        }
        Ok(Ran::Finished)
    }

    /// The program with its maps by their place among those of the machine; `None` if it uses one
    /// that the machine does not have.
    fn with_own_maps(&self, program: &Program) -> Option<(Program, Vec<MapId>)> {
        let mut uses = [false; maps::MAPS.len()];
        for insn in program.insns() {
            if let Insn::LoadImm64 { imm, .. } = insn
                && let Imm64::MapByIdx(index) | Imm64::MapValueByIdx { index, .. } = imm
            {
                *uses.get_mut(*index as usize)? = true;
            }
        }
        let stand_in = self.maps.first().copied().flatten()?;
        let all_there = uses.iter().zip(&self.maps).all(|(used, map)| !used || map.is_some());
        let maps = self.maps.iter().map(|map| map.unwrap_or(stand_in)).collect();
        all_there.then(|| (program.clone(), maps))
    }
}
