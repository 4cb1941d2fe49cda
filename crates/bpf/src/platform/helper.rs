//! Helper functions: who they are, what they take and give, in which programs they exist.
//!
//! A helper is one row. The verifier checks calls by `params` and `returns`, the machine binds
//! arguments by them, the disassembler prints the name, `explain` the prototype and the
//! meaning. An embedder's own helper is one more row. Kinds follow the classes the kernel's
//! verifier distinguishes (`bpf_arg_type` and `bpf_return_type` in `include/linux/bpf.h`).

mod allowed;
mod rows;

use alloc::string::String;
use core::fmt;

use super::number::KernelVersion;
use super::prog_type::ProgType;

pub use allowed::{HelperSet, OPTIONAL_HELPERS, helper_allowed, helpers_of};
pub use rows::HELPERS;

/// The number of a helper function: the `imm` of its call instruction.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HelperId(pub u32);

impl HelperId {
    /// The row of this helper, if it is one of Linux's.
    pub fn row(self) -> Option<&'static HelperRow> {
        // Rows are numbered from 1 without gaps; a test says so.
        HELPERS.get(usize::try_from(self.0).ok()?.checked_sub(1)?)
    }

    /// The helper of this name, with or without its prefix `bpf_`.
    pub fn named(name: &str) -> Option<Self> {
        let same = |row: &&HelperRow| row.name == name || row.short_name() == name;
        HELPERS.iter().find(same).map(|row| row.id)
    }
}

impl fmt::Display for HelperId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.row() {
            Some(row) => f.pad(row.name),
            None => write!(f, "helper {}", self.0),
        }
    }
}

impl fmt::Debug for HelperId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.row().map_or("helper", |row| row.name), self.0)
    }
}

/// One helper function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HelperRow {
    /// Its number.
    pub id: HelperId,
    /// Its name, such as `bpf_map_lookup_elem`.
    pub name: &'static str,
    /// The first release of Linux that has it.
    pub since: KernelVersion,
    /// What holds for it besides its signature.
    pub traits: HelperTraits,
    /// The C type it returns, such as `void *`.
    pub return_type: &'static str,
    /// What r0 holds after the call.
    pub returns: ReturnKind,
    /// Its parameters, at most five, in r1 to r5.
    pub params: &'static [Param],
    /// What it does, in a sentence.
    pub meaning: &'static str,
}

impl HelperRow {
    /// The name without `bpf_`.
    pub fn short_name(&self) -> &'static str {
        self.name.strip_prefix("bpf_").unwrap_or(self.name)
    }

    /// What argument `index` (0 is r1) must be in a program of this type. `None` if there is no
    /// such parameter.
    ///
    /// A few helpers take another argument in some program types, for example a socket where
    /// others pass their context.
    pub fn arg_kind(&self, index: usize, prog_type: ProgType) -> Option<ArgKind> {
        let here = |variant: &&rows::Variant| {
            variant.id == self.id && variant.index == index && variant.scope.covers(prog_type)
        };
        match rows::VARIANTS.iter().find(here) {
            Some(variant) => Some(variant.kind),
            None => self.params.get(index).map(|param| param.kind),
        }
    }

    /// The C prototype, such as `void *bpf_map_lookup_elem(struct bpf_map *map, const void *key)`.
    pub fn prototype(&self) -> String {
        let mut text = String::from(self.return_type);
        if !text.ends_with('*') {
            text.push(' ');
        }
        text.push_str(self.name);
        text.push('(');
        for (index, param) in self.params.iter().enumerate() {
            if index > 0 {
                text.push_str(", ");
            }
            text.push_str(param.declaration);
        }
        text.push_str(match (self.params.is_empty(), self.traits.variadic) {
            (true, _) => "void)",
            (false, true) => ", ...)",
            (false, false) => ")",
        });
        text
    }
}

/// What holds for a helper besides its signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HelperTraits {
    /// Only programs under a licence compatible with the GPL may call it.
    pub gpl_only: bool,
    /// Its memory arguments may point into the packet.
    pub packet_access: bool,
    /// Pointers into the packet are invalid after the call.
    pub changes_packet: bool,
    /// What it returns, if not NULL, is a reference that must be given back.
    pub acquires: bool,
    /// Only sleepable programs may call it.
    pub may_sleep: bool,
    /// It keeps r1 to r5, except where an argument was passed in them.
    pub fastcall: bool,
    /// Registers beyond the named parameters are passed on unchecked.
    pub variadic: bool,
}

impl HelperTraits {
    /// None of them.
    pub const NONE: Self = Self {
        gpl_only: false,
        packet_access: false,
        changes_packet: false,
        acquires: false,
        may_sleep: false,
        fastcall: false,
        variadic: false,
    };
}

/// A parameter of a helper.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Param {
    /// Its C declaration, such as `const void *key`.
    pub declaration: &'static str,
    /// What must be passed.
    pub kind: ArgKind,
}

impl Param {
    /// Its name, such as `key`.
    pub fn name(&self) -> &'static str {
        self.declaration.rsplit([' ', '*']).next().unwrap_or(self.declaration)
    }
}

/// How a helper uses memory that it is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemoryUse {
    /// It reads; the memory must be initialised.
    Read,
    /// It reads and writes, or writes only a part; the memory must be initialised and writable.
    ReadWrite,
    /// It writes all; the memory must be writable and need not be initialised.
    Write,
}

/// How a helper uses a dynamic pointer that it is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DynptrUse {
    /// It makes one to local memory in the uninitialised stack slots.
    NewLocal,
    /// It makes one to a ring buffer record in the uninitialised stack slots.
    NewRingbuf,
    /// It ends one to a ring buffer record.
    ReleaseRingbuf,
    /// It uses one of any kind.
    Existing,
}

/// What a helper requires of an argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArgKind {
    /// Whatever the register holds, initialised or not.
    Unchecked,
    /// Any initialised value.
    Anything,
    /// A number, not a pointer.
    Scalar,
    /// The program's context, unmodified.
    Context {
        /// NULL is allowed.
        or_null: bool,
    },
    /// A map, known when the program is verified.
    ConstMap,
    /// Initialised memory of the map's key size.
    MapKey,
    /// Memory of the map's value size.
    MapValue {
        /// How it is used.
        uses: MemoryUse,
        /// NULL is allowed.
        or_null: bool,
    },
    /// Memory whose size is the next argument.
    Memory {
        /// How it is used.
        uses: MemoryUse,
        /// NULL is allowed, with size 0.
        or_null: bool,
    },
    /// Memory of a fixed size.
    FixedMemory {
        /// How it is used; memory that is written must be aligned to its size.
        uses: MemoryUse,
        /// Its size in bytes.
        size: u32,
    },
    /// The size in bytes of the memory that is the argument before.
    Size {
        /// Zero is allowed.
        or_zero: bool,
    },
    /// A constant: the size in bytes of the memory that the helper returns.
    AllocSize,
    /// A pointer to the stack, handed to a callback.
    Stack {
        /// NULL is allowed.
        or_null: bool,
    },
    /// A NUL-terminated string in a read-only map.
    ConstString,
    /// A function of the program, called back.
    Function,
    /// A dynamic pointer on the stack.
    Dynptr(DynptrUse),
    /// A `struct bpf_spin_lock` in a map value or object.
    SpinLock,
    /// A `struct bpf_timer` in a map value.
    Timer,
    /// A kernel pointer field in a map value or object.
    KptrSlot,
    /// A referenced kernel object or NULL; the reference is given up.
    ReleasedKptr,
    /// A ring buffer record; the reference is given up.
    ReleasedRecord,
    /// A socket of any kind; the reference is given up.
    ReleasedSocket,
    /// A socket as the UAPI shows it (`struct bpf_sock` and its relatives).
    SockCommon,
    /// A full socket as the UAPI shows it, or NULL.
    FullSocketOrNull,
    /// A socket of any kind, as the UAPI shows it or as a kernel object.
    Socket {
        /// NULL is allowed.
        or_null: bool,
    },
    /// A kernel object of a given type.
    Btf {
        /// The type's name in kernel BTF, such as `task_struct`.
        type_name: &'static str,
        /// NULL is allowed.
        or_null: bool,
    },
    /// A per-CPU variable of the kernel.
    PercpuBtf,
}

/// What a helper leaves in r0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReturnKind {
    /// A number.
    Integer,
    /// Nothing: r0 is not readable.
    Void,
    /// A value of the map that was passed.
    MapValue {
        /// It may be NULL.
        or_null: bool,
    },
    /// A full socket or NULL.
    SocketOrNull,
    /// A TCP socket or NULL.
    TcpSocketOrNull,
    /// A socket of any kind, request and time-wait sockets included, or NULL.
    SockCommonOrNull,
    /// A record of the size that was passed, or NULL.
    RingbufRecordOrNull,
    /// A part, of the size that was passed, of the memory behind a dynamic pointer, or NULL.
    DynptrSliceOrNull,
    /// A processor's copy of the variable that was passed: plain memory or a kernel object.
    PercpuCopy {
        /// It may be NULL.
        or_null: bool,
    },
    /// A kernel object of a given type.
    Btf {
        /// The type's name in kernel BTF, such as `task_struct`.
        type_name: &'static str,
        /// It is known to be alive.
        trusted: bool,
        /// It may be NULL.
        or_null: bool,
    },
    /// What the kernel pointer field held, of the field's type, or NULL.
    KptrOrNull,
}

impl ReturnKind {
    /// Whether r0 may be NULL where a pointer is expected.
    pub fn may_be_null(self) -> bool {
        match self {
            Self::Integer | Self::Void => false,
            Self::MapValue { or_null }
            | Self::PercpuCopy { or_null }
            | Self::Btf { or_null, .. } => or_null,
            Self::SocketOrNull
            | Self::TcpSocketOrNull
            | Self::SockCommonOrNull
            | Self::RingbufRecordOrNull
            | Self::DynptrSliceOrNull
            | Self::KptrOrNull => true,
        }
    }
}

#[cfg(test)]
mod tests;
