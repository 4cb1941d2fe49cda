//! In place of machine code, where there is no compiler for the computer: an error that says so.

use std::sync::Arc;

use skep_jit::code::Code;
use skep_jit::ssa::{Passes, ir::Func};
use skep_jit::{CompileOptions, Target, Tier};

use crate::cpu::CpuState;
use crate::linked::Linked;
use crate::machine::Machine;
use crate::run::{Budget, CompileFailure, Finished, RunError, Start};

/// What a processor keeps of generated code between runs: nothing.
pub(crate) type State = Option<std::convert::Infallible>;

/// The machine code of a program: none.
#[derive(Debug, Default)]
pub(crate) struct Native;

/// Compiles a program now.
pub(crate) fn prepare(
    _: &Arc<Linked>,
    _: &Machine,
    _: Tier,
    _: Budget,
) -> Result<(), CompileFailure> {
    Err(CompileFailure::NoTarget)
}

/// Machine code to look at.
pub(crate) fn machine_code(
    _: &Arc<Linked>,
    _: &Machine,
    _: (Target, Tier),
    _: &CompileOptions,
    _: Budget,
) -> Result<Code, CompileFailure> {
    Err(CompileFailure::NoTarget)
}

/// The optimising compiler's form of every function, to look at.
pub(crate) fn ssa(_: &Arc<Linked>, _: &Machine, _: Passes) -> Result<Vec<Func>, CompileFailure> {
    Err(CompileFailure::NoTarget)
}

/// Which code a run should use: none.
pub(crate) fn choose(_: &Arc<Linked>, _: &Arc<Machine>, _: Budget) -> Option<Tier> {
    None
}

/// Runs a program.
pub(crate) fn run(
    linked: &Arc<Linked>,
    _: &Machine,
    _: &mut CpuState,
    _: Tier,
    _: Start,
) -> Result<Finished, RunError> {
    Err(RunError::Compile { program: linked.name().to_owned(), why: CompileFailure::NoTarget })
}

/// A program ready to run: never.
pub(crate) struct Runner<'a>(std::convert::Infallible, std::marker::PhantomData<&'a mut CpuState>);

impl<'a> Runner<'a> {
    /// Makes a program ready.
    pub(crate) fn new(
        _: &'a Arc<Linked>,
        _: &'a Machine,
        _: &'a mut CpuState,
        _: Tier,
        _: Budget,
    ) -> Result<Runner<'a>, CompileFailure> {
        Err(CompileFailure::NoTarget)
    }

    /// How many bytes of the stack must be zero.
    pub(crate) fn reads_stack(&self) -> Option<u32> {
        match self.0 {}
    }

    /// The processor.
    pub(crate) fn cpu(&mut self) -> &mut CpuState {
        match self.0 {}
    }

    /// Runs the program.
    pub(crate) fn run(&mut self, _: [u64; 2]) -> Result<u64, Box<crate::trap::Trap>> {
        match self.0 {}
    }

    /// How many instructions the last run took.
    pub(crate) fn insns(&self) -> Option<u64> {
        match self.0 {}
    }
}
