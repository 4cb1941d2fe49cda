//! Skep's own engines.

use std::sync::Arc;

use skep::context::{Context, ContextError, RawMemory};
use skep::cpu::{Cpu, CpuState};
use skep::helpers::Implementation;
use skep::host::Host;
use skep::machine::{Loaded, Machine};
use skep::memory::Perm;
use skep::region::Purpose;
use skep::run::{Engine, Options};
use skep_benches::{Outcome, Subject};
use skep_bpf::platform::{HelperId, ProgType};
use skep_bpf::program::{Bytecode, Program};

use crate::kernel::{HELPER, Kernel};

/// A kernel on one of our engines.
pub(crate) struct Ours {
    loaded: Loaded,
    cpu: Cpu,
    memory: Memory,
    options: Options,
}

/// A kernel's memory.
enum Memory {
    /// Stays in the guest between runs, as that of the peers stays where it is: its address and
    /// length.
    Resident(u32, u32),
    /// Copied in and out: the checked interpreter knows only inputs as objects, and takes so long
    /// that the copies do not matter.
    Copied(RawMemory),
}

impl Context for Memory {
    fn suits(&self, prog_type: ProgType) -> bool {
        prog_type == ProgType::UNSPEC
    }

    fn enter(&mut self, machine: &Machine, cpu: &mut CpuState) -> Result<[u64; 2], ContextError> {
        match self {
            Memory::Resident(start, len) => Ok([(*start).into(), (*len).into()]),
            Memory::Copied(memory) => memory.enter(machine, cpu),
        }
    }

    fn leave(&mut self, machine: &Machine, cpu: &mut CpuState) -> Result<(), ContextError> {
        match self {
            Memory::Resident(..) => Ok(()),
            Memory::Copied(memory) => memory.leave(machine, cpu),
        }
    }
}

impl Ours {
    pub(crate) fn new(kernel: &Kernel, engine: Engine) -> Result<Ours, String> {
        Ours::load(kernel, engine).map_err(|error| error.to_string())
    }

    fn load(kernel: &Kernel, engine: Engine) -> Result<Ours, Box<dyn std::error::Error>> {
        let zero = Implementation::Own(Box::new(|_| Ok(0)));
        let machine =
            Arc::new(Machine::with_helpers(Host::default(), vec![(HelperId(HELPER), zero)])?);
        let program = Program::new(&Bytecode::from(kernel.slots()?))?;
        let loaded = machine.load(kernel.name, ProgType::UNSPEC, program, &[])?;
        let bytes = kernel.memory();
        let memory = match engine {
            Engine::Checked => Memory::Copied(RawMemory { bytes }),
            Engine::Fast | Engine::Template => {
                let len = u32::try_from(bytes.len())?;
                let start = machine.memory().alloc(len, Perm::ReadWrite, Purpose::Memory)?;
                machine.memory().window().write(start, &bytes)?;
                Memory::Resident(start, len)
            }
        };
        let cpu = Cpu::new(&machine)?;
        let options = Options { engine, ..Options::default() };
        Ok(Ours { loaded, cpu, memory, options })
    }
}

impl Subject for Ours {
    fn run(&mut self) -> Result<Outcome, String> {
        match self.loaded.run(&mut self.cpu, &mut self.memory, self.options) {
            Ok(finished) => Ok(Outcome { r0: finished.r0, insns: finished.insns }),
            Err(error) => Err(error.to_string()),
        }
    }

    fn memory(&self) -> Result<Vec<u8>, String> {
        let (start, len) = match &self.memory {
            Memory::Resident(start, len) => (*start, *len),
            Memory::Copied(memory) => return Ok(memory.bytes.clone()),
        };
        let mut bytes = vec![0; len as usize];
        let window = self.loaded.machine().memory().window();
        window.read(start, &mut bytes).map_err(|fault| fault.to_string())?;
        Ok(bytes)
    }
}
