//! Contexts: what a program's first argument leads to. One program family, one file.

use skep_bpf::op::Size;

use crate::cpu::CpuState;
use crate::machine::Machine;
use crate::memory::{Fault, Perm};
use crate::region::{Memory, Purpose, Region};

/// Something a program can be run on. Filled into guest memory before a run and read back after.
pub trait Context {
    /// Writes context and packet into the processor's areas and says what `r1` and `r2` hold.
    ///
    /// # Errors
    ///
    /// If the input does not fit, or the kernel would refuse it.
    fn enter(&mut self, machine: &Machine, cpu: &mut CpuState) -> Result<[u64; 2], ContextError>;

    /// Reads back what the program may have changed.
    ///
    /// # Errors
    ///
    /// If guest memory cannot be read, which only a bug could cause.
    fn leave(&mut self, machine: &Machine, cpu: &mut CpuState) -> Result<(), ContextError>;
}

/// Why a program could not be run on an input.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ContextError {
    /// A packet of a length that the kernel refuses, or that does not fit.
    #[error("a packet of {len} bytes: {kind} takes from {min} to {max} bytes")]
    PacketLength {
        /// The kind of program.
        kind: &'static str,
        /// The packet's length in bytes.
        len: usize,
        /// The least length.
        min: usize,
        /// The greatest length.
        max: usize,
    },
    /// Guest memory is full.
    #[error("no guest memory for the input: {0}")]
    Memory(String),
    /// The input is not what the program's type takes.
    #[error("{what}")]
    Mismatch {
        /// What was needed and what was found.
        what: String,
    },
}

impl ContextError {
    /// An area of the processor's own that cannot be accessed.
    pub(crate) fn fault(fault: Fault) -> ContextError {
        ContextError::Memory(fault.to_string())
    }
}

/// What a processor's program runs on while it runs, and the areas that are kept for the next
/// run.
#[derive(Debug, Default)]
pub struct Input {
    /// The area for raw memory: start and length.
    memory: Option<(u32, u32)>,
}

impl Input {
    /// The objects that the program runs on, as they are now.
    pub(crate) fn regions(&self) -> Vec<Region> {
        let memory = self.memory.map(|(start, len)| Region {
            start,
            len,
            perm: Perm::ReadWrite,
            purpose: Purpose::Memory,
        });
        memory.into_iter().collect()
    }

    /// A deprecated packet load: `Some(None)` outside the packet, `None` if there is none.
    pub(crate) fn load_packet(
        &self,
        _memory: &Memory,
        _offset: i32,
        _size: Size,
    ) -> Option<Option<u64>> {
        None
    }

    /// Gives the areas back.
    pub(crate) fn free(&mut self, memory: &Memory) {
        if let Some((start, _)) = self.memory.take() {
            memory.free(start);
        }
    }
}

mod raw;

pub use raw::RawMemory;
