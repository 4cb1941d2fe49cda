//! rbpf's interpreter, with its verifier and its memory checks, and its compiler, whose code checks
//! nothing.

#![allow(unsafe_code, reason = "rbpf borrows memory for as long as the machine lives")]

use rbpf::lib::Error;
use rbpf::{EbpfVmMbuff, EbpfVmRaw};
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};
use skep_cli::measure::{Outcome, Subject};

use crate::kernel::{HELPER, Kernel};

/// A kernel on rbpf.
pub(crate) struct Rbpf {
    machine: Machine,
    memory: *mut [u8],
}

enum Machine {
    Interpreter(EbpfVmRaw<'static>),
    Compiler(EbpfVmMbuff<'static>),
}

/// What each compiled kernel may fill.
const CODE_BYTES: usize = 1 << 16;

fn zero(_: u64, _: u64, _: u64, _: u64, _: u64) -> u64 {
    0
}

impl Rbpf {
    pub(crate) fn new(kernel: &Kernel, compiled: bool) -> Result<Rbpf, String> {
        let code: Vec<u8> = kernel.slots()?.into_iter().flat_map(|slot| slot.to_bytes()).collect();
        // Machines borrow their code; the benchmark ends soon enough.
        let code = code.leak();
        let machine = if compiled {
            compiler(code, executable()?).map(Machine::Compiler)
        } else {
            interpreter(code).map(Machine::Interpreter)
        };
        let machine = machine.map_err(|error| format!("{error:?}"))?;
        Ok(Rbpf { machine, memory: kernel.memory().leak() })
    }
}

fn interpreter(code: &'static [u8]) -> Result<EbpfVmRaw<'static>, Error> {
    let mut machine = EbpfVmRaw::new(Some(code))?;
    machine.register_helper(HELPER, zero)?;
    Ok(machine)
}

fn compiler(
    code: &'static [u8],
    executable: &'static mut [u8],
) -> Result<EbpfVmMbuff<'static>, Error> {
    let mut machine = EbpfVmMbuff::new(Some(code))?;
    machine.register_helper(HELPER, zero)?;
    machine.set_jit_exec_memory(executable)?;
    machine.jit_compile()?;
    Ok(machine)
}

/// Memory for machine code, never given back.
fn executable() -> Result<&'static mut [u8], String> {
    let all = ProtFlags::READ | ProtFlags::WRITE | ProtFlags::EXEC;
    // SAFETY: a new mapping wherever there is room.
    let start = unsafe { mmap_anonymous(std::ptr::null_mut(), CODE_BYTES, all, MapFlags::PRIVATE) };
    let start = start.map_err(|error| format!("no memory for code: {error}"))?;
    // SAFETY: the mapping has this size, is initialised, and nothing else knows of it.
    Ok(unsafe { std::slice::from_raw_parts_mut(start.cast(), CODE_BYTES) })
}

impl Subject for Rbpf {
    fn run(&mut self) -> Result<Outcome, String> {
        // SAFETY: the memory was leaked, and no reference to it outlives a run.
        let memory = unsafe { &mut *self.memory };
        let r0 = match &self.machine {
            Machine::Interpreter(machine) => machine.execute_program(memory),
            // SAFETY: kernels stay within their memory, as the interpreter's checks show.
            Machine::Compiler(machine) => unsafe { machine.execute_program_jit(&mut [], memory) },
        };
        Ok(Outcome { r0: r0.map_err(|error| format!("{error:?}"))?, insns: None })
    }

    fn memory(&self) -> Result<Vec<u8>, String> {
        // SAFETY: as in run.
        Ok(unsafe { &*self.memory }.to_vec())
    }
}
