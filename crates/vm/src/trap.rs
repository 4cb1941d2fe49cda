//! Why a run stopped before its program's exit, and where.

use std::fmt;

use skep_bpf::codec::SlotIndex;
use skep_bpf::debug_info::SourceLine;
use skep_bpf::platform::HelperId;

use crate::memory::{Access, AtomicFault, Fault};
use crate::region::Region;

/// A run that stopped: the kind of trap and the instruction at which it happened.
#[derive(Clone, PartialEq, Debug)]
pub struct Trap {
    /// What went wrong.
    pub kind: TrapKind,
    /// The program, as it was named when it was loaded.
    pub program: String,
    /// The function the instruction belongs to, if its name is known.
    pub function: Option<String>,
    /// The instruction's first slot.
    pub slot: SlotIndex,
    /// The instruction in the C-like dialect.
    pub insn: String,
    /// The source line, if the object has one.
    pub source: Option<SourceLine>,
}

impl fmt::Display for Trap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, instruction {}", self.program, self.slot)?;
        if let Some(source) = &self.source {
            write!(f, " ({}:{})", source.file, source.line)?;
        }
        write!(f, ": {}: {}", self.insn, self.kind)
    }
}

impl std::error::Error for Trap {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.kind)
    }
}

/// What went wrong.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrapKind {
    /// An access to memory that the guest may not touch.
    #[error(transparent)]
    Memory(#[from] Fault),
    /// An access outside the object that its pointer belongs to (checked interpreter).
    #[error(transparent)]
    Region(Box<Violation>),
    /// An atomic operation at an address that is no multiple of its size.
    #[error("atomic access of {len} bytes at {addr:#x} is not aligned")]
    MisalignedAtomic {
        /// The guest address.
        addr: u32,
        /// The number of bytes.
        len: u32,
    },
    /// The run used up its fuel.
    #[error("the fuel of {fuel} instructions is used up")]
    OutOfFuel {
        /// How many instructions were allowed.
        fuel: u64,
    },
    /// Another thread stopped the run, or its deadline passed.
    #[error("the run was stopped from outside")]
    Stopped,
    /// More frames of program-local functions than eight, and seven for each tail call so far.
    #[error("calls are nested more than {limit} deep")]
    CallDepth {
        /// The most frames there may be.
        limit: usize,
    },
    /// A call of a helper that this machine does not have.
    #[error("helper {} is not implemented", HelperName(*.0))]
    NoSuchHelper(HelperId),
    /// A call through a register whose value is no function.
    #[error("{value:#x} is neither a function of the program nor a helper")]
    NotAFunction {
        /// The register's value.
        value: u64,
    },
    /// A helper's argument should have been a map.
    #[error("argument {arg} of {} is {value:#x}, which is no map", HelperName(*.helper))]
    NotAMap {
        /// The helper.
        helper: HelperId,
        /// The argument, from 1.
        arg: usize,
        /// Its value.
        value: u64,
    },
    /// A helper's argument leads to memory that the helper may not use.
    #[error("argument {arg} of {}: {fault}", HelperName(*.helper))]
    HelperMemory {
        /// The helper.
        helper: HelperId,
        /// The argument, from 1.
        arg: usize,
        /// The access.
        fault: Fault,
    },
    /// A helper that this kind of program or context does not have.
    #[error("{} needs {needed}", HelperName(*.helper))]
    HelperContext {
        /// The helper.
        helper: HelperId,
        /// What the helper works on.
        needed: &'static str,
    },
    /// An instruction that loads but cannot run here.
    #[error("{what} cannot run here")]
    Unsupported {
        /// The instruction's kind.
        what: &'static str,
    },
    /// Machine code came to an instruction that the proof says no path reaches.
    #[error("no path should lead here, according to the proof")]
    Unproved,
    /// A deprecated packet load in a program that has no socket buffer.
    #[error("deprecated packet loads need a socket buffer as context")]
    NoSocketBuffer,
}

impl TrapKind {
    pub(crate) const KERNEL_FUNCTION: TrapKind =
        TrapKind::Unsupported { what: "a call of a kernel function" };
    pub(crate) const ADDRESS_SPACE_CAST: TrapKind =
        TrapKind::Unsupported { what: "an address space cast" };
}

impl From<AtomicFault> for TrapKind {
    fn from(fault: AtomicFault) -> TrapKind {
        match fault {
            AtomicFault::Fault(fault) => fault.into(),
            AtomicFault::Misaligned { addr, len } => TrapKind::MisalignedAtomic { addr, len },
        }
    }
}

/// An access outside the object that its pointer belongs to.
#[derive(Clone, PartialEq, Debug)]
pub struct Violation {
    /// The guest address.
    pub addr: u32,
    /// The number of bytes.
    pub len: u32,
    /// Reading or writing.
    pub access: Access,
    /// The object that the pointer belongs to, or that the address lies in; none if there is
    /// nothing there.
    pub region: Option<Region>,
    /// A name for the object, if it has one (a map, a variable, a packet).
    pub name: Option<String>,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = if self.access == Access::Read { "read" } else { "write" };
        write!(f, "{verb} of {} bytes at {:#x}", self.len, self.addr)?;
        let Some(region) = &self.region else {
            return match self.addr {
                0..=0xffff => f.write_str(" through a null pointer"),
                _ => f.write_str(", where there is no object"),
            };
        };
        let offset = i64::from(self.addr) - i64::from(region.start);
        let name = self.name.as_deref().unwrap_or("the object");
        write!(f, ": byte {offset} of {name}, of which {} bytes are ", region.len)?;
        f.write_str(if region.perm.allows(self.access) || self.access == Access::Read {
            "there"
        } else {
            "read-only"
        })
    }
}

impl std::error::Error for Violation {}

/// A helper or kernel function by name if it is known, else by number.
struct HelperName(HelperId);

impl fmt::Display for HelperName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0.row(), crate::helpers::kfunc_name(self.0)) {
            (Some(row), _) => f.write_str(row.name),
            (None, Some(name)) => f.write_str(name),
            (None, None) => write!(f, "number {}", self.0.0),
        }
    }
}
