//! Many runs of one program: what does not change between them is made ready once.
//!
//! A [`Runner`] takes guest addresses and numbers as they are and copies nothing in or out, so
//! that a run of machine code costs little more than a call. What a program is to work on is
//! allocated in guest memory ([`Memory::alloc`](crate::region::Memory::alloc)) and written there
//! by the caller.

use std::sync::Arc;

use skep_bpf::program::Pc;

use crate::cpu::{Cpu, CpuState, FRAME_BYTES, MAX_FRAMES};
use crate::epoch::Place;
use crate::machine::Loaded;
use crate::run::{Engine, Options, RunError, Start};
use crate::trap::Trap;
use crate::{checked, fast, native};

/// A program on a processor, ready to run many times.
pub struct Runner<'a> {
    loaded: &'a Loaded,
    place: Place<'a>,
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
        let options = Options { engine: self.engine_now(options), ..options };
        let with = match options.engine.tier() {
            None => With::Interpreter { cpu: &mut cpu.state, options, insns: None },
            Some(tier) => {
                let machine = self.machine();
                let cpu = &mut cpu.state;
                let runner =
                    native::Runner::new(self.linked(), machine, cpu, tier, options.budget())
                        .map_err(|why| RunError::Compile { program: program(), why })?;
                let reads = runner.reads_stack().unwrap_or(FRAME_BYTES * MAX_FRAMES as u32);
                With::Native(runner, reads)
            }
        };
        Ok(Runner { loaded: self, place: self.machine().epochs().place(index), with })
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
        self.place.enter();
        // Says that the run is over, however it ends.
        let under_way = UnderWay(self.place);
        let result = match &mut self.with {
            With::Native(runner, 0) => runner.run(args),
            _ => self.run_slowly(args),
        };
        drop(under_way);
        result
    }

    /// A run for which the stack is cleared first.
    #[inline(never)]
    fn run_slowly(&mut self, args: [u64; 2]) -> Result<u64, Box<Trap>> {
        match &mut self.with {
            With::Native(runner, reads) => {
                clear_stack(self.loaded, runner.cpu(), *reads)?;
                runner.run(args)
            }
            With::Interpreter { cpu, options, insns } => {
                clear_stack(self.loaded, cpu, FRAME_BYTES * MAX_FRAMES as u32)?;
                let (linked, machine) = (self.loaded.linked(), self.loaded.machine());
                let start = Start { args, budget: options.budget() };
                let finished = match options.engine {
                    Engine::Checked => checked::run(linked, machine, cpu, start, None)?,
                    _ => fast::run(linked, machine, cpu, start)?,
                };
                *insns = finished.insns;
                Ok(finished.r0)
            }
        }
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

struct UnderWay<'a>(Place<'a>);

impl Drop for UnderWay<'_> {
    #[inline]
    fn drop(&mut self) {
        self.0.leave();
    }
}

/// Clears the upper end of the stack. It fails only if an embedder has freed it.
fn clear_stack(loaded: &Loaded, cpu: &mut CpuState, bytes: u32) -> Result<(), Box<Trap>> {
    let cleared = cpu.begin(loaded.machine().memory().window(), bytes);
    cleared.map_err(|fault| loaded.linked().trap(Pc::START, fault.into()))
}

impl std::fmt::Debug for Runner<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Runner").field("program", &self.loaded.linked().name()).finish()
    }
}
