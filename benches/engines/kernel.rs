//! The kernels: bytecode, sources and the memory they run on.

use skep_bpf::codec::Slot;
use skep_object::{LinkOptions, Object};

/// The size of a kernel's memory in bytes.
pub(crate) const MEMORY_BYTES: usize = 16 * 1024;

/// The number of the helper that kernels call. It returns 0.
pub(crate) const HELPER: u32 = 42;

/// Where a kernel's data starts in its memory (`kernels/common.h`).
const DATA: usize = 64;
/// Where kernels with a second input look for it.
const SECOND: usize = 4096;

/// A program to measure.
pub(crate) struct Kernel {
    pub(crate) name: &'static str,
    /// The object, as clang wrote it.
    object: &'static [u8],
    /// The first word of memory: how many elements there are.
    elements: u32,
    fill: fn(&mut [u8]),
}

macro_rules! kernels {
    ($($name:literal $elements:literal $fill:expr;)+) => {
        /// All kernels.
        pub(crate) const KERNELS: &[Kernel] = &[$(Kernel {
            name: $name,
            object: include_bytes!(concat!("../kernels/", $name, ".o")),
            elements: $elements,
            fill: $fill,
        }),+];
    };
}

kernels! {
    "alu" 1024 random;
    "bsearch" 64 sorted_table;
    "bswap" 128 random;
    "calls" 256 random;
    "chacha" 16 random;
    "crc32" 256 random;
    "div" 256 random;
    "empty" 0 random;
    "fib" 2048 random;
    "fnv1a" 1024 random;
    "helper" 256 random;
    "ipcsum" 750 random;
    "isort" 64 random;
    "matmul" 16 random;
    "memcmp" 1024 equal_but_for_the_last_byte;
}

impl Kernel {
    /// The linked code: `prog` and the functions it calls.
    pub(crate) fn slots(&self) -> Result<Vec<Slot>, String> {
        let object = Object::parse(self.object).map_err(|error| error.to_string())?;
        let [function] = object.functions_named("prog")[..] else {
            return Err("the object has no single function prog".to_owned());
        };
        let linked = object.link(function.index, LinkOptions::default());
        Ok(linked.map_err(|error| error.to_string())?.bytecode.slots)
    }

    /// The memory at the start, the same in every run.
    pub(crate) fn memory(&self) -> Vec<u8> {
        let mut memory = vec![0; MEMORY_BYTES];
        (self.fill)(&mut memory);
        memory[..4].copy_from_slice(&self.elements.to_le_bytes());
        memory
    }
}

/// Numbers that look random (SplitMix64).
fn numbers() -> impl Iterator<Item = u64> {
    let mut state: u64 = 0x5eed;
    std::iter::repeat_with(move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    })
}

fn random(memory: &mut [u8]) {
    for (word, number) in memory.chunks_exact_mut(8).zip(numbers()) {
        word.copy_from_slice(&number.to_le_bytes());
    }
}

/// 256 sorted words; the keys are other words, so that a search can end anywhere.
fn sorted_table(memory: &mut [u8]) {
    random(memory);
    let mut table: Vec<u32> = numbers().take(256).map(|number| (number >> 32) as u32).collect();
    table.sort_unstable();
    for (word, value) in memory[DATA..].chunks_exact_mut(4).zip(table) {
        word.copy_from_slice(&value.to_le_bytes());
    }
}

fn equal_but_for_the_last_byte(memory: &mut [u8]) {
    random(memory);
    memory.copy_within(DATA..DATA + 1024, SECOND);
    memory[SECOND + 1023] ^= 1;
}
