//! rbpf's interpreter, with its verifier and its memory checks, as it comes.

#![allow(unsafe_code, reason = "rbpf borrows memory for as long as the machine lives")]

use rbpf::EbpfVmRaw;
use skep_benches::{Outcome, Subject};

use crate::kernel::{HELPER, Kernel};

/// A kernel on rbpf.
pub(crate) struct Rbpf {
    machine: EbpfVmRaw<'static>,
    memory: *mut [u8],
}

impl Rbpf {
    pub(crate) fn new(kernel: &Kernel) -> Result<Rbpf, String> {
        let code: Vec<u8> = kernel.slots()?.into_iter().flat_map(|slot| slot.to_bytes()).collect();
        // Machines borrow their code; the benchmark ends soon enough.
        let machine = EbpfVmRaw::new(Some(code.leak()));
        let mut machine = machine.map_err(|error| error.to_string())?;
        let helper = |_, _, _, _, _| 0;
        machine.register_helper(HELPER, helper).map_err(|error| error.to_string())?;
        Ok(Rbpf { machine, memory: kernel.memory().leak() })
    }
}

impl Subject for Rbpf {
    fn run(&mut self) -> Result<Outcome, String> {
        // SAFETY: the memory was leaked, and no reference to it outlives a run.
        let memory = unsafe { &mut *self.memory };
        let r0 = self.machine.execute_program(memory).map_err(|error| error.to_string())?;
        Ok(Outcome { r0, insns: None })
    }

    fn memory(&self) -> Result<Vec<u8>, String> {
        // SAFETY: as in run.
        Ok(unsafe { &*self.memory }.to_vec())
    }
}
