//! The proof: what a verified program is known to do.

use crate::input::{MapFacts, Profile};
use skep_bpf::codec::SlotIndex;
use skep_bpf::platform::{AttachType, ProgType};
use skep_bpf::program::Bytecode;

/// The numbers of a walk, as the kernel counts them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Instructions walked, over all paths.
    pub insns_processed: u64,
    /// States remembered.
    pub total_states: u64,
    /// The largest number of remembered states at one time.
    pub peak_states: u64,
    /// The largest number of remembered states at one instruction.
    pub max_states_per_insn: u64,
}

/// What memory an instruction accesses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Region {
    /// The stack of this or a calling function.
    Stack,
    /// The context.
    Context,
    /// The packet, its metadata included.
    Packet,
    /// A value of the map with this index.
    MapValue(u16),
    /// Other memory of known size.
    Memory,
    /// More than one of them, on different paths.
    Several,
}

/// A program with the proof that it is safe. Only [`verify`](crate::verify) makes one.
#[derive(Clone, Debug)]
pub struct Verified {
    pub(crate) bytecode: Bytecode,
    pub(crate) maps: Vec<MapFacts>,
    pub(crate) prog_type: ProgType,
    pub(crate) attach_type: AttachType,
    pub(crate) profile: Profile,
    pub(crate) stats: Stats,
    pub(crate) visited: Vec<bool>,
    pub(crate) regions: Vec<Option<Region>>,
    pub(crate) stack_depth: u32,
}

impl Verified {
    /// The code that was proved safe.
    #[must_use]
    pub fn bytecode(&self) -> &Bytecode {
        &self.bytecode
    }

    /// The maps that the proof assumes, in the order in which the code numbers them.
    #[must_use]
    pub fn maps(&self) -> &[MapFacts] {
        &self.maps
    }

    /// The program type that it was proved for.
    #[must_use]
    pub fn prog_type(&self) -> ProgType {
        self.prog_type
    }

    /// The attach type that it was proved for.
    #[must_use]
    pub fn attach_type(&self) -> AttachType {
        self.attach_type
    }

    /// The machine that the proof assumes.
    #[must_use]
    pub fn profile(&self) -> &Profile {
        &self.profile
    }

    /// The numbers of the walk.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.stats
    }

    /// Whether the instruction at a slot can be executed at all.
    #[must_use]
    pub fn is_reachable(&self, at: SlotIndex) -> bool {
        self.visited.get(at.0).copied().unwrap_or(false)
    }

    /// The memory that the load or store at a slot accesses.
    #[must_use]
    pub fn region(&self, at: SlotIndex) -> Option<Region> {
        self.regions.get(at.0).copied().flatten()
    }

    /// The stack that the deepest chain of calls needs, in bytes.
    #[must_use]
    pub fn stack_depth(&self) -> u32 {
        self.stack_depth
    }
}
