//! Skep's own engines.

#![allow(unsafe_code, reason = "code without containment, to measure what that costs")]

use std::error::Error;
use std::sync::Arc;

use skep::context::RawMemory;
use skep::cpu::Cpu;
use skep::helpers::Implementation;
use skep::host::Host;
use skep::machine::{Loaded, Machine, MapId};
use skep::maps::MapSpec;
use skep::memory::Perm;
use skep::region::Purpose;
use skep::run::{Engine, Options};
use skep::runner::Runner;
use skep_bpf::codec::Slot;
use skep_bpf::platform::{HelperId, MapFlags, MapType, ProgType};
use skep_bpf::program::{Bytecode, Program};
use skep_cli::measure::{Outcome, Subject};
use skep_verifier::{Input, MapFacts, Profile, verify};

use crate::kernel::{HELPER, Kernel, MEMORY_BYTES};

/// A kernel on one of our engines.
pub(crate) struct Ours {
    loaded: &'static Loaded,
    memory: Memory,
    options: Options,
}

/// A kernel's memory.
enum Memory {
    /// Stays in the guest between runs, as that of the peers stays where it is: its address and
    /// length.
    Resident(Runner<'static>, u32, u32),
    /// The only value of a map, as in the live kernel.
    Map(Runner<'static>, MapId),
    /// Copied in and out: the checked interpreter knows only inputs as objects, and takes so long
    /// that the copies do not matter.
    Copied(Cpu, RawMemory),
}

/// The helper that kernels call: machine code of ours calls it as native code would.
extern "C" fn zero(_: u64, _: u64, _: u64, _: u64, _: u64) -> u64 {
    0
}

fn machine() -> Result<Arc<Machine>, Box<dyn Error>> {
    let own = vec![(HelperId(HELPER), Implementation::Plain(zero))];
    Ok(Arc::new(Machine::with_helpers(Host::default(), own)?))
}

/// `r1` = the address of the value of the map with index 0 (RFC 9669, section 5.4).
const LOAD_ADDRESS: [Slot; 2] = [Slot::new(0x18, 1, 6, 0, 0), Slot::new(0, 0, 0, 0, 0)];

/// The key of the only value.
const KEY: [u8; 4] = [0; 4];

impl Ours {
    pub(crate) fn new(kernel: &Kernel, engine: Engine) -> Result<Ours, String> {
        Ours::load(kernel, engine).map_err(|error| error.to_string())
    }

    /// The kernel with a proof: its memory is the value of a map, as in the live kernel, and the
    /// same instruction before it loads the address.
    pub(crate) fn proved(kernel: &Kernel, engine: Engine) -> Result<Ours, String> {
        Ours::load_proved(kernel, engine, machine()).map_err(|error| error.to_string())
    }

    /// As [`Ours::proved`], with machine code that does not confine addresses itself.
    pub(crate) fn uncontained(kernel: &Kernel, engine: Engine) -> Result<Ours, String> {
        let machine = machine().inspect(|machine| {
            // SAFETY: the machine is for this kernel alone, which reads and writes its memory, as
            // the results say that are compared.
            unsafe { machine.leave_uncontained() };
        });
        Ours::load_proved(kernel, engine, machine).map_err(|error| error.to_string())
    }

    fn load(kernel: &Kernel, engine: Engine) -> Result<Ours, Box<dyn Error>> {
        let machine = machine()?;
        let program = Program::new(&Bytecode::from(kernel.slots()?))?;
        let loaded = machine.load(kernel.name, ProgType::UNSPEC, program, &[])?;
        // A subject lasts as long as the process, and what a runner borrows as long as it.
        let loaded: &'static Loaded = Box::leak(Box::new(loaded));
        let bytes = kernel.memory();
        let cpu = Cpu::new(&machine)?;
        let options = Options { engine, ..Options::default() };
        let memory = match engine {
            Engine::Checked => Memory::Copied(cpu, RawMemory { bytes }),
            Engine::Fast | Engine::Template | Engine::Optimising | Engine::Auto => {
                let len = u32::try_from(bytes.len())?;
                let start = machine.memory().alloc(len, Perm::ReadWrite, Purpose::Memory)?;
                machine.memory().window().write(start, &bytes)?;
                let runner = loaded.runner(Box::leak(Box::new(cpu)), options)?;
                Memory::Resident(runner, start, len)
            }
        };
        Ok(Ours { loaded, memory, options })
    }

    fn load_proved(
        kernel: &Kernel,
        engine: Engine,
        machine: Result<Arc<Machine>, Box<dyn Error>>,
    ) -> Result<Ours, Box<dyn Error>> {
        let machine = machine?;
        let value_bytes = u32::try_from(MEMORY_BYTES)?;
        let map = machine.create_map(MapSpec {
            name: "memory".into(),
            map_type: MapType::ARRAY,
            key_bytes: 4,
            value_bytes,
            max_entries: 1,
            flags: MapFlags::default(),
            inner: None,
            extra: 0,
        })?;
        let value = machine.map(map).ok_or("the map is gone")?;
        value.write(&KEY, &kernel.memory(), 0).map_err(|errno| errno.to_string())?;
        let slots = LOAD_ADDRESS.into_iter().chain(kernel.slots()?).collect::<Vec<Slot>>();
        let bytecode = Bytecode::from(slots);
        let facts = [MapFacts::new(MapType::ARRAY, 4, value_bytes, 1)];
        let verified = verify(&Input {
            maps: &facts,
            ..Input::new(&bytecode, ProgType::SCHED_CLS, Profile::linux(machine.host().cpus))
        });
        let verified = verified.map_err(|rejection| rejection.message.clone())?;
        let loaded = machine.load_verified(kernel.name, Arc::new(verified), &[map])?;
        let loaded: &'static Loaded = Box::leak(Box::new(loaded));
        let options = Options { engine, ..Options::default() };
        let runner = loaded.runner(Box::leak(Box::new(Cpu::new(&machine)?)), options)?;
        Ok(Ours { loaded, memory: Memory::Map(runner, map), options })
    }
}

impl Subject for Ours {
    fn run(&mut self) -> Result<Outcome, String> {
        let (runner, args) = match &mut self.memory {
            Memory::Resident(runner, start, len) => (runner, [(*start).into(), (*len).into()]),
            Memory::Map(runner, _) => (runner, [0; 2]),
            Memory::Copied(cpu, memory) => {
                let result = self.loaded.run(cpu, memory, self.options);
                let finished = result.map_err(|error| error.to_string())?;
                return Ok(Outcome { r0: finished.r0, insns: finished.insns });
            }
        };
        let r0 = runner.run(args).map_err(|trap| trap.to_string())?;
        Ok(Outcome { r0, insns: runner.insns() })
    }

    fn memory(&self) -> Result<Vec<u8>, String> {
        let machine = self.loaded.machine();
        match &self.memory {
            Memory::Resident(_, start, len) => {
                let mut bytes = vec![0; *len as usize];
                let window = machine.memory().window();
                window.read(*start, &mut bytes).map_err(|fault| fault.to_string())?;
                Ok(bytes)
            }
            Memory::Map(_, map) => {
                let map = machine.map(*map).ok_or("the map is gone")?;
                map.read(&KEY).map_err(|errno| errno.to_string())
            }
            Memory::Copied(_, memory) => Ok(memory.bytes.clone()),
        }
    }
}
