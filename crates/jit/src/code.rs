//! Machine code as the tiers make it: bytes that run at any address, and what is known of them.

/// Machine code of a program.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Code {
    /// The instructions. They refer to each other by distance, so they run at any address.
    pub bytes: Vec<u8>,
    /// The offset of the function of type [`crate::abi::Enter`].
    pub enter: u32,
    /// The offset of a function of the same type, which calls the function of
    /// [`crate::abi::RunState::callback`]; in code whose helpers call functions back.
    pub callback: Option<u32>,
    /// The offset at which the fault handler goes on, with [`crate::abi::TrapRecord`] filled in.
    pub fault_exit: u32,
    /// How many bytes below the main function's `r10` may be read before they are written, as far
    /// as they are reached through `r10`; none if that is not known.
    pub reads_stack: Option<u32>,
    /// The offset of each function's entry, in the order of the program's functions.
    pub entries: Vec<u32>,
    /// The accesses that can fault, by offset.
    pub accesses: Vec<Access>,
    /// Where the code of an instruction starts, by offset: for listings and profilers. A run of
    /// code may belong to an instruction that stands elsewhere in the program. Empty unless asked
    /// for ([`crate::CompileOptions::places`]).
    pub places: Vec<Place>,
}

/// An access to guest memory that can fault. The guest address is the low half of a register plus
/// a displacement, modulo 2^32.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct Access {
    /// The offset in the code of the machine instruction that accesses.
    pub offset: u32,
    /// The eBPF instruction, as an index.
    pub insn: u32,
    /// The displacement in bytes.
    pub disp: i32,
    /// The number of the machine register in the target's encoding, or [`Access::NO_REGISTER`].
    pub reg: u8,
    /// The number of bytes.
    pub len: u8,
    /// Whether it writes, or reads and writes (0 or 1).
    pub write: u8,
    /// Whether the register holds the host address of the guest address (0 or 1).
    pub host: u8,
}

impl Access {
    /// Stands for no register: the displacement is the address.
    pub const NO_REGISTER: u8 = u8::MAX;
}

/// Where the code of an instruction starts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// The offset in the code.
    pub offset: u32,
    /// The eBPF instruction as an index, or [`Place::NONE`].
    pub insn: u32,
}

impl Place {
    /// Stands for no instruction: entries, exits and shared pieces.
    pub const NONE: u32 = u32::MAX;
}
