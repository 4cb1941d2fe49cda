//! Loads, stores and atomic operations: alignment, then what the pointer's kind demands.

use crate::domain::Scalar;
use crate::explore::Walk;
use crate::rejection::{Check, Rule, fault};
use crate::state::value::{Kind, Value};
use crate::verified::Region;
use skep_bpf::insn::{Extend, Mem, Reg};
use skep_bpf::op::{AtomicOp, Size, Width};
use skep_bpf::platform::Access;

/// What a store writes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Stored {
    /// A register.
    Reg(Reg),
    /// An immediate.
    Imm(i32),
    /// Something.
    Unknown,
}

/// A load or store in the parts that checks need.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) base: Reg,
    /// The offset of the instruction; the pointer's own comes on top.
    pub(crate) off: i32,
    pub(crate) size: Size,
}

impl Place {
    /// The size in bytes.
    pub(crate) fn bytes(&self) -> i64 {
        i64::from(self.size.bytes())
    }

    fn of(mem: Mem, size: Size) -> Place {
        Place { base: mem.base, off: i32::from(mem.offset), size }
    }
}

impl Walk<'_> {
    /// A load instruction.
    pub(crate) fn load_insn(&mut self, dst: Reg, mem: Mem, size: Size, extend: Extend) -> Check {
        self.check_readable(mem.base)?;
        let kind = self.state.as_written(mem.base).kind;
        self.check_writable(dst)?;
        let value = self.load(Place::of(mem, size), extend, false)?;
        self.state.set(dst, value);
        self.same_pointers(kind)
    }

    /// A store instruction, operands read.
    pub(crate) fn store_insn(&mut self, mem: Mem, size: Size, stored: Stored) -> Check {
        let kind = self.state.as_written(mem.base).kind;
        self.store(Place::of(mem, size), stored)?;
        self.same_pointers(kind)
    }

    /// A load with acquire ordering.
    pub(crate) fn load_acquire(&mut self, dst: Reg, mem: Mem, size: Size) -> Check {
        let pointer = self.read(mem.base)?;
        self.check_writable(dst)?;
        self.check_atomic_kind(mem.base, "loads from", &pointer)?;
        let place = Place::of(mem, size);
        self.check_alignment(&place, true)?;
        let value = self.load(place, Extend::Zero, false)?;
        self.state.set(dst, value);
        self.same_pointers(pointer.kind)
    }

    /// A store with release ordering.
    pub(crate) fn store_release(&mut self, mem: Mem, size: Size, src: Reg) -> Check {
        self.read(src)?;
        let pointer = self.read(mem.base)?;
        self.check_atomic_kind(mem.base, "stores into", &pointer)?;
        let place = Place::of(mem, size);
        self.check_alignment(&place, true)?;
        self.store(place, Stored::Reg(src))?;
        self.same_pointers(pointer.kind)
    }

    /// An atomic read-modify-write operation.
    pub(crate) fn atomic(&mut self, op: AtomicOp, width: Width, mem: Mem, src: Reg) -> Check {
        self.read(src)?;
        let pointer = self.read(mem.base)?;
        if op == AtomicOp::Cmpxchg {
            self.read(Reg::R0)?;
        }
        self.check_atomic_kind(mem.base, "stores into", &pointer)?;
        let size = if width == Width::W32 { Size::W } else { Size::Dw };
        let place = Place::of(mem, size);
        let fetched = match op {
            AtomicOp::Cmpxchg => Some(Reg::R0),
            _ if op.row().fetch => Some(src),
            _ => None,
        };
        if let Some(reg) = fetched {
            // The kernel forgets the register before it looks at the memory, even if it is the
            // base.
            self.write(reg, Value::UNKNOWN)?;
        }
        self.check_alignment(&place, true)?;
        self.load(place, Extend::Zero, true)?;
        if let Some(reg) = fetched {
            let value = self.load(place, Extend::Zero, false)?;
            self.state.set(reg, value);
        }
        self.same_pointers(self.state.as_written(mem.base).kind)?;
        self.store(place, Stored::Unknown)
    }

    fn check_atomic_kind(&self, base: Reg, what: &str, pointer: &Value) -> Check {
        let refused = pointer.kind == Kind::Context
            || pointer.kind.is_packet()
            || pointer.kind == Kind::FlowKeys
            || pointer.kind.is_socket();
        if refused {
            return fault(
                Rule::Atomic,
                format!(
                    "BPF_ATOMIC {what} R{} {} is not allowed",
                    base.index(),
                    pointer.type_name()
                ),
            );
        }
        Ok(())
    }

    /// What a load gives; `discard` if it goes to no register.
    pub(crate) fn load(&mut self, place: Place, extend: Extend, discard: bool) -> Check<Value> {
        self.check_alignment(&place, false)?;
        match self.state.as_written(place.base).kind {
            Kind::Stack { .. } => return self.load_stack(place, extend, discard),
            Kind::Context => return self.load_context(place, extend),
            Kind::Btf { type_id, trust } => {
                let pointer = self.state.reg(place.base);
                return self.load_object(place, extend, &pointer, type_id, trust);
            }
            _ => {}
        }
        self.check_memory(place, Access::Read)?;
        let pointer = self.state.as_written(place.base);
        if let Kind::ConstMap(map) = pointer.kind {
            return self.load_map_field(place, extend, map);
        }
        if let Kind::MapValue(map) = pointer.kind {
            if let Some(field) = self.pointer_field(pointer, place)? {
                return self.load_pointer_field(map, &field);
            }
            if let Some(x) = self.constant_at(pointer, place) {
                return Ok(Value::number(Scalar::constant(x).extended(place.size, extend)));
            }
        }
        Ok(Value::number(Scalar::loaded(place.size, extend)))
    }

    /// A store.
    pub(crate) fn store(&mut self, place: Place, stored: Stored) -> Check {
        self.check_alignment(&place, false)?;
        match self.state.as_written(place.base).kind {
            Kind::Stack { .. } => return self.store_stack(place, stored),
            Kind::Context => return self.store_context(place, stored),
            _ => {}
        }
        self.check_memory(place, Access::Write)?;
        let pointer = self.state.as_written(place.base);
        match (self.pointer_field(pointer, place)?, pointer.kind) {
            (Some(field), Kind::MapValue(map)) => self.store_pointer_field(map, &field, stored),
            _ => Ok(()),
        }
    }

    /// An access to anything but stack and context.
    fn check_memory(&mut self, place: Place, access: Access) -> Check {
        let pointer = self.state.as_written(place.base);
        let reg = place.base;
        let off = i64::from(place.off) + i64::from(pointer.off);
        if pointer.or_null || !pointer.kind.is_pointer() {
            return self.not_a_pointer(reg, pointer);
        }
        match pointer.kind {
            Kind::MapValue(map) => {
                self.check_map_permission(map, off, place.bytes(), access)?;
                self.check_map_value(reg, map, off, place.bytes(), false, true)
            }
            Kind::MapKey(_) if access == Access::Write => {
                fault(Rule::Permission, format!("write to change key R{} not allowed", reg.index()))
            }
            Kind::MapKey(map) => {
                let size = self.map(map)?.key_size;
                self.check_region(reg, off, place.bytes(), size, false)
            }
            Kind::Memory { size, .. } => self.check_region(reg, off, place.bytes(), size, false),
            Kind::ReadOnlyMemory { .. } | Kind::UntrustedMemory if access == Access::Write => {
                fault(
                    Rule::Permission,
                    format!("R{} cannot write into {}", reg.index(), pointer.type_name()),
                )
            }
            Kind::ReadOnlyMemory { size } => {
                self.check_region(reg, off, place.bytes(), size, false)
            }
            Kind::Slice(slice) if slice.read_only && access == Access::Write => fault(
                Rule::Permission,
                format!("R{} cannot write into {}", reg.index(), pointer.type_name()),
            ),
            Kind::Slice(slice) => self.check_region(reg, off, place.bytes(), slice.size, false),
            Kind::UntrustedMemory => Ok(()),
            Kind::Allocated(object) => {
                let pointer = self.state.reg(reg);
                self.check_object_access(reg, &pointer, object, place, access)
            }
            Kind::Packet(_) | Kind::PacketMeta(_) => {
                if access == Access::Write && !self.may_write_packet() {
                    return fault(Rule::Permission, "cannot write into packet");
                }
                self.check_packet(reg, off, place.bytes(), false)
            }
            Kind::FlowKeys => check_flow_keys(off, place.bytes()),
            Kind::Socket | Kind::SockCommon | Kind::TcpSock | Kind::XdpSock => {
                self.check_socket(reg, pointer, off, place, access)
            }
            Kind::TracepointBuffer => check_buffer(reg, pointer, off, place.bytes()),
            Kind::Btf { type_id, trust } => {
                let pointer = self.state.reg(reg);
                self.store_object(place, &pointer, type_id, trust)
            }
            Kind::Buffer { read_only: true } if access == Access::Write => fault(
                Rule::Permission,
                format!("R{} cannot write into {}", reg.index(), pointer.type_name()),
            ),
            Kind::Buffer { .. } => check_buffer(reg, pointer, off, place.bytes()),
            Kind::ConstMap(map) => self.check_map_fields(reg, map, off, access),
            Kind::Invalid
            | Kind::Scalar
            | Kind::Context
            | Kind::Stack { .. }
            | Kind::ConstDynptr
            | Kind::Dynptr { .. }
            | Kind::Iterator { .. }
            | Kind::Interrupts
            | Kind::Function(_)
            | Kind::PacketEnd => self.not_a_pointer(reg, pointer),
        }
    }

    fn not_a_pointer<T>(&self, reg: Reg, pointer: &Value) -> Check<T> {
        let rule = if pointer.or_null { Rule::MaybeNull } else { Rule::NotAPointer };
        fault(rule, format!("R{} invalid mem access '{}'", reg.index(), pointer.type_name()))
    }

    /// Accesses are aligned where the kernel needs it: on the stack, and if asked for.
    pub(crate) fn check_alignment(&self, place: &Place, once: bool) -> Check {
        let pointer = self.state.as_written(place.base);
        let bytes = place.size.bytes();
        let on_stack = matches!(pointer.kind, Kind::Stack { .. });
        let strict = once || on_stack || self.input.profile.strict_alignment;
        self.check_aligned(pointer, place.off, bytes, strict)
    }

    /// A pointer with an offset is a multiple of a size.
    pub(crate) fn check_aligned(
        &self,
        pointer: &Value,
        off: i32,
        bytes: u32,
        strict: bool,
    ) -> Check {
        // Headers in packets are laid out for 4-byte fields two bytes off.
        const PACKET_ALIGNMENT: i64 = 2;
        if !strict || bytes == 1 {
            return Ok(());
        }
        let in_packet = pointer.kind.reach().is_some();
        let fixed = i64::from(pointer.off) + i64::from(off);
        let fixed = if in_packet { fixed + PACKET_ALIGNMENT } else { fixed };
        let tnum = pointer.scalar.tnum();
        let sum = tnum.add(Scalar::constant(fixed as u64).tnum());
        if sum.is_aligned(u64::from(bytes)) {
            return Ok(());
        }
        let what = match pointer.kind {
            Kind::Packet(_) | Kind::PacketMeta(_) => {
                return fault(
                    Rule::Alignment,
                    format!(
                        "misaligned packet access off {PACKET_ALIGNMENT}+{tnum}+{}+{off} size {bytes}",
                        pointer.off
                    ),
                );
            }
            Kind::FlowKeys => "flow keys ",
            Kind::MapValue(_) if !pointer.or_null => "value ",
            Kind::MapKey(_) => "key ",
            Kind::Context => "context ",
            Kind::Stack { .. } => "stack ",
            Kind::Socket if !pointer.or_null => "sock ",
            Kind::SockCommon if !pointer.or_null => "sock_common ",
            Kind::TcpSock if !pointer.or_null => "tcp_sock ",
            Kind::XdpSock if !pointer.or_null => "xdp_sock ",
            _ => "",
        };
        fault(
            Rule::Alignment,
            format!("misaligned {what}access off {tnum}+{}+{off} size {bytes}", pointer.off),
        )
    }

    /// An instruction uses pointers of kinds that are compiled in one way only.
    fn same_pointers(&mut self, pointer: Kind) -> Check {
        let at = self.at;
        let own_way = |kind: Kind| {
            kind == Kind::Context
                || kind.is_socket()
                || matches!(kind, Kind::Btf { .. } | Kind::Allocated(_))
        };
        let known = *self.pointer_kinds[at].get_or_insert(pointer);
        if !known.same_type(pointer) && (own_way(known) || own_way(pointer)) {
            return fault(Rule::MixedPointers, "same insn cannot be used with different pointers");
        }
        let region = match pointer {
            Kind::Stack { .. } => Region::Stack,
            Kind::Context => Region::Context,
            Kind::Packet(_) | Kind::PacketMeta(_) => Region::Packet,
            Kind::MapValue(map) if !map.inner => Region::MapValue(map.index),
            Kind::Memory { .. } | Kind::ReadOnlyMemory { .. } | Kind::Slice(_) => Region::Memory,
            _ => Region::Several,
        };
        let before = *self.regions[at].get_or_insert(region);
        if before != region {
            self.regions[at] = Some(Region::Several);
        }
        Ok(())
    }
}

fn check_flow_keys(off: i64, size: i64) -> Check {
    /// The size of `struct bpf_flow_keys`.
    const FLOW_KEYS_BYTES: i64 = 56;
    if off < 0 || off + size > FLOW_KEYS_BYTES {
        return fault(
            Rule::MemoryBounds,
            format!("invalid access to flow keys off={off} size={size}"),
        );
    }
    Ok(())
}

/// A buffer whose size is known only when the program is attached: an access must not depend on
/// what is known then.
pub(crate) fn check_buffer(reg: Reg, pointer: &Value, off: i64, size: i64) -> Check {
    let number = reg.index();
    let what = match pointer.kind {
        Kind::Buffer { read_only: true } => "rdonly",
        Kind::Buffer { read_only: false } => "rdwr",
        _ => "tracepoint",
    };
    if off < 0 {
        return fault(
            Rule::MemoryBounds,
            format!("R{number} invalid {what} buffer access: off={off}, size={size}"),
        );
    }
    if pointer.scalar.as_constant() != Some(0) {
        return fault(
            Rule::Unbounded,
            format!(
                "R{number} invalid variable buffer offset: off={off}, var_off={}",
                pointer.scalar.tnum()
            ),
        );
    }
    Ok(())
}
