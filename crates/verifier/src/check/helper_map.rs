//! Which helpers take which maps.
//!
//! Two tables: what may be done with maps of a type, and what types a helper takes. (Linux 6.18,
//! `check_map_func_compatibility`.)

use crate::explore::Walk;
use crate::rejection::{Check, Rule, fault};
use crate::state::value::MapRef;
use skep_bpf::insn::HelperId as H;
use skep_bpf::platform::{AttachType, MapFlags, MapType as M, ProgType};

/// Maps of these types are only for these helpers.
const OF_MAPS: &[(&[M], &[H])] = &[
    (&[M::PROG_ARRAY], &[H::TAIL_CALL]),
    (&[M::PERF_EVENT_ARRAY], PERF_EVENTS),
    (&[M::RINGBUF], RINGBUF),
    (&[M::USER_RINGBUF], &[H::USER_RINGBUF_DRAIN]),
    (&[M::STACK_TRACE], &[H::GET_STACKID]),
    (&[M::CGROUP_ARRAY], CGROUPS),
    (&[M::CGROUP_STORAGE, M::PERCPU_CGROUP_STORAGE], &[H::GET_LOCAL_STORAGE]),
    (&[M::DEVMAP, M::DEVMAP_HASH, M::XSKMAP], &[H::REDIRECT_MAP, H::MAP_LOOKUP_ELEM]),
    (&[M::CPUMAP], &[H::REDIRECT_MAP]),
    (&[M::ARRAY_OF_MAPS, M::HASH_OF_MAPS], &[H::MAP_LOOKUP_ELEM]),
    (
        &[M::SOCKMAP],
        &[
            H::SK_REDIRECT_MAP,
            H::SOCK_MAP_UPDATE,
            H::MSG_REDIRECT_MAP,
            H::SK_SELECT_REUSEPORT,
            H::MAP_LOOKUP_ELEM,
        ],
    ),
    (
        &[M::SOCKHASH],
        &[
            H::SK_REDIRECT_HASH,
            H::SOCK_HASH_UPDATE,
            H::MSG_REDIRECT_HASH,
            H::SK_SELECT_REUSEPORT,
            H::MAP_LOOKUP_ELEM,
        ],
    ),
    (&[M::REUSEPORT_SOCKARRAY], &[H::SK_SELECT_REUSEPORT]),
    (&[M::QUEUE, M::STACK], &[H::MAP_PEEK_ELEM, H::MAP_POP_ELEM, H::MAP_PUSH_ELEM]),
    (&[M::SK_STORAGE], &[H::SK_STORAGE_GET, H::SK_STORAGE_DELETE, H::KPTR_XCHG]),
    (&[M::INODE_STORAGE], &[H::INODE_STORAGE_GET, H::INODE_STORAGE_DELETE, H::KPTR_XCHG]),
    (&[M::TASK_STORAGE], &[H::TASK_STORAGE_GET, H::TASK_STORAGE_DELETE, H::KPTR_XCHG]),
    (&[M::CGRP_STORAGE], &[H::CGRP_STORAGE_GET, H::CGRP_STORAGE_DELETE, H::KPTR_XCHG]),
    (&[M::BLOOM_FILTER], &[H::MAP_PEEK_ELEM, H::MAP_PUSH_ELEM]),
    (&[M::ARENA], &[]),
];

/// These helpers take only maps of these types.
const OF_HELPERS: &[(&[H], &[M])] = &[
    (&[H::TAIL_CALL], &[M::PROG_ARRAY]),
    (PERF_EVENTS, &[M::PERF_EVENT_ARRAY]),
    (RINGBUF, &[M::RINGBUF]),
    (&[H::USER_RINGBUF_DRAIN], &[M::USER_RINGBUF]),
    (&[H::GET_STACKID], &[M::STACK_TRACE]),
    (CGROUPS, &[M::CGROUP_ARRAY]),
    (&[H::REDIRECT_MAP], &[M::DEVMAP, M::DEVMAP_HASH, M::CPUMAP, M::XSKMAP]),
    (&[H::SK_REDIRECT_MAP, H::MSG_REDIRECT_MAP, H::SOCK_MAP_UPDATE], &[M::SOCKMAP]),
    (&[H::SK_REDIRECT_HASH, H::MSG_REDIRECT_HASH, H::SOCK_HASH_UPDATE], &[M::SOCKHASH]),
    (&[H::GET_LOCAL_STORAGE], &[M::CGROUP_STORAGE, M::PERCPU_CGROUP_STORAGE]),
    (&[H::SK_SELECT_REUSEPORT], &[M::REUSEPORT_SOCKARRAY, M::SOCKMAP, M::SOCKHASH]),
    (&[H::MAP_POP_ELEM], &[M::QUEUE, M::STACK]),
    (&[H::MAP_PEEK_ELEM, H::MAP_PUSH_ELEM], &[M::QUEUE, M::STACK, M::BLOOM_FILTER]),
    (&[H::MAP_LOOKUP_PERCPU_ELEM], &[M::PERCPU_ARRAY, M::PERCPU_HASH, M::LRU_PERCPU_HASH]),
    (&[H::SK_STORAGE_GET, H::SK_STORAGE_DELETE], &[M::SK_STORAGE]),
    (&[H::INODE_STORAGE_GET, H::INODE_STORAGE_DELETE], &[M::INODE_STORAGE]),
    (&[H::TASK_STORAGE_GET, H::TASK_STORAGE_DELETE], &[M::TASK_STORAGE]),
    (&[H::CGRP_STORAGE_GET, H::CGRP_STORAGE_DELETE], &[M::CGRP_STORAGE]),
];

const PERF_EVENTS: &[H] = &[
    H::PERF_EVENT_READ,
    H::PERF_EVENT_OUTPUT,
    H::PERF_EVENT_READ_VALUE,
    H::SKB_OUTPUT,
    H::XDP_OUTPUT,
];
const RINGBUF: &[H] = &[
    H::RINGBUF_OUTPUT,
    H::RINGBUF_RESERVE,
    H::RINGBUF_QUERY,
    H::RINGBUF_RESERVE_DYNPTR,
    H::RINGBUF_SUBMIT_DYNPTR,
    H::RINGBUF_DISCARD_DYNPTR,
];
const CGROUPS: &[H] = &[H::SKB_UNDER_CGROUP, H::CURRENT_TASK_UNDER_CGROUP];

/// Helpers that change a map.
const WRITERS: &[H] = &[H::MAP_DELETE_ELEM, H::MAP_UPDATE_ELEM, H::MAP_PUSH_ELEM, H::MAP_POP_ELEM];

impl Walk<'_> {
    /// A helper may use a map.
    pub(crate) fn check_map_helper(&self, map: MapRef, id: H) -> Check {
        let map_type = self.map(map)?.map_type;
        let of_map = OF_MAPS.iter().find(|row| row.0.contains(&map_type));
        let mut allowed = of_map.is_none_or(|row| row.1.contains(&id));
        if !allowed && matches!(map_type, M::SOCKMAP | M::SOCKHASH) {
            allowed = self.may_update_sockets(id)?;
        }
        let of_helper = OF_HELPERS.iter().find(|row| row.0.contains(&id));
        if allowed && of_helper.is_none_or(|row| row.1.contains(&map_type)) {
            return Ok(());
        }
        fault(Rule::Map, format!("cannot pass map_type {} into func {id}#{}", map_type.0, id.0))
    }

    /// Programs do not change maps that they may only read.
    pub(crate) fn check_map_writer(&self, map: MapRef, id: H) -> Check {
        let read_only = self.map(map)?.flags.contains(MapFlags::RDONLY_PROG);
        if read_only && WRITERS.contains(&id) {
            return fault(Rule::Permission, "write into map forbidden");
        }
        Ok(())
    }

    /// Maps of sockets are changed only where no socket is locked.
    fn may_update_sockets(&self, id: H) -> Check<bool> {
        const FREE: &[ProgType] = &[
            ProgType::SOCKET_FILTER,
            ProgType::SCHED_CLS,
            ProgType::SCHED_ACT,
            ProgType::XDP,
            ProgType::SK_REUSEPORT,
            ProgType::FLOW_DISSECTOR,
            ProgType::SK_LOOKUP,
        ];
        if id != H::MAP_UPDATE_ELEM && id != H::MAP_DELETE_ELEM {
            return Ok(false);
        }
        let prog_type = self.input.prog_type;
        let iterator =
            prog_type == ProgType::TRACING && self.input.attach_type == AttachType::TRACE_ITER;
        let deletes = prog_type == ProgType::SOCK_OPS && id == H::MAP_DELETE_ELEM;
        if iterator || deletes || FREE.contains(&prog_type) {
            return Ok(true);
        }
        fault(Rule::Map, "cannot update sockmap in this context")
    }
}
