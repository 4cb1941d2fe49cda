//! Loads from a map itself, by its pointer: fields of the structure that the kernel has for it.
//!
//! (Linux 6.18, `check_ptr_to_map_access`.)

use crate::check::memory::Place;
use crate::domain::Scalar;
use crate::explore::Walk;
use crate::kernel::layout::{self, Found};
use crate::rejection::{Check, Rule, fault, unsupported};
use crate::state::value::{Kind, MapRef, Value};
use skep_bpf::insn::{Extend, Reg};
use skep_bpf::platform::{Access, MapType};
use skep_btf::TypeId;

/// The structures of maps of each type.
const STRUCTURES: &[(&[MapType], &str)] = &[
    (
        &[
            MapType::ARRAY,
            MapType::PERCPU_ARRAY,
            MapType::PROG_ARRAY,
            MapType::PERF_EVENT_ARRAY,
            MapType::CGROUP_ARRAY,
            MapType::ARRAY_OF_MAPS,
        ],
        "bpf_array",
    ),
    (
        &[
            MapType::HASH,
            MapType::PERCPU_HASH,
            MapType::LRU_HASH,
            MapType::LRU_PERCPU_HASH,
            MapType::HASH_OF_MAPS,
        ],
        "bpf_htab",
    ),
    (&[MapType::STACK_TRACE], "bpf_stack_map"),
    (&[MapType::REUSEPORT_SOCKARRAY], "reuseport_array"),
    (&[MapType::DEVMAP, MapType::DEVMAP_HASH], "bpf_dtab"),
    (&[MapType::RINGBUF, MapType::USER_RINGBUF], "bpf_ringbuf_map"),
    (&[MapType::LPM_TRIE], "lpm_trie"),
    (&[MapType::BLOOM_FILTER], "bpf_bloom_filter"),
    (&[MapType::QUEUE, MapType::STACK], "bpf_queue_stack"),
    (&[MapType::CPUMAP], "bpf_cpu_map"),
    (&[MapType::ARENA], "bpf_arena"),
    (&[MapType::CGROUP_STORAGE, MapType::PERCPU_CGROUP_STORAGE], "bpf_cgroup_storage_map"),
    (&[MapType::XSKMAP], "xsk_map"),
    (&[MapType::SOCKMAP], "bpf_stab"),
    (&[MapType::SOCKHASH], "bpf_shtab"),
    (
        &[
            MapType::SK_STORAGE,
            MapType::INODE_STORAGE,
            MapType::TASK_STORAGE,
            MapType::CGRP_STORAGE,
        ],
        "bpf_local_storage_map",
    ),
];

impl Walk<'_> {
    /// An access to a field of a map.
    pub(crate) fn check_map_fields(
        &self,
        reg: Reg,
        map: MapRef,
        off: i64,
        access: Access,
    ) -> Check {
        let (name, _) = self.map_structure(map)?;
        if off < 0 {
            return fault(
                Rule::MemoryBounds,
                format!("R{} is {name} invalid negative access: off={off}", reg.index()),
            );
        }
        if access == Access::Write {
            return fault(Rule::Permission, format!("only read from {name} is supported"));
        }
        Ok(())
    }

    /// What a load from a map gives.
    pub(crate) fn load_map_field(&self, place: Place, extend: Extend, map: MapRef) -> Check<Value> {
        let (_, type_id) = self.map_structure(map)?;
        let pointer = self.state.reg(place.base);
        let off = i64::from(pointer.off) + i64::from(place.off);
        let (Ok(off), Some(0)) = (u32::try_from(off), pointer.scalar.as_constant()) else {
            return unsupported("pointers to maps with offsets");
        };
        match layout::access(self.kernel_types()?, type_id, off, place.size.bytes()) {
            Ok(Found::Number) => Ok(Value::number(Scalar::loaded(place.size, extend))),
            Ok(Found::Object { .. } | Found::Other) if extend == Extend::Sign => {
                unsupported("loads of pointers with sign extension")
            }
            Ok(Found::Other) => Ok(Value::pointer(Kind::UntrustedMemory)),
            Ok(Found::Object { to, trust, .. }) => {
                Ok(Value::pointer(Kind::Btf { type_id: to, trust }))
            }
            Err(message) => fault(Rule::MemoryBounds, message),
        }
    }

    /// The kernel's structure for a map.
    fn map_structure(&self, map: MapRef) -> Check<(&'static str, TypeId)> {
        let map_type = self.map(map)?.map_type;
        let found = STRUCTURES.iter().find(|(types, _)| types.contains(&map_type));
        let Some((_, name)) = found else {
            return unsupported(format_args!("access to the fields of a map of type {map_type}"));
        };
        Ok((name, self.kernel_struct(name)?))
    }
}
