//! What a register or a spilled register holds: a number, or a pointer of some kind.
//!
//! A pointer is `base + off + x` with a constant `off` and a variable part x in `scalar`. Numbers
//! that are copies of each other share an `id`; with [`ADD_CONST`] set, the number is that of the
//! id plus `off`. Of a pointer that may be NULL, or to a packet, the id says which others are the
//! same. `node` is where a number comes from (see [`Nodes`](crate::precision::Nodes)).

use crate::domain::Scalar;
use crate::kernel::trust::Trust;
use crate::precision::Node;
use core::fmt;
use skep_bpf::platform::dynptr::DynptrClass;
use skep_btf::TypeId;

/// The bit of a number's id that says: plus the constant `off`.
pub(crate) const ADD_CONST: u32 = 1 << 31;

/// Beside [`ADD_CONST`], the bit that says: the sum is one of 32 bits, zeros above.
pub(crate) const NARROW_SUM: u32 = 1 << 30;

/// The bits of a number's id that name the number it is a copy of.
pub(crate) const COPY_OF: u32 = !(ADD_CONST | NARROW_SUM);

/// The limit of offsets and variable parts of pointers (the kernel's `BPF_MAX_VAR_OFF`).
pub(crate) const MAX_VAR_OFF: i64 = 1 << 29;

/// A map of the program, or what the maps in it are like.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct MapRef {
    pub(crate) index: u16,
    pub(crate) inner: bool,
}

/// How far a packet pointer is known to lie from the end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Reach {
    /// So many bytes from the pointer's base (without its own offset) exist.
    Bytes(u32),
    /// The pointer is at the end or beyond.
    AtEnd,
    /// The pointer is beyond the end.
    BeyondEnd,
}

/// Memory that a dynamic pointer gave.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Slice {
    pub(crate) size: u32,
    pub(crate) read_only: bool,
    /// The id of the dynamic pointer.
    pub(crate) dynptr: u32,
    /// What the dynamic pointer points to, if the kernel's type of the memory says so.
    pub(crate) class: Option<DynptrClass>,
}

/// A pointer to an object that the program allocated.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct AllocatedPointer {
    /// The type, in the types of the program.
    pub(crate) type_id: TypeId,
    /// Every processor has an object of its own behind it.
    pub(crate) percpu: bool,
    /// A list, a tree or a map's value owns it.
    pub(crate) borrowed: bool,
    /// It lives until the end of a section of `bpf_rcu_read_lock` only.
    pub(crate) rcu: bool,
    /// What the type has beside data.
    pub(crate) features: Features,
}

/// What a type of objects has beside data. One byte, so that values stay small.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Features {
    None,
    Lock,
    Count,
    LockAndCount,
}

impl Features {
    /// Whether there is a lock, and a count of references.
    pub(crate) fn new(has_lock: bool, is_counted: bool) -> Features {
        match (has_lock, is_counted) {
            (false, false) => Features::None,
            (true, false) => Features::Lock,
            (false, true) => Features::Count,
            (true, true) => Features::LockAndCount,
        }
    }
}

impl AllocatedPointer {
    /// Whether the type has a lock: which object it is matters.
    pub(crate) fn has_lock(&self) -> bool {
        matches!(self.features, Features::Lock | Features::LockAndCount)
    }

    /// Whether the type counts its references.
    pub(crate) fn is_counted(&self) -> bool {
        matches!(self.features, Features::Count | Features::LockAndCount)
    }

    /// Whether it is of the kind that the program owns.
    pub(crate) fn is_owned(&self) -> bool {
        !self.borrowed && !self.rcu
    }
}

/// What a register holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Invalid,
    Scalar,
    Context,
    ConstMap(MapRef),
    MapValue(MapRef),
    /// A key that the kernel shows to a callback.
    MapKey(MapRef),
    /// A function of the program, by its place in the code.
    Function(u16),
    Stack {
        frame: u8,
    },
    Packet(Reach),
    PacketMeta(Reach),
    PacketEnd,
    FlowKeys,
    Socket,
    SockCommon,
    TcpSock,
    XdpSock,
    TracepointBuffer,
    /// A key or a value that an iterator over elements gives; its size is known only when the
    /// program is attached.
    Buffer {
        read_only: bool,
    },
    Memory {
        size: u32,
        record: bool,
    },
    ReadOnlyMemory {
        size: u32,
    },
    /// Memory that a dynamic pointer gave.
    Slice(Slice),
    /// An object that the program allocated.
    Allocated(AllocatedPointer),
    /// A dynamic pointer that only is used, not changed: an argument of a callback or of a global
    /// function. Its identity is the id.
    ConstDynptr,
    /// In slots of the stack only: a dynamic pointer, and whether this is its first slot. Its
    /// identity is the id.
    Dynptr {
        class: DynptrClass,
        first: bool,
    },
    /// What a pointer of the kernel may point to that nothing is known of; loads cope with it.
    UntrustedMemory,
    /// In slots of the stack only: which iterator, whether this is its first slot, whether it may
    /// give more elements, how many it gave, and whether RCU protects it, or did.
    Iterator {
        number: u8,
        first: bool,
        active: bool,
        trust: Trust,
        turns: u32,
    },
    /// In slots of the stack only: whether interrupts were allowed, as `bpf_local_irq_save` saved
    /// it. Its identity is the reference.
    Interrupts,
    /// An object of the kernel.
    Btf {
        type_id: TypeId,
        trust: Trust,
    },
}

impl Kind {
    /// The kernel's name for it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Invalid => "?",
            Kind::Scalar => "scalar",
            Kind::Context => "ctx",
            Kind::ConstMap(_) => "map_ptr",
            Kind::MapValue(_) => "map_value",
            Kind::MapKey(_) => "map_key",
            Kind::Function(_) => "func",
            Kind::Stack { .. } => "fp",
            Kind::Packet(_) => "pkt",
            Kind::PacketMeta(_) => "pkt_meta",
            Kind::PacketEnd => "pkt_end",
            Kind::FlowKeys => "flow_keys",
            Kind::Socket => "sock",
            Kind::SockCommon => "sock_common",
            Kind::TcpSock => "tcp_sock",
            Kind::XdpSock => "xdp_sock",
            Kind::TracepointBuffer => "tp_buffer",
            Kind::Buffer { read_only: false } => "buf",
            Kind::Buffer { read_only: true } => "rdonly_buf",
            Kind::Memory { record: false, .. } => "mem",
            Kind::Memory { record: true, .. } => "ringbuf_mem",
            Kind::ReadOnlyMemory { .. } => "rdonly_mem",
            Kind::Slice(Slice { read_only: false, .. }) => "mem",
            Kind::Slice(Slice { read_only: true, .. }) => "rdonly_mem",
            Kind::Allocated(AllocatedPointer { percpu: true, .. }) => "percpu_ptr_",
            Kind::Allocated(AllocatedPointer { rcu: true, .. }) => "rcu_ptr_",
            Kind::Allocated(_) => "ptr_",
            Kind::ConstDynptr => "dynptr_ptr",
            Kind::Dynptr { .. } => "dynptr",
            Kind::UntrustedMemory => "rdonly_untrusted_mem",
            Kind::Iterator { .. } => "iter",
            Kind::Interrupts => "irq_flag",
            Kind::Btf { .. } => "ptr_",
        }
    }

    /// Whether two are of one kind for the kernel, whatever they point to.
    pub(crate) fn same_type(self, other: Kind) -> bool {
        core::mem::discriminant(&self) == core::mem::discriminant(&other)
    }

    /// Whether it points into the packet or its metadata.
    pub(crate) fn reach(self) -> Option<Reach> {
        match self {
            Kind::Packet(reach) | Kind::PacketMeta(reach) => Some(reach),
            _ => None,
        }
    }

    /// The same packet pointer with another reach.
    pub(crate) fn with_reach(self, reach: Reach) -> Kind {
        match self {
            Kind::Packet(_) => Kind::Packet(reach),
            Kind::PacketMeta(_) => Kind::PacketMeta(reach),
            other => other,
        }
    }

    /// Whether it belongs to the packet: start, metadata or end.
    pub(crate) fn is_packet(self) -> bool {
        matches!(self, Kind::Packet(_) | Kind::PacketMeta(_) | Kind::PacketEnd)
    }

    /// Whether it points into the packet by way of a dynamic pointer.
    pub(crate) fn is_packet_slice(self) -> bool {
        match self {
            Kind::Slice(Slice { class, .. }) => class.is_some_and(DynptrClass::is_packet),
            _ => false,
        }
    }

    /// Whether it is a socket as the UAPI shows it.
    pub(crate) fn is_socket(self) -> bool {
        matches!(self, Kind::Socket | Kind::SockCommon | Kind::TcpSock | Kind::XdpSock)
    }

    /// Whether it is a pointer.
    pub(crate) fn is_pointer(self) -> bool {
        !matches!(self, Kind::Invalid | Kind::Scalar)
    }
}

/// The contents of a register or of a spilled register.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Value {
    pub(crate) kind: Kind,
    pub(crate) or_null: bool,
    pub(crate) off: i32,
    pub(crate) id: u32,
    pub(crate) ref_id: u32,
    pub(crate) node: Node,
    pub(crate) scalar: Scalar,
}

// Copying values is what a walk does most.
const _: () = assert!(size_of::<Value>() <= 96);

impl Value {
    /// Never written.
    pub(crate) const INVALID: Value = Value {
        kind: Kind::Invalid,
        or_null: false,
        off: 0,
        id: 0,
        ref_id: 0,
        node: Node::NONE,
        scalar: Scalar::UNKNOWN,
    };

    /// A number that comes from nowhere.
    pub(crate) const fn number(scalar: Scalar) -> Value {
        Value { kind: Kind::Scalar, scalar, ..Value::INVALID }
    }

    /// A number of which nothing is known.
    pub(crate) const UNKNOWN: Value = Value::number(Scalar::UNKNOWN);

    /// A constant.
    pub(crate) const fn constant(x: u64) -> Value {
        Value::number(Scalar::constant(x))
    }

    /// A pointer to the start of something.
    pub(crate) const fn pointer(kind: Kind) -> Value {
        Value { kind, scalar: Scalar::constant(0), ..Value::INVALID }
    }

    /// Whether all but the node is equal; what differs most often comes first.
    pub(crate) fn same_but_for_node(&self, other: &Value) -> bool {
        self.scalar == other.scalar
            && self.id == other.id
            && self.off == other.off
            && self.ref_id == other.ref_id
            && self.or_null == other.or_null
            && self.kind == other.kind
    }

    /// Whether nothing else can be related to it.
    #[inline]
    pub(crate) fn has_no_id(&self) -> bool {
        self.id == 0 && self.ref_id == 0
    }

    /// Whether it is a number.
    #[inline]
    pub(crate) fn is_scalar(&self) -> bool {
        matches!(self.kind, Kind::Scalar)
    }

    /// Whether it is the number 0.
    pub(crate) fn is_zero(&self) -> bool {
        self.is_scalar() && self.scalar.as_constant() == Some(0)
    }

    /// The number, if it is a known one.
    pub(crate) fn as_constant(&self) -> Option<u64> {
        if self.is_scalar() { self.scalar.as_constant() } else { None }
    }

    /// The offset from the base, if it is known: constant plus variable part.
    pub(crate) fn fixed_offset(&self) -> Option<i64> {
        let variable = self.scalar.as_constant()?;
        Some(i64::from(self.off).wrapping_add(variable as i64))
    }

    /// Forgets which numbers it is a copy of.
    pub(crate) fn clear_id(&mut self) {
        self.id = 0;
        self.off = 0;
    }

    /// Whether it certainly is not NULL; a wide variable part could wrap to it.
    pub(crate) fn is_not_null(&self) -> bool {
        let wide = self.scalar.wide();
        if self.or_null || wide.smin <= -MAX_VAR_OFF || wide.smax >= MAX_VAR_OFF {
            return false;
        }
        match self.kind {
            Kind::Socket
            | Kind::TcpSock
            | Kind::XdpSock
            | Kind::SockCommon
            | Kind::MapValue(_)
            | Kind::MapKey(_)
            | Kind::Memory { .. }
            | Kind::ReadOnlyMemory { .. }
            | Kind::Slice(_)
            | Kind::ConstMap(_) => true,
            Kind::Allocated(object) => self.ref_id != 0 || !object.rcu && !object.percpu,
            Kind::Btf { .. } => self.is_trusted(),
            _ => false,
        }
    }

    /// Whether what it points to certainly lives as long as the program holds the pointer.
    pub(crate) fn is_trusted(&self) -> bool {
        if self.ref_id != 0 {
            return true;
        }
        let trusted = match self.kind {
            Kind::Socket | Kind::SockCommon | Kind::TcpSock | Kind::ConstMap(_) => true,
            Kind::Btf { trust, .. } => trust.is_trusted(),
            _ => false,
        };
        trusted && !self.or_null
    }

    /// The kernel's name of the kind, `_or_null` included.
    pub(crate) fn type_name(&self) -> TypeName {
        TypeName { kind: self.kind, or_null: self.or_null }
    }
}

/// A kind as the kernel's messages name it.
#[derive(Clone, Copy)]
pub(crate) struct TypeName {
    kind: Kind,
    or_null: bool,
}

impl fmt::Display for TypeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Kind::Btf { trust, .. } = self.kind {
            trust.fmt(f)?;
        }
        match (self.kind, self.or_null) {
            (Kind::Btf { .. }, true) => f.write_str("ptr_or_null_"),
            (kind @ Kind::Allocated(_), true) => write!(f, "{}or_null_", kind.name()),
            (kind, true) => write!(f, "{}_or_null", kind.name()),
            (kind, false) => f.write_str(kind.name()),
        }
    }
}
