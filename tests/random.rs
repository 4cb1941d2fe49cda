//! Random programs that the kernel's verifier accepts.
//!
//! A [`Generator`] makes a program from a seed: arithmetic, memory, atomics, branches, bounded
//! loops and local calls in random order. What a register holds is tracked, so that only scalars
//! are computed with and only pointers dereferenced. At its exit a program stores all ten
//! registers and its stack in the value it worked on, whose layout is [`layout`].

mod body;
mod number;
mod run;

pub use body::Generator;
pub use number::Random;
pub use run::{Kernel, Machines};

use skep_bpf::insn::Insn;

/// The value that a program works on: the only one of an array map.
pub mod layout {
    /// Where `r0` to `r9` go at the exit.
    pub const REGISTERS: usize = 0;
    /// Where the program's own memory starts.
    pub const MEMORY: usize = 80;
    /// The length of the program's own memory.
    pub const MEMORY_BYTES: usize = 128;
    /// Where the bytes of the main function's stack go at the exit.
    pub const STACK: usize = MEMORY + MEMORY_BYTES;
    /// How much of the stack a function uses.
    pub const STACK_BYTES: usize = 64;
    /// The length of the value.
    pub const VALUE_BYTES: usize = STACK + STACK_BYTES;
}

/// A program and the value it starts with.
#[derive(Clone, Debug)]
pub struct RandomProgram {
    /// The seed that makes it.
    pub seed: u64,
    /// Its instructions; targets are indices.
    pub insns: Vec<Insn<usize>>,
    /// The map's value before the run.
    pub value: Vec<u8>,
}

impl RandomProgram {
    /// The program of a seed.
    #[must_use]
    pub fn new(seed: u64) -> RandomProgram {
        let mut random = Random::new(seed);
        let value = (0..layout::VALUE_BYTES / 8).flat_map(|_| random.word().to_le_bytes());
        let value = value.collect();
        RandomProgram { seed, insns: Generator::new(random).program(), value }
    }
}
