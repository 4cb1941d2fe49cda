//! References to maps: that the map exists, and that a program of this type may use it.

use crate::input::{Input, MapFacts, SpecialKind};
use crate::rejection::{Check, Rule, fault, unsupported};
use crate::state::value::MAX_VAR_OFF;
use skep_bpf::op::Imm64Kind;
use skep_bpf::platform::{MapType, ProgType};

/// The maps seen so far.
#[derive(Default)]
pub(super) struct UsedMaps {
    seen: Vec<usize>,
    storage: Vec<MapType>,
}

impl UsedMaps {
    /// An instruction refers to a map, or with an offset to its first value.
    pub(super) fn refer(
        &mut self,
        kind: Imm64Kind,
        number: i32,
        offset: i32,
        input: &Input<'_>,
    ) -> Check {
        let by_index = matches!(kind, Imm64Kind::MapByIdx | Imm64Kind::MapValueByIdx);
        let index = usize::try_from(number).ok().filter(|_| by_index);
        let Some((index, map)) = index.and_then(|index| Some((index, input.maps.get(index)?)))
        else {
            return fault(Rule::Map, format!("fd {number} is not pointing to valid bpf_map"));
        };
        let first = !self.seen.contains(&index);
        if first {
            const MAX_MAPS: usize = 64;
            if self.seen.len() >= MAX_MAPS {
                return fault(
                    Rule::Map,
                    format!(
                        "The total number of maps per program has reached the limit of {MAX_MAPS}"
                    ),
                );
            }
            self.seen.push(index);
            check_compatible(map, input)?;
        }
        if kind == Imm64Kind::MapValueByIdx {
            check_value_offset(map, offset as u32)?;
        }
        let is_storage =
            matches!(map.map_type, MapType::CGROUP_STORAGE | MapType::PERCPU_CGROUP_STORAGE);
        if first && is_storage {
            if self.storage.contains(&map.map_type) {
                return fault(Rule::Map, "only one cgroup storage of each type is allowed");
            }
            self.storage.push(map.map_type);
        }
        Ok(())
    }
}

fn check_value_offset(map: &MapFacts, offset: u32) -> Check {
    if i64::from(offset) >= MAX_VAR_OFF {
        return fault(
            Rule::MemoryBounds,
            format!("direct value offset of {offset} is not allowed"),
        );
    }
    if map.map_type == MapType::ARENA {
        return unsupported("arena maps");
    }
    if map.map_type != MapType::ARRAY {
        return fault(Rule::Map, "no direct value access support for this map type");
    }
    if map.max_entries != 1 || offset >= map.value_size {
        return fault(
            Rule::MemoryBounds,
            format!(
                "invalid access to map value pointer, value_size={} off={offset}",
                map.value_size
            ),
        );
    }
    Ok(())
}

/// Program types that run at probes, where locks and timers are not allowed.
const TRACING: &[ProgType] = &[
    ProgType::KPROBE,
    ProgType::TRACEPOINT,
    ProgType::PERF_EVENT,
    ProgType::RAW_TRACEPOINT,
    ProgType::RAW_TRACEPOINT_WRITABLE,
];

/// The map types that sleepable programs may use.
const SLEEPABLE: &[MapType] = &[
    MapType::HASH,
    MapType::LRU_HASH,
    MapType::ARRAY,
    MapType::PERCPU_HASH,
    MapType::PERCPU_ARRAY,
    MapType::LRU_PERCPU_HASH,
    MapType::ARRAY_OF_MAPS,
    MapType::HASH_OF_MAPS,
    MapType::RINGBUF,
    MapType::USER_RINGBUF,
    MapType::INODE_STORAGE,
    MapType::SK_STORAGE,
    MapType::TASK_STORAGE,
    MapType::CGRP_STORAGE,
    MapType::QUEUE,
    MapType::STACK,
    MapType::ARENA,
];

fn check_compatible(map: &MapFacts, input: &Input<'_>) -> Check {
    let tracing = TRACING.contains(&input.prog_type);
    let has_lock =
        map.has_field(SpecialKind::SpinLock) || map.has_field(SpecialKind::ResilientSpinLock);
    let has_graph = map.has_field(SpecialKind::ListHead) || map.has_field(SpecialKind::TreeRoot);
    let sentence = if has_graph && tracing {
        "tracing progs cannot use bpf_{list_head,rb_root} yet"
    } else if has_lock && input.prog_type == ProgType::SOCKET_FILTER {
        "socket filter progs cannot use bpf_spin_lock yet"
    } else if has_lock && tracing {
        "tracing progs cannot use bpf_spin_lock yet"
    } else if map.has_field(SpecialKind::Timer) && tracing {
        "tracing progs cannot use bpf_timer yet"
    } else if map.has_field(SpecialKind::Workqueue) && tracing {
        "tracing progs cannot use bpf_wq yet"
    } else if map.map_type == MapType::STRUCT_OPS {
        "bpf_struct_ops map cannot be used in prog"
    } else if input.sleepable && !SLEEPABLE.contains(&map.map_type) {
        "Sleepable programs can only use array, hash, ringbuf and local storage maps"
    } else {
        return Ok(());
    };
    fault(Rule::Map, sentence)
}
