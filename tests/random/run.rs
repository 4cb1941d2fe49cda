//! Running a random program: on the live kernel, and on every engine.

use std::sync::Arc;

use skep::context::RawMemory;
use skep::cpu::Cpu;
use skep::host::Host;
use skep::machine::{Loaded, Machine, MapId};
use skep::maps::MapSpec;
use skep::run::{Engine, Observer, Options};
use skep_bpf::codec::Slot;
use skep_bpf::platform::{MapFlags, MapType, ProgType};
use skep_bpf::program::{Bytecode, Program};
use skep_kernel::uapi::{map_type, prog_type, update_flag};
use skep_kernel::{Map, ProgSpec, TestRun, relocate};

use super::{RandomProgram, layout};
use crate::oracle::encode_all;

const KEY: [u8; 4] = [0; 4];
const FUEL: u64 = 10_000_000;

impl RandomProgram {
    /// The program's code.
    ///
    /// # Errors
    ///
    /// If a jump is too far for its field.
    pub fn slots(&self) -> Result<Vec<Slot>, String> {
        encode_all(&self.insns)
    }
}

/// The live kernel with the map that programs work on.
#[derive(Debug)]
pub struct Kernel {
    map: Map,
}

impl Kernel {
    /// Creates the map.
    ///
    /// # Errors
    ///
    /// The kernel's refusal.
    pub fn new() -> Result<Kernel, String> {
        let spec = skep_kernel::MapSpec {
            map_type: map_type::ARRAY,
            key_size: 4,
            value_size: layout::VALUE_BYTES as u32,
            max_entries: 1,
            ..skep_kernel::MapSpec::default()
        };
        let map = Map::create(&spec).map_err(|error| error.to_string())?;
        Ok(Kernel { map })
    }

    /// The map's value after a run; `None` if the verifier refuses the program.
    ///
    /// # Errors
    ///
    /// If the kernel fails in another way.
    pub fn run(&self, program: &RandomProgram) -> Result<Option<Vec<u8>>, String> {
        let mut insns: Vec<_> = program.slots()?.into_iter().map(Slot::to_bytes).collect();
        relocate(&mut insns, &[&self.map]).map_err(|error| error.to_string())?;
        let spec = ProgSpec {
            prog_type: prog_type::XDP,
            insns: &insns,
            licence: "Dual MIT/GPL",
            ..ProgSpec::default()
        };
        let Ok(loaded) = skep_kernel::Program::load(&spec) else { return Ok(None) };
        let ran = |error: skep_kernel::Error| error.to_string();
        self.map.update(&KEY, &program.value, update_flag::ANY).map_err(ran)?;
        let run = TestRun { data_in: &[0; 64], data_size_out: Some(0), ..TestRun::default() };
        loaded.test_run(&run).map_err(ran)?;
        self.map.lookup(&KEY).map_err(ran)
    }

    /// Why the verifier refuses a program.
    ///
    /// # Errors
    ///
    /// If it cannot be asked.
    pub fn refusal(&self, program: &RandomProgram) -> Result<String, String> {
        let mut insns: Vec<_> = program.slots()?.into_iter().map(Slot::to_bytes).collect();
        relocate(&mut insns, &[&self.map]).map_err(|error| error.to_string())?;
        let spec = ProgSpec {
            prog_type: prog_type::XDP,
            insns: &insns,
            licence: "Dual MIT/GPL",
            log_level: skep_kernel::uapi::log_level::REASON,
            ..ProgSpec::default()
        };
        let error = skep_kernel::Program::load(&spec).err();
        Ok(error.map(|error| error.to_string()).unwrap_or_default())
    }
}

/// A machine with the map that programs work on.
#[derive(Debug)]
pub struct Machines {
    machine: Arc<Machine>,
    cpu: Cpu,
    map: MapId,
}

impl Machines {
    /// Makes machine and map.
    ///
    /// # Errors
    ///
    /// If the host does not give the memory.
    pub fn new() -> Result<Machines, String> {
        let machine = Machine::new(Host::default()).map_err(|error| error.to_string())?;
        let spec = MapSpec {
            name: "value".into(),
            map_type: MapType::ARRAY,
            key_bytes: 4,
            value_bytes: layout::VALUE_BYTES as u32,
            max_entries: 1,
            flags: MapFlags::default(),
            extra: 0,
            inner: None,
        };
        let map = machine.create_map(spec).map_err(|error| error.to_string())?;
        let machine = Arc::new(machine);
        let cpu = Cpu::new(&machine).map_err(|error| error.to_string())?;
        Ok(Machines { machine, cpu, map })
    }

    /// The map's value after a run on an engine.
    ///
    /// # Errors
    ///
    /// If the program does not run to its end.
    pub fn run(&mut self, program: &RandomProgram, engine: Engine) -> Result<Vec<u8>, String> {
        let loaded = self.load(program)?;
        loaded
            .run(
                &mut self.cpu,
                &mut RawMemory::default(),
                Options { engine, fuel: FUEL, ..Options::default() },
            )
            .map_err(|error| error.to_string())?;
        let map = self.machine.map(self.map).ok_or("the map is gone")?;
        map.read(&KEY).map_err(|errno| errno.to_string())
    }

    /// Shows an observer a run.
    ///
    /// # Errors
    ///
    /// If the program does not run to its end.
    pub fn observe(
        &mut self,
        program: &RandomProgram,
        observer: &mut dyn Observer,
    ) -> Result<(), String> {
        let loaded = self.load(program)?;
        let options = Options { fuel: FUEL, ..Options::default() };
        let observed = loaded.observe(&mut self.cpu, &mut RawMemory::default(), options, observer);
        observed.map(drop).map_err(|error| error.to_string())
    }

    /// Loads a program and gives the map its first value.
    fn load(&self, program: &RandomProgram) -> Result<Loaded, String> {
        let code = Program::new(&Bytecode::from(program.slots()?));
        let code = code.map_err(|error| format!("no program: {error}"))?;
        let loaded = self.machine.load("random", ProgType::UNSPEC, code, &[self.map]);
        let map = self.machine.map(self.map).ok_or("the map is gone")?;
        map.write(&KEY, &program.value, 0).map_err(|errno| errno.to_string())?;
        loaded.map_err(|error| error.to_string())
    }
}
