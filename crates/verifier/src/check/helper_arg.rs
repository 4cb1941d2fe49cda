//! What a helper requires of its arguments.

use crate::check::call::ARGUMENTS;
use crate::check::dynptr::{DynptrFacts, DynptrPlace};
use crate::check::memory::check_buffer;
use crate::explore::Walk;
use crate::kernel::layout;
use crate::kernel::trust::Trust;
use crate::rejection::{Check, Rule, fault, unsupported};
use crate::state::stack::{Byte, byte_of, slot_of};
use crate::state::value::{Kind, MAX_VAR_OFF, MapRef, TypeName, Value};
use skep_bpf::insn::{HelperId, Reg};
use skep_bpf::platform::helper::{HelperRow, MemoryUse};
use skep_bpf::platform::{Access, ArgKind, MapType, ProgType};

/// What all sockets of the kernel begin with.
const SOCKET_TYPE: &str = "sock_common";

/// What was learnt from the arguments of one call.
#[derive(Default)]
pub(crate) struct Arguments {
    /// The map that was passed.
    pub(crate) map: Option<MapRef>,
    /// The reference that was passed.
    pub(crate) reference: u32,
    /// The argument whose reference is given up.
    pub(crate) released: Option<Reg>,
    /// Stack that the helper fills: the pointer and the number of bytes.
    pub(crate) filled: Option<(Reg, i64)>,
    /// The upper bound of the last size.
    pub(crate) max_size: u64,
    /// The size of the memory that is returned.
    pub(crate) returned_size: u64,
    /// The key, if it is known.
    pub(crate) constant_key: Option<u64>,
    /// The dynamic pointer that was passed.
    pub(crate) dynptr: Option<DynptrFacts>,
    /// The dynamic pointer that is given up.
    pub(crate) released_dynptr: Option<DynptrPlace>,
    /// The map that holds the timer that was passed.
    pub(crate) timer: Option<MapRef>,
    /// The function that is called back.
    pub(crate) function: Option<usize>,
}

/// The kinds of pointers that an argument may be, as the kernel names them.
struct Accepted {
    names: &'static str,
    accepts: fn(&Value) -> bool,
}

const MEMORY: Accepted = Accepted {
    names: "fp, pkt, pkt_meta, map_key, map_value, mem, ringbuf_mem, buf, trusted_ptr_",
    accepts: |value| match value.kind {
        Kind::Slice(slice) => !slice.read_only,
        Kind::Buffer { read_only } => !read_only,
        kind => is_memory(kind),
    },
};
/// The same, and memory that can only be read.
const READABLE: Accepted = Accepted {
    accepts: |value| {
        is_memory(value.kind)
            || matches!(
                value.kind,
                Kind::ReadOnlyMemory { .. } | Kind::Slice(_) | Kind::Buffer { .. }
            )
    },
    ..MEMORY
};
/// Keys and values of maps: what a dynamic pointer gave counts only if its kind is not noted.
const ELEMENT: Accepted = Accepted {
    accepts: |value| match value.kind {
        Kind::Slice(slice) => !slice.read_only && slice.class.is_none(),
        Kind::Buffer { read_only } => !read_only,
        kind => is_memory(kind),
    },
    ..MEMORY
};

fn is_memory(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Stack { .. }
            | Kind::Packet(_)
            | Kind::PacketMeta(_)
            | Kind::MapValue(_)
            | Kind::MapKey(_)
            | Kind::Memory { .. }
    )
}
const SOCK_COMMON: Accepted = Accepted {
    names: "sock_common, sock, tcp_sock, xdp_sock",
    accepts: |value| value.kind.is_socket(),
};
const ANY_SOCKET: Accepted = Accepted {
    names: "sock_common, sock, tcp_sock, xdp_sock, ptr_, trusted_ptr_",
    accepts: |value| match value.kind {
        Kind::Btf { trust, .. } => trust == Trust::PLAIN || trust == Trust::TRUSTED,
        kind => kind.is_socket(),
    },
};
const OBJECT: Accepted = Accepted {
    names: "ptr_, trusted_ptr_, rcu_ptr_",
    accepts: |value| {
        const TAKEN: [Trust; 3] = [Trust::PLAIN, Trust::TRUSTED, Trust::RCU];
        matches!(value.kind, Kind::Btf { trust, .. } if TAKEN.contains(&trust))
    },
};
const FULL_SOCKET: Accepted =
    Accepted { names: "sock", accepts: |value| value.kind == Kind::Socket };
const CONTEXT: Accepted = Accepted { names: "ctx", accepts: |value| value.kind == Kind::Context };
const CONST_MAP: Accepted =
    Accepted { names: "map_ptr", accepts: |value| matches!(value.kind, Kind::ConstMap(_)) };
const SCALAR: Accepted = Accepted { names: "scalar", accepts: Value::is_scalar };
const MAP_VALUE: Accepted =
    Accepted { names: "map_value", accepts: |value| matches!(value.kind, Kind::MapValue(_)) };
const DYNPTR: Accepted = Accepted {
    names: "fp, dynptr_ptr",
    accepts: |value| matches!(value.kind, Kind::Stack { .. } | Kind::ConstDynptr),
};
const STACK: Accepted =
    Accepted { names: "fp", accepts: |value| matches!(value.kind, Kind::Stack { .. }) };
const FUNCTION: Accepted =
    Accepted { names: "func", accepts: |value| matches!(value.kind, Kind::Function(_)) };
const LOCKABLE: Accepted = Accepted {
    names: "map_value, ptr_",
    accepts: |value| match value.kind {
        Kind::Allocated(object) => object.is_owned() && !object.percpu,
        kind => matches!(kind, Kind::MapValue(_)),
    },
};
const RECORD: Accepted = Accepted {
    names: "ringbuf_mem",
    accepts: |value| matches!(value.kind, Kind::Memory { record: true, .. }),
};

/// Helpers whose memory the kernel does not declare to be read only, though they only read it.
const NOT_DECLARED_READ_ONLY: &[HelperId] = &[
    HelperId::SYS_BPF,
    HelperId::TCP_RAW_GEN_SYNCOOKIE_IPV4,
    HelperId::TCP_RAW_GEN_SYNCOOKIE_IPV6,
];

impl Walk<'_> {
    /// One argument; `index` 0 is r1.
    pub(crate) fn check_argument(
        &mut self,
        row: &HelperRow,
        index: usize,
        arguments: &mut Arguments,
    ) -> Check {
        let Some(kind) = row.arg_kind(index, self.input.prog_type) else { return Ok(()) };
        if kind == ArgKind::Unchecked {
            return Ok(());
        }
        let Some(&reg) = ARGUMENTS.get(index) else { return Ok(()) };
        let value = self.read(reg)?;
        if kind == ArgKind::Anything {
            return Ok(());
        }
        if value.kind.is_packet() && !self.may_read_packet(row) {
            return fault(Rule::HelperArgument, "helper access to the packet is not allowed");
        }
        let null_allowed = may_be_null(kind);
        if value.is_zero() && null_allowed {
            self.mark_precise(&value);
        } else {
            let accepted = self.accepted(row.id, kind, arguments)?;
            let nullable = value.or_null && !null_allowed;
            if nullable || !(accepted.accepts)(&value) {
                return refuse_kind(reg, value.type_name(), accepted.names);
            }
            self.check_argument_offset(reg, &value, kind)?;
        }
        if is_release(kind) {
            if value.ref_id == 0 && !value.is_zero() {
                return fault(
                    Rule::Reference,
                    format!("R{} must be referenced when passed to release function", reg.index()),
                );
            }
            arguments.released = Some(reg);
        }
        if value.ref_id != 0 {
            if arguments.reference != 0 {
                return unsupported("two referenced arguments in one call");
            }
            arguments.reference = value.ref_id;
        }
        self.check_contents(row, index, kind, reg, &value, arguments)
    }

    /// What a pointer argument must be. Maps of sockets take sockets as their values.
    fn accepted(&self, id: HelperId, kind: ArgKind, arguments: &Arguments) -> Check<Accepted> {
        Ok(match kind {
            ArgKind::MapValue { .. } => {
                let map = arguments.map.map(|map| self.map(map)).transpose()?;
                match map.map(|map| map.map_type) {
                    Some(MapType::SOCKMAP | MapType::SOCKHASH) => ANY_SOCKET,
                    _ => ELEMENT,
                }
            }
            ArgKind::MapKey => ELEMENT,
            ArgKind::Memory { uses: MemoryUse::Read, .. }
                if !NOT_DECLARED_READ_ONLY.contains(&id) =>
            {
                READABLE
            }
            ArgKind::Memory { .. } | ArgKind::FixedMemory { .. } => MEMORY,
            ArgKind::Scalar | ArgKind::Size { .. } | ArgKind::AllocSize => SCALAR,
            ArgKind::Context { .. } => CONTEXT,
            ArgKind::ConstMap => CONST_MAP,
            ArgKind::ConstString => MAP_VALUE,
            ArgKind::SpinLock => LOCKABLE,
            ArgKind::ReleasedRecord => RECORD,
            ArgKind::SockCommon => SOCK_COMMON,
            ArgKind::FullSocketOrNull => FULL_SOCKET,
            ArgKind::ReleasedSocket | ArgKind::Socket { .. } => ANY_SOCKET,
            ArgKind::Unchecked | ArgKind::Anything => SCALAR,
            ArgKind::Stack { .. } => STACK,
            ArgKind::Function => FUNCTION,
            ArgKind::Dynptr(_) => DYNPTR,
            ArgKind::Timer => MAP_VALUE,
            ArgKind::KptrSlot | ArgKind::ReleasedKptr => {
                return unsupported("kernel pointers in map values");
            }
            ArgKind::Btf { .. } => OBJECT,
            ArgKind::PercpuBtf => return unsupported("per-CPU variables of the kernel"),
        })
    }

    /// Which offsets a pointer argument may have.
    pub(crate) fn check_argument_offset(&self, reg: Reg, value: &Value, kind: ArgKind) -> Check {
        if is_release(kind) {
            if value.off != 0 {
                return fault(
                    Rule::HelperArgument,
                    format!(
                        "R{} must have zero offset when passed to release func or trusted arg to kfunc",
                        reg.index()
                    ),
                );
            }
            return self.check_unmodified(reg, value, false);
        }
        match value.kind {
            Kind::Stack { .. } | Kind::Packet(_) | Kind::PacketMeta(_) | Kind::Scalar => Ok(()),
            Kind::MapValue(_)
            | Kind::MapKey(_)
            | Kind::Memory { .. }
            | Kind::ReadOnlyMemory { .. }
            | Kind::Buffer { .. }
            | Kind::Slice(_)
                if !value.or_null =>
            {
                Ok(())
            }
            Kind::Btf { .. } => self.check_unmodified(reg, value, true),
            Kind::Allocated(object) => {
                let fixed = !value.or_null && !object.percpu && (object.borrowed || !object.rcu);
                self.check_unmodified(reg, value, fixed)
            }
            _ => self.check_unmodified(reg, value, false),
        }
    }

    /// What the argument points to, or its value.
    fn check_contents(
        &mut self,
        row: &HelperRow,
        index: usize,
        kind: ArgKind,
        reg: Reg,
        value: &Value,
        arguments: &mut Arguments,
    ) -> Check {
        match kind {
            ArgKind::ConstMap => {
                if let Kind::ConstMap(map) = value.kind {
                    self.check_timer_map(arguments.timer, map)?;
                    arguments.map = Some(map);
                }
                Ok(())
            }
            ArgKind::Function => {
                if let Kind::Function(function) = value.kind {
                    arguments.function = Some(usize::from(function));
                }
                Ok(())
            }
            ArgKind::Timer => {
                arguments.timer = Some(self.check_timer(reg, value)?);
                Ok(())
            }
            ArgKind::MapKey => {
                let map = self.map_argument(arguments)?;
                let size = i64::from(self.map(map)?.key_size);
                self.helper_memory(reg, size, Access::Read, false, None)?;
                arguments.constant_key = self.constant_key(map, value)?;
                Ok(())
            }
            ArgKind::MapValue { uses, .. } => {
                if let Kind::Btf { .. } = value.kind {
                    return self.check_object_argument(reg, value, SOCKET_TYPE);
                }
                if value.is_zero() || value.kind.is_socket() {
                    return Ok(());
                }
                let map = self.map_argument(arguments)?;
                let size = i64::from(self.map(map)?.value_size);
                let raw = (uses == MemoryUse::Write).then_some(&mut arguments.filled);
                self.helper_memory(reg, size, access_of(uses), false, raw)
            }
            ArgKind::FixedMemory { uses, size } => {
                let raw = (uses == MemoryUse::Write).then_some(&mut arguments.filled);
                self.helper_memory(reg, i64::from(size), access_of(uses), false, raw)?;
                let value = self.state.reg(reg);
                self.check_aligned(&value, 0, size, uses != MemoryUse::Read)
            }
            ArgKind::Size { or_zero } => {
                let before = index.checked_sub(1);
                let uses = before
                    .and_then(|before| row.arg_kind(before, self.input.prog_type))
                    .and_then(memory_use);
                self.check_size(reg, value, uses.unwrap_or(MemoryUse::Read), or_zero, arguments)
            }
            ArgKind::AllocSize => match value.as_constant() {
                Some(size) => {
                    arguments.returned_size = size;
                    self.mark_precise(value);
                    Ok(())
                }
                None => fault(
                    Rule::HelperArgument,
                    format!("R{} is not a known constant'", reg.index()),
                ),
            },
            ArgKind::Dynptr(uses) => self.dynptr_argument(reg, uses, arguments),
            ArgKind::SpinLock => self.check_lock(row.id, reg, value),
            ArgKind::ConstString => self.check_string(reg, value),
            ArgKind::Btf { type_name, .. } => self.check_object_argument(reg, value, type_name),
            ArgKind::Socket { .. } | ArgKind::ReleasedSocket => {
                self.check_object_argument(reg, value, SOCKET_TYPE)
            }
            _ => Ok(()),
        }
    }

    /// An object of the kernel is of a type, or begins with one.
    fn check_object_argument(&self, reg: Reg, value: &Value, needed: &str) -> Check {
        let Kind::Btf { type_id, .. } = value.kind else { return Ok(()) };
        let types = self.kernel_types()?;
        let wanted = self.kernel_struct(needed)?;
        let off = u32::try_from(value.off).ok();
        if off.is_some_and(|off| layout::is_at(types, type_id, off, wanted, false)) {
            return Ok(());
        }
        let found = types.name(type_id);
        fault(
            Rule::HelperArgument,
            format!("R{} is of type {found} but {needed} is expected", reg.index()),
        )
    }

    fn map_argument(&self, arguments: &Arguments) -> Check<MapRef> {
        match arguments.map {
            Some(map) => Ok(map),
            None => fault(Rule::HelperArgument, "invalid map_ptr to access map->key"),
        }
    }

    /// The size of the memory in the register before.
    pub(crate) fn check_size(
        &mut self,
        reg: Reg,
        value: &Value,
        uses: MemoryUse,
        zero_allowed: bool,
        arguments: &mut Arguments,
    ) -> Check {
        let number = reg.index();
        let bounds = value.scalar.wide();
        arguments.max_size = bounds.umax;
        if bounds.smin < 0 {
            return fault(
                Rule::HelperArgument,
                format!("R{number} min value is negative, either use unsigned or 'var &= const'"),
            );
        }
        if bounds.umin == 0 && !zero_allowed {
            return fault(
                Rule::HelperArgument,
                format!(
                    "R{number} invalid zero-sized read: u64=[{},{}]",
                    bounds.umin as i64, bounds.umax as i64
                ),
            );
        }
        if bounds.umax >= MAX_VAR_OFF as u64 {
            return fault(
                Rule::Unbounded,
                format!(
                    "R{number} unbounded memory access, use 'var &= const' or 'if (var < const)'"
                ),
            );
        }
        let Some(memory) = Reg::new(number as u8 - 1) else { return Ok(()) };
        // A helper that may write less than the largest size does not initialise all.
        let raw = uses == MemoryUse::Write && value.as_constant().is_some();
        let filled = raw.then_some(&mut arguments.filled);
        // The bound was just found to be small.
        let size = bounds.umax as i64;
        self.helper_memory(memory, size, access_of(uses), zero_allowed, filled)?;
        self.mark_precise(value);
        Ok(())
    }

    /// Memory that a helper reads or writes. If it writes all, `filled` takes the stack it fills
    /// instead of this asking for initialised bytes.
    pub(crate) fn helper_memory(
        &mut self,
        reg: Reg,
        size: i64,
        access: Access,
        zero_allowed: bool,
        filled: Option<&mut Option<(Reg, i64)>>,
    ) -> Check {
        let value = self.state.reg(reg);
        let off = i64::from(value.off);
        if value.or_null {
            return refuse_kind(reg, value.type_name(), "fp");
        }
        match value.kind {
            Kind::Packet(_) | Kind::PacketMeta(_) => {
                self.check_packet(reg, off, size, zero_allowed)
            }
            Kind::MapValue(map) => {
                self.check_map_permission(map, off, size, access)?;
                self.check_map_value(reg, map, off, size, zero_allowed, false)
            }
            Kind::MapKey(_) if access == Access::Write => fault(
                Rule::Permission,
                format!("R{} cannot write into {}", reg.index(), value.type_name()),
            ),
            Kind::MapKey(map) => {
                let available = self.map(map)?.key_size;
                self.check_region(reg, off, size, available, zero_allowed)
            }
            Kind::Memory { size: available, .. } => {
                self.check_region(reg, off, size, available, zero_allowed)
            }
            Kind::ReadOnlyMemory { size: available } if access == Access::Read => {
                self.check_region(reg, off, size, available, zero_allowed)
            }
            Kind::Slice(slice) if slice.read_only && access == Access::Write => fault(
                Rule::Permission,
                format!("R{} cannot write into {}", reg.index(), value.type_name()),
            ),
            Kind::Slice(slice) => self.check_region(reg, off, size, slice.size, zero_allowed),
            Kind::Buffer { read_only: true } if access == Access::Write => fault(
                Rule::Permission,
                format!("R{} cannot write into {}", reg.index(), value.type_name()),
            ),
            Kind::Buffer { .. } => check_buffer(reg, &value, off, size),
            Kind::Stack { .. } => {
                let fixed = value.scalar.as_constant().is_some();
                match filled {
                    Some(filled) if fixed => {
                        if size == 0 && !zero_allowed {
                            return fault(Rule::HelperArgument, "invalid zero-sized read");
                        }
                        let range = self.stack_range(reg, off, size, access)?;
                        self.check_no_dynptr(range)?;
                        *filled = Some((reg, size));
                        Ok(())
                    }
                    _ => self.check_initialised(reg, off, size, zero_allowed, access),
                }
            }
            Kind::Context if self.input.prog_type == ProgType::SYSCALL => {
                unsupported("contexts of syscall programs as memory")
            }
            _ if zero_allowed && size == 0 && value.is_zero() => Ok(()),
            _ => refuse_kind(reg, value.type_name(), "fp"),
        }
    }

    /// Whether a helper, or a load, may read the packet in programs of this type.
    fn may_read_packet(&self, row: &HelperRow) -> bool {
        let readers = [
            ProgType::LWT_IN,
            ProgType::LWT_OUT,
            ProgType::LWT_SEG6LOCAL,
            ProgType::SK_REUSEPORT,
            ProgType::FLOW_DISSECTOR,
            ProgType::CGROUP_SKB,
        ];
        let prog_type = self.input.prog_type;
        if prog_type == ProgType::CGROUP_SOCKOPT {
            return true;
        }
        row.traits.packet_access && (readers.contains(&prog_type) || self.may_write_packet())
    }

    /// The key of an array, if it lies on the stack and is known: a look-up cannot fail then.
    fn constant_key(&mut self, map: MapRef, key: &Value) -> Check<Option<u64>> {
        let facts = self.map(map)?;
        let size = facts.key_size as usize;
        let Kind::Stack { frame } = key.kind else { return Ok(None) };
        let is_array = matches!(facts.map_type, MapType::ARRAY | MapType::PERCPU_ARRAY);
        let Some(off) = key.fixed_offset().filter(|_| is_array && size <= 8) else {
            return Ok(None);
        };
        let Some(slot) = self.state.frame(frame).slot(slot_of(off)) else {
            return Ok(None);
        };
        let bytes = &slot.bytes[byte_of(off)..];
        let run = |kind: Byte| bytes.iter().take_while(|byte| **byte == kind).count();
        if run(Byte::Zero) >= size {
            return Ok(Some(0));
        }
        if !slot.is_spilled_scalar() || run(Byte::Spill) != size {
            return Ok(None);
        }
        let constant = slot.value.as_constant();
        if constant.is_some() {
            self.mark_precise(&slot.value);
        }
        Ok(constant)
    }

    /// A string that ends, in a map that nothing changes.
    fn check_string(&mut self, reg: Reg, value: &Value) -> Check {
        let number = reg.index();
        let Kind::MapValue(map) = value.kind else { return Ok(()) };
        let facts = self.map(map)?;
        let Some(bytes) = facts.constant_bytes() else {
            return fault(
                Rule::HelperArgument,
                format!("R{number} does not point to a readonly map'"),
            );
        };
        if value.scalar.as_constant().is_none() {
            return fault(Rule::HelperArgument, format!("R{number} is not a constant address'"));
        }
        let rest = i64::from(facts.value_size) - i64::from(value.off);
        let start = value.fixed_offset().and_then(|off| usize::try_from(off).ok());
        let string = start.and_then(|start| bytes.get(start..)).unwrap_or(&[]);
        let ends = string.contains(&0);
        self.check_map_value(reg, map, i64::from(value.off), rest, false, false)?;
        if !ends {
            return fault(Rule::HelperArgument, "string is not zero-terminated");
        }
        Ok(())
    }
}

fn refuse_kind<T>(reg: Reg, found: TypeName, expected: &str) -> Check<T> {
    fault(Rule::HelperArgument, format!("R{} type={found} expected={expected}", reg.index()))
}

fn access_of(uses: MemoryUse) -> Access {
    match uses {
        MemoryUse::Read => Access::Read,
        MemoryUse::ReadWrite | MemoryUse::Write => Access::Write,
    }
}

fn memory_use(kind: ArgKind) -> Option<MemoryUse> {
    match kind {
        ArgKind::Memory { uses, .. } => Some(uses),
        _ => None,
    }
}

fn is_release(kind: ArgKind) -> bool {
    matches!(kind, ArgKind::ReleasedRecord | ArgKind::ReleasedSocket | ArgKind::ReleasedKptr)
}

fn may_be_null(kind: ArgKind) -> bool {
    match kind {
        ArgKind::Context { or_null }
        | ArgKind::MapValue { or_null, .. }
        | ArgKind::Memory { or_null, .. }
        | ArgKind::Stack { or_null }
        | ArgKind::Socket { or_null }
        | ArgKind::Btf { or_null, .. } => or_null,
        ArgKind::FullSocketOrNull | ArgKind::ReleasedKptr => true,
        _ => false,
    }
}

/// Helpers that look a socket at more closely: the result is the same reference.
pub(crate) fn is_cast(id: HelperId) -> bool {
    const CASTS: &[HelperId] = &[
        HelperId::TCP_SOCK,
        HelperId::SK_FULLSOCK,
        HelperId::SKC_TO_TCP_SOCK,
        HelperId::SKC_TO_TCP6_SOCK,
        HelperId::SKC_TO_UDP6_SOCK,
        HelperId::SKC_TO_MPTCP_SOCK,
        HelperId::SKC_TO_TCP_TIMEWAIT_SOCK,
        HelperId::SKC_TO_TCP_REQUEST_SOCK,
    ];
    CASTS.contains(&id)
}
