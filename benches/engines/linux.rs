//! The live kernel's compiler, through `BPF_PROG_TEST_RUN`, which repeats a run as often as asked
//! within one system call.
//!
//! A kernel's memory is the value of an array map. The code is preceded by one instruction that
//! loads its address; what the verifier then says of the accesses is its own affair: it refuses a
//! program whose indices it cannot follow.

use skep_cli::measure::{Outcome, Subject};
use skep_kernel::{Map, MapSpec, ProgSpec, Program, TestRun, available, relocate, uapi};

use crate::kernel::{Kernel, MEMORY_BYTES};

/// A kernel loaded into Linux.
pub(crate) struct Linux {
    program: Program,
    memory: Map,
}

/// `r1` = the address of the value of the map with index 0 (RFC 9669, section 5.4).
const LOAD_ADDRESS: [[u8; 8]; 2] = [[0x18, 0x61, 0, 0, 0, 0, 0, 0], [0; 8]];

/// The key of the only value.
const KEY: [u8; 4] = [0; 4];

impl Linux {
    pub(crate) fn new(kernel: &Kernel) -> Result<Linux, String> {
        available().map_err(|reason| reason.to_string())?;
        let memory = Map::create(&MapSpec {
            map_type: uapi::map_type::ARRAY,
            key_size: 4,
            value_size: MEMORY_BYTES as u32,
            max_entries: 1,
            ..MapSpec::default()
        });
        let memory = memory.map_err(|error| error.to_string())?;
        memory
            .update(&KEY, &kernel.memory(), uapi::update_flag::ANY)
            .map_err(|error| error.to_string())?;
        let mut insns = LOAD_ADDRESS.to_vec();
        insns.extend(kernel.slots()?.into_iter().map(|slot| slot.to_bytes()));
        relocate(&mut insns, &[&memory]).map_err(|error| error.to_string())?;
        let program = Program::load(&ProgSpec {
            prog_type: uapi::prog_type::SCHED_CLS,
            insns: &insns,
            licence: "GPL",
            name: kernel.name,
            log_level: uapi::log_level::STATS,
            ..ProgSpec::default()
        });
        let program = program.map_err(|error| {
            let reason = error.reason().unwrap_or("no reason given").to_owned();
            format!("{error}: {reason}")
        })?;
        Ok(Linux { program, memory })
    }
}

impl Subject for Linux {
    fn run(&mut self) -> Result<Outcome, String> {
        self.repeat(1)
    }

    fn repeat(&mut self, runs: u64) -> Result<Outcome, String> {
        let repeat = u32::try_from(runs).map_err(|_| "too many runs for one call".to_owned())?;
        let run = TestRun { data_in: &[0; 64], repeat, ..TestRun::default() };
        let result = self.program.test_run(&run).map_err(|error| error.to_string())?;
        Ok(Outcome { r0: result.retval.into(), insns: None })
    }

    fn memory(&self) -> Result<Vec<u8>, String> {
        let value = self.memory.lookup(&KEY).map_err(|error| error.to_string())?;
        value.ok_or_else(|| "the map has no value".to_owned())
    }
}
