//! Many runs of one program: what does not change between them is made ready once.
//!
//! A [`Runner`] takes guest addresses and numbers as they are and copies nothing in or out, so
//! that a run of machine code costs little more than a call. What a program is to work on is
//! allocated in guest memory ([`Memory::alloc`](crate::region::Memory::alloc)) and written there
//! by the caller.

use std::sync::Arc;

use crate::cpu::{Cpu, CpuState, FRAME_BYTES, MAX_FRAMES};
use crate::epoch::Epochs;
use crate::machine::Loaded;
use crate::memory::Fault;
use crate::run::{Engine, Options, RunError, Start};
use crate::trap::Trap;
use crate::{checked, fast, native};

/// A program on a processor, ready to run many times.
pub struct Runner<'a> {
    loaded: &'a Loaded,
    epochs: &'a Epochs,
    cpu: u32,
    with: With<'a>,
}

/// What executes the program.
enum With<'a> {
    /// Machine code, and how many bytes of the stack must be zero before a run.
    Native(native::Runner<'a>, u32),
    /// An interpreter.
    Interpreter { cpu: &'a mut CpuState, options: Options, insns: Option<u64> },
}

impl Loaded {
    /// Makes everything ready for many runs on a processor.
    ///
    /// # Errors
    ///
    /// If the processor belongs to another machine, or there is no machine code for an engine
    /// that needs it.
    pub fn runner<'a>(
        &'a self,
        cpu: &'a mut Cpu,
        options: Options,
    ) -> Result<Runner<'a>, RunError> {
        let program = || self.linked().name().to_owned();
        if !Arc::ptr_eq(self.machine(), cpu.machine()) {
            return Err(RunError::OtherMachine { program: program() });
        }
        let index = cpu.index();
        let with = match options.engine.tier() {
            None => With::Interpreter { cpu: &mut cpu.state, options, insns: None },
            Some(tier) => {
                let machine = self.machine();
                let cpu = &mut cpu.state;
                let runner = native::Runner::new(self.linked(), machine, cpu, tier, options.fuel)
                    .map_err(|why| RunError::Compile { program: program(), why })?;
                let reads = runner.reads_stack().unwrap_or(FRAME_BYTES * MAX_FRAMES as u32);
                With::Native(runner, reads)
            }
        };
        Ok(Runner { loaded: self, epochs: self.machine().epochs(), cpu: index, with })
    }
}

impl Runner<'_> {
    /// Runs the program with values of `r1` and `r2` and gives the value of `r0` at its exit.
    /// Bytes of the stack that the program can read through `r10` before it writes them are zero.
    ///
    /// # Errors
    ///
    /// If the run stops before its exit.
    #[inline]
    pub fn run(&mut self, args: [u64; 2]) -> Result<u64, Box<Trap>> {
        self.epochs.enter(self.cpu);
        let under_way = UnderWay { epochs: self.epochs, cpu: self.cpu };
        let result = match &mut self.with {
            With::Native(runner, reads) => {
                if *reads != 0 {
                    clear_stack(self.loaded, runner.cpu(), *reads)
                        .map_err(|fault| at_start(self.loaded, fault))?;
                }
                runner.cpu().tail_calls = 0;
                runner.run(args)
            }
            With::Interpreter { cpu, options, insns } => {
                clear_stack(self.loaded, cpu, FRAME_BYTES * MAX_FRAMES as u32)
                    .map_err(|fault| at_start(self.loaded, fault))?;
                cpu.tail_calls = 0;
                let (linked, machine) = (self.loaded.linked(), self.loaded.machine());
                let start = Start { args, fuel: options.fuel };
                let result = match options.engine {
                    Engine::Checked => checked::run(linked, machine, cpu, start, None),
                    _ => fast::run(linked, machine, cpu, start),
                };
                result.map(|finished| {
                    *insns = finished.insns;
                    finished.r0
                })
            }
        };
        drop(under_way);
        result
    }

    /// How many instructions the last run took, which came to its exit, if they were counted.
    #[must_use]
    pub fn insns(&self) -> Option<u64> {
        match &self.with {
            With::Native(runner, _) => runner.insns(),
            With::Interpreter { insns, .. } => *insns,
        }
    }
}

/// Says that the run is over, however it ends.
struct UnderWay<'a> {
    epochs: &'a Epochs,
    cpu: u32,
}

impl Drop for UnderWay<'_> {
    #[inline]
    fn drop(&mut self) {
        self.epochs.leave(self.cpu);
    }
}

fn clear_stack(loaded: &Loaded, cpu: &CpuState, bytes: u32) -> Result<(), Fault> {
    loaded.machine().memory().window().fill(cpu.frame_top() - bytes, bytes, 0)
}

/// The stack is gone, which an embedder can bring about by freeing it.
#[cold]
fn at_start(loaded: &Loaded, fault: Fault) -> Box<Trap> {
    loaded.linked().trap(skep_bpf::program::Pc::START, fault.into())
}

impl std::fmt::Debug for Runner<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Runner").field("program", &self.loaded.linked().name()).finish()
    }
}
