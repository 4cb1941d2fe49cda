//! What is told of a refused program beside the sentence: values, the access that failed, and the
//! places on the way there that have to do with it.

use crate::state::value::{Kind, Reach, Value};
use core::fmt;
use skep_bpf::codec::SlotIndex;
use skep_bpf::insn::{Callee, Insn, Reg};
use skep_bpf::platform::HelperId;
use skep_bpf::program::Bytecode;

/// What a pointer points to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Base {
    /// Nothing was ever written.
    Nothing,
    /// It is a number.
    Number,
    /// The context.
    Context,
    /// A map itself, by its index.
    Map(u16),
    /// A value of a map.
    MapValue {
        /// The map's index.
        map: u16,
        /// Whether it is a value of a map that was found in that map.
        inner: bool,
    },
    /// The end of a function's frame; 0 is the main function.
    Stack {
        /// How many calls are active.
        frame: u8,
    },
    /// The start of the packet.
    Packet {
        /// So many bytes from the base are known to exist.
        proved: u32,
    },
    /// The start of the packet's metadata.
    PacketMeta {
        /// So many bytes from the base are known to exist.
        proved: u32,
    },
    /// The end of the packet.
    PacketEnd,
    /// Memory of known size.
    Memory {
        /// The size in bytes.
        size: u32,
        /// Whether it is a record of a ring buffer.
        record: bool,
    },
    /// Something else, by the kernel's name.
    Other(&'static str),
}

impl Base {
    /// Whether it is a pointer.
    #[must_use]
    pub fn is_pointer(self) -> bool {
        !matches!(self, Base::Nothing | Base::Number)
    }

    /// Whether it points into the packet or its metadata.
    #[must_use]
    pub fn is_packet(self) -> bool {
        matches!(self, Base::Packet { .. } | Base::PacketMeta { .. })
    }
}

/// A function that the kernel provides.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Called {
    /// A helper.
    Helper(HelperId),
    /// A function of the kernel, by its name.
    Kernel(String),
}

impl Called {
    /// What an instruction calls, if it is a function of the kernel's whose name is known.
    #[must_use]
    pub fn of<T>(insn: &Insn<T>, bytecode: &Bytecode) -> Option<Called> {
        match insn {
            Insn::Call { callee: Callee::Helper(id) } => Some(Called::Helper(*id)),
            Insn::Call { callee: Callee::Kfunc { btf_id, .. } } => {
                let index = usize::try_from(*btf_id).ok()?;
                bytecode.kernel_functions.get(index).cloned().map(Called::Kernel)
            }
            _ => None,
        }
    }

    /// The helper, if it is one.
    #[must_use]
    pub fn helper(&self) -> Option<HelperId> {
        match self {
            Called::Helper(id) => Some(*id),
            Called::Kernel(_) => None,
        }
    }
}

impl fmt::Display for Called {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Called::Helper(id) => id.fmt(f),
            Called::Kernel(name) => f.write_str(name),
        }
    }
}

/// What is known of a value: a number in an interval, or a pointer to `base + offset + number`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// What it points to.
    pub base: Base,
    /// Whether it may be NULL instead.
    pub may_be_null: bool,
    /// A pointer's constant offset in bytes.
    pub offset: i64,
    /// The smallest value of the number, unsigned.
    pub umin: u64,
    /// The largest.
    pub umax: u64,
    /// The smallest value of the number, signed.
    pub smin: i64,
    /// The largest.
    pub smax: i64,
}

impl Known {
    /// The number, if there is only one that it can be.
    #[must_use]
    pub fn constant(&self) -> Option<i64> {
        (self.umin == self.umax).then_some(self.smin)
    }

    /// Whether nothing is known of the number.
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        (self.umin, self.umax) == (0, u64::MAX) && (self.smin, self.smax) == (i64::MIN, i64::MAX)
    }

    /// The number's interval as people write it; signed if it may be below zero.
    #[must_use]
    pub fn interval(&self) -> String {
        if let Some(x) = self.constant() {
            return x.to_string();
        }
        match (self.smin, self.smax) {
            // Bounds that only a shift before has left.
            (i64::MIN, max) if self.umin == 0 && self.umax >= 1 << 62 && max >= 1 << 62 => {
                "anything".to_owned()
            }
            (i64::MIN, i64::MAX) => match (self.umin, self.umax) {
                (min, u64::MAX) => format!("{min} or more, unsigned"),
                (0, max) => format!("at most {max}, unsigned"),
                (min, max) => format!("{min} to {max}, unsigned"),
            },
            (i64::MIN, max) => format!("at most {max}, perhaps negative"),
            (min, i64::MAX) => format!("{min} or more"),
            (min, max) => format!("{min} to {max}"),
        }
    }
}

impl From<&Value> for Known {
    fn from(value: &Value) -> Known {
        let proved = |reach| match reach {
            Reach::Bytes(bytes) => bytes,
            Reach::AtEnd | Reach::BeyondEnd => 0,
        };
        let base = match value.kind {
            Kind::Invalid => Base::Nothing,
            Kind::Scalar => Base::Number,
            Kind::Context => Base::Context,
            Kind::ConstMap(map) => Base::Map(map.index),
            Kind::MapValue(map) => Base::MapValue { map: map.index, inner: map.inner },
            Kind::Stack { frame } => Base::Stack { frame },
            Kind::Packet(reach) => Base::Packet { proved: proved(reach) },
            Kind::PacketMeta(reach) => Base::PacketMeta { proved: proved(reach) },
            Kind::PacketEnd => Base::PacketEnd,
            Kind::Memory { size, record } => Base::Memory { size, record },
            Kind::Slice(slice) => Base::Memory { size: slice.size, record: false },
            Kind::Allocated(_) => Base::Other("object"),
            other => Base::Other(other.name()),
        };
        let bounds = value.scalar.wide();
        Known {
            base,
            may_be_null: value.or_null,
            offset: if base.is_pointer() { i64::from(value.off) } else { 0 },
            umin: bounds.umin,
            umax: bounds.umax,
            smin: bounds.smin,
            smax: bounds.smax,
        }
    }
}

/// The access or the use that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Focus {
    /// The register.
    pub reg: Reg,
    /// What it held.
    pub value: Known,
    /// The instruction's own offset.
    pub offset: i64,
    /// How many bytes were to be read or written.
    pub size: Option<i64>,
    /// Whether they were to be written.
    pub writes: bool,
}

/// A place on the way to a fault, and what happened there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Related {
    /// The instruction.
    pub at: SlotIndex,
    /// What happened.
    pub what: RelatedKind,
}

/// What happened at a place on the way to a fault.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RelatedKind {
    /// The function began, and the register held nothing.
    NeverWritten(Reg),
    /// The function began with it as an argument, of which only the type is known.
    Argument(Known),
    /// A call destroyed the register.
    Destroyed(Reg),
    /// A value was returned.
    Returned {
        /// What was called.
        function: Called,
        /// The value.
        value: Known,
    },
    /// A value was loaded from memory.
    Loaded {
        /// From where.
        from: Known,
        /// So many bytes.
        size: u32,
        /// The value.
        value: Known,
    },
    /// A value was given by the instruction: a constant, or an address.
    Given(Known),
    /// A number was computed, and this is what is known of it.
    Computed {
        /// What was known of the operand.
        before: Known,
        /// What is known of the result.
        after: Known,
    },
    /// A pointer was moved by a number.
    Moved {
        /// The number.
        by: Known,
        /// The pointer.
        after: Known,
    },
    /// A branch told more of the number.
    Narrowed {
        /// Before.
        before: Known,
        /// After.
        after: Known,
    },
    /// A branch proved that so many bytes of the packet exist.
    PacketProved {
        /// The number of bytes.
        bytes: u32,
    },
    /// A branch told that the pointer is NULL.
    IsNull,
    /// The pointer became a number: what it pointed to may be gone.
    Invalidated {
        /// What it was.
        before: Known,
        /// The function that did it.
        function: Option<Called>,
    },
    /// A part of the stack was read that nothing was written to.
    Unwritten,
    /// Something was written over what lay on the stack.
    Overwritten,
    /// A resource was acquired.
    Acquired {
        /// The function that gave it.
        function: Option<Called>,
    },
    /// A lock was taken.
    Locked,
    /// The lock was released.
    Unlocked,
    /// An undecided branch went this way.
    Went {
        /// Whether it jumped.
        taken: bool,
        /// Where the path goes on.
        to: SlotIndex,
    },
    /// An instruction that was walked very often.
    Loop {
        /// How often.
        trips: u32,
        /// How many states are remembered there.
        states: u32,
        /// Whether it could go either way each time.
        forks: bool,
    },
    /// A function that uses stack, counting only its own.
    Frame {
        /// The bytes it uses.
        bytes: u32,
    },
    /// A call of one of the program's own functions.
    Calls {
        /// The function's first instruction.
        entry: SlotIndex,
    },
}

impl fmt::Display for Known {
    /// `data + 14 + 0 to 255`: the pointer as one would write it, and the interval of its variable
    /// part; or the number's interval.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.base {
            Base::Nothing => return f.write_str("nothing"),
            Base::Number => return f.write_str(&self.interval()),
            Base::Context => "the context",
            Base::Map(_) => "a map",
            Base::MapValue { .. } => "map value",
            Base::Stack { .. } => "end of frame",
            Base::Packet { .. } => "data",
            Base::PacketMeta { .. } => "data_meta",
            Base::PacketEnd => "data_end",
            Base::Memory { record: true, .. } => "record",
            Base::Memory { record: false, .. } => "memory",
            Base::Other(name) => name,
        };
        f.write_str(name)?;
        match self.offset {
            0 => {}
            offset if offset < 0 => write!(f, " - {}", offset.unsigned_abs())?,
            offset => write!(f, " + {offset}")?,
        }
        match self.constant() {
            Some(0) => Ok(()),
            Some(x) => write!(f, " + {x}"),
            None => write!(f, " + ({})", self.interval()),
        }?;
        if self.may_be_null { f.write_str(", or NULL") } else { Ok(()) }
    }
}
