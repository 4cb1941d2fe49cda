//! Skep's own engines.

use std::sync::Arc;

use skep::context::{Context, ContextError, RawMemory};
use skep::cpu::{Cpu, CpuState};
use skep::helpers::Implementation;
use skep::host::Host;
use skep::machine::{Loaded, Machine, MapId};
use skep::maps::MapSpec;
use skep::memory::Perm;
use skep::region::Purpose;
use skep::run::{Engine, Options};
use skep_benches::{Outcome, Subject};
use skep_bpf::codec::Slot;
use skep_bpf::platform::{AttachType, HelperId, MapFlags, MapType, ProgType};
use skep_bpf::program::{Bytecode, Program};
use skep_verifier::{Input, MapFacts, Profile};

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
    /// The value of a map, whose address is in the code.
    Map(MapId),
    /// Copied in and out: the checked interpreter knows only inputs as objects, and takes so long
    /// that the copies do not matter.
    Copied(RawMemory),
}

impl Context for Memory {
    fn suits(&self, prog_type: ProgType) -> bool {
        matches!(prog_type, ProgType::UNSPEC | ProgType::SCHED_CLS)
    }

    fn enter(&mut self, machine: &Machine, cpu: &mut CpuState) -> Result<[u64; 2], ContextError> {
        match self {
            Memory::Resident(start, len) => Ok([(*start).into(), (*len).into()]),
            Memory::Map(_) => Ok([0; 2]),
            Memory::Copied(memory) => memory.enter(machine, cpu),
        }
    }

    fn leave(&mut self, machine: &Machine, cpu: &mut CpuState) -> Result<(), ContextError> {
        match self {
            Memory::Resident(..) | Memory::Map(_) => Ok(()),
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
            Engine::Fast | Engine::Template | Engine::Optimising => {
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

    /// A kernel with a proof, as Linux runs it: its memory is the value of an array map, whose
    /// address the code loads first.
    pub(crate) fn proved(kernel: &Kernel, engine: Engine) -> Result<Ours, String> {
        Ours::load_proved(kernel, engine).map_err(|error| error.to_string())
    }

    fn load_proved(kernel: &Kernel, engine: Engine) -> Result<Ours, Box<dyn std::error::Error>> {
        let machine = Arc::new(Machine::new(Host::default())?);
        let len = u32::try_from(crate::kernel::MEMORY_BYTES)?;
        let id = machine.create_map(MapSpec {
            name: "memory".into(),
            map_type: MapType::ARRAY,
            key_bytes: 4,
            value_bytes: len,
            max_entries: 1,
            flags: MapFlags::default(),
            inner: None,
        })?;
        let mut slots: Vec<Slot> = Slot::from_code(crate::linux::LOAD_ADDRESS.as_flattened())
            .ok_or("an instruction is a number of slots")?;
        slots.extend(kernel.slots()?);
        let verified = skep_verifier::verify(&Input {
            bytecode: &Bytecode::from(slots),
            prog_type: ProgType::SCHED_CLS,
            attach_type: AttachType::UNSPECIFIED,
            maps: &[MapFacts::new(MapType::ARRAY, 4, len, 1)],
            functions: &[],
            gpl_compatible: true,
            sleepable: false,
            profile: Profile::linux(machine.host().cpus),
        });
        let verified = verified.map_err(|rejection| rejection.to_string())?;
        let loaded = machine.load_verified(kernel.name, Arc::new(verified), &[id])?;
        let map = machine.map(id).ok_or("the map was just made")?;
        map.write(&[0; 4], &kernel.memory(), 0).map_err(|errno| errno.to_string())?;
        let cpu = Cpu::new(&machine)?;
        let options = Options { engine, ..Options::default() };
        let memory = Memory::Map(id);
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
            Memory::Map(id) => {
                let map = self.loaded.machine().map(*id).ok_or("the map is gone")?;
                return map.read(&[0; 4]).map_err(|errno| errno.to_string());
            }
        };
        let mut bytes = vec![0; len as usize];
        let window = self.loaded.machine().memory().window();
        window.read(start, &mut bytes).map_err(|fault| fault.to_string())?;
        Ok(bytes)
    }
}
