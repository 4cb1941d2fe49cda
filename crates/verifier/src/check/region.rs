//! Memory of known size: map values, records, the packet as far as it was proved; and sockets.

use crate::check::memory::Place;
use crate::check::pointer_compare::facts_of;
use crate::explore::Walk;
use crate::input::MapFacts;
use crate::rejection::{Check, Rule, detailed, fault, unsupported};
use crate::state::value::{Kind, MAX_VAR_OFF, MapRef, Reach, Value};
use skep_bpf::insn::Reg;
use skep_bpf::platform::context::{COMMON_SOCKET, FULL_SOCKET, TCP_SOCKET};
use skep_bpf::platform::{Access, FieldAccess, MapFlags, MapType, ProgType};

impl Walk<'_> {
    /// What is known of a map.
    pub(crate) fn map(&self, map: MapRef) -> Check<&MapFacts> {
        match facts_of(self.input.maps, map) {
            Some(facts) => Ok(facts),
            None => unsupported("a map of maps without a description of the maps in it"),
        }
    }

    /// Memory of `size` bytes, accessed from `off` plus the pointer's variable part.
    pub(crate) fn check_region(
        &self,
        reg: Reg,
        off: i64,
        bytes: i64,
        size: u32,
        zero_allowed: bool,
    ) -> Check {
        let pointer = self.state.as_written(reg);
        let number = reg.index();
        let bounds = pointer.scalar.wide();
        let first = bounds.smin.checked_add(off);
        let negative = match first {
            Some(first) => bounds.smin == i64::MIN || first < 0 || i32::try_from(first).is_err(),
            None => true,
        };
        if bounds.smin < 0 && negative {
            return fault(
                Rule::Unbounded,
                format!(
                    "R{number} min value is negative, either use unsigned index or do a if (index >=0) check."
                ),
            );
        }
        if !fits(first, bytes, size, zero_allowed) {
            return detailed(
                Rule::MemoryBounds,
                outside(pointer, first, bytes, size),
                format!("R{number} min value is outside of the allowed memory range"),
            );
        }
        if bounds.umax >= MAX_VAR_OFF as u64 {
            return fault(
                Rule::Unbounded,
                format!(
                    "R{number} unbounded memory access, make sure to bounds check any such access"
                ),
            );
        }
        let last = (bounds.umax as i64).checked_add(off);
        if !fits(last, bytes, size, zero_allowed) {
            return detailed(
                Rule::MemoryBounds,
                outside(pointer, last, bytes, size),
                format!("R{number} max value is outside of the allowed memory range"),
            );
        }
        Ok(())
    }

    /// A map's value: bounds, and no touching of special fields.
    pub(crate) fn check_map_value(
        &self,
        reg: Reg,
        map: MapRef,
        off: i64,
        bytes: i64,
        zero_allowed: bool,
        direct: bool,
    ) -> Check {
        let facts = self.map(map)?;
        self.check_region(reg, off, bytes, facts.value_size, zero_allowed)?;
        let bounds = self.state.as_written(reg).scalar.wide();
        for field in &facts.fields {
            let (start, end) = (i64::from(field.offset), i64::from(field.offset + field.size));
            // The bounds were just found to be small.
            let (first, last) = (bounds.smin + off, bounds.umax as i64 + off + bytes);
            if first >= end || start >= last {
                continue;
            }
            if field.kind.is_pointer() {
                if direct {
                    let fixed = self.state.reg(reg).scalar.as_constant();
                    let place = fixed.map(|x| off.wrapping_add(x as i64));
                    self.check_pointer_access(field, place, bytes)?;
                    continue;
                }
                return fault(
                    Rule::Permission,
                    format!("{} cannot be accessed indirectly by helper", field.kind.name()),
                );
            }
            return fault(
                Rule::Permission,
                format!("{} cannot be accessed directly by load/store", field.kind.name()),
            );
        }
        Ok(())
    }

    /// Programs may only read some maps, and only write others.
    pub(crate) fn check_map_permission(
        &self,
        map: MapRef,
        off: i64,
        bytes: i64,
        access: Access,
    ) -> Check {
        let facts = self.map(map)?;
        let (flag, what) = match access {
            Access::Write => (MapFlags::RDONLY_PROG, "write into"),
            Access::Read => (MapFlags::WRONLY_PROG, "read from"),
        };
        if facts.flags.contains(flag) {
            return fault(
                Rule::Permission,
                format!(
                    "{what} map forbidden, value_size={} off={off} size={bytes}",
                    facts.value_size
                ),
            );
        }
        Ok(())
    }

    /// The bytes that a checked load reads, if nothing ever changes them.
    pub(crate) fn constant_at(&self, pointer: &Value, place: Place) -> Option<u64> {
        let Kind::MapValue(map) = pointer.kind else { return None };
        let facts = facts_of(self.input.maps, map)?;
        if facts.map_type != MapType::ARRAY || facts.max_entries != 1 || map.inner {
            return None;
        }
        let start = pointer.fixed_offset()?.checked_add(i64::from(place.off))?;
        let start = usize::try_from(start).ok()?;
        let end = start.checked_add(place.size.bytes() as usize)?;
        let bytes = facts.constant_bytes()?.get(start..end)?;
        let mut word = [0; 8];
        word[..bytes.len()].copy_from_slice(bytes);
        Some(u64::from_le_bytes(word))
    }

    /// The packet or its metadata.
    pub(crate) fn check_packet(&self, reg: Reg, off: i64, bytes: i64, zero_allowed: bool) -> Check {
        let pointer = self.state.as_written(reg);
        let number = reg.index();
        if pointer.scalar.wide().smin < 0 {
            return fault(
                Rule::Unbounded,
                format!(
                    "R{number} min value is negative, either use unsigned index or do a if (index >=0) check."
                ),
            );
        }
        let mut details = None;
        if let Some(Reach::Bytes(reach)) = pointer.kind.reach() {
            if fits(Some(off), bytes, reach, zero_allowed) {
                return Ok(());
            }
            details = Some(format!(
                "invalid access to packet, off={off} size={bytes}, R{number}(id={},off={},r={reach})",
                pointer.id, off
            ));
        }
        detailed(Rule::PacketBounds, details, format!("R{number} offset is outside of the packet"))
    }

    /// Whether programs of this type may write to the packet by stores.
    pub(crate) fn may_write_packet(&self) -> bool {
        const WRITERS: &[ProgType] = &[
            ProgType::SCHED_CLS,
            ProgType::SCHED_ACT,
            ProgType::XDP,
            ProgType::LWT_XMIT,
            ProgType::SK_SKB,
            ProgType::SK_MSG,
            ProgType::CGROUP_SOCKOPT,
        ];
        WRITERS.contains(&self.input.prog_type)
    }

    /// A socket as the UAPI shows it.
    pub(crate) fn check_socket(
        &self,
        reg: Reg,
        pointer: &Value,
        off: i64,
        place: Place,
        access: Access,
    ) -> Check {
        let number = reg.index();
        if access == Access::Write {
            return fault(
                Rule::Permission,
                format!("R{number} cannot write into {}", pointer.type_name()),
            );
        }
        let size = place.size.bytes();
        let by_table = |fields: &FieldAccess| {
            let off = u32::try_from(off).ok();
            off.is_some_and(|off| fields.allows(off, size, Access::Read).is_some())
        };
        let allowed = match pointer.kind {
            Kind::Socket => by_table(&FULL_SOCKET),
            Kind::SockCommon => by_table(&COMMON_SOCKET),
            Kind::TcpSock => by_table(&TCP_SOCKET),
            // The only field is the number of the queue.
            Kind::XdpSock => off == 0 && size == 4,
            _ => false,
        };
        if !allowed || pointer.scalar.as_constant() != Some(0) {
            return fault(
                Rule::MemoryBounds,
                format!(
                    "R{number} invalid {} access off={off} size={}",
                    pointer.type_name(),
                    place.size.bytes()
                ),
            );
        }
        Ok(())
    }
}

/// What the kernel says first of an access outside of memory of known size.
fn outside(pointer: &Value, off: Option<i64>, bytes: i64, size: u32) -> Option<String> {
    let off = off?;
    Some(match pointer.kind {
        Kind::MapValue(_) => {
            format!("invalid access to map value, value_size={size} off={off} size={bytes}")
        }
        _ => format!("invalid access to memory, mem_size={size} off={off} size={bytes}"),
    })
}

/// Whether `bytes` bytes at an offset lie in memory of a size.
fn fits(off: Option<i64>, bytes: i64, size: u32, zero_allowed: bool) -> bool {
    let Some(off) = off else { return false };
    let size_ok = bytes > 0 || (bytes == 0 && zero_allowed);
    off >= 0 && size_ok && off.checked_add(bytes).is_some_and(|end| end <= i64::from(size))
}
