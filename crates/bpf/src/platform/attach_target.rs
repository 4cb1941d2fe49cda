//! What programs are passed by what they are attached to, where types do not say it all.
//!
//! The arguments of tracepoints and iterators are those of functions in the kernel's types; which
//! of them may be NULL, and which are known to live, is known to the kernel alone. The rows are
//! what Linux 6.18 said when programs that load each argument were verified.

use IteratorArgument::{BufferOrNull, ByType, ObjectOrNull, ReadOnlyBufferOrNull, TrustedOrNull};

/// What an iterator passes a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IteratorArgument {
    /// What the prototype says, certain to live: an object, or a number.
    ByType,
    /// An object that is certain to live, or NULL at the end.
    TrustedOrNull,
    /// An object, or NULL at the end.
    ObjectOrNull,
    /// The key or the value of an element, or NULL at the end.
    BufferOrNull,
    /// The same, which may only be read.
    ReadOnlyBufferOrNull,
}

/// What an iterator passes, by its name; `None` if it is not known.
#[must_use]
pub fn iterator_arguments(target: &str) -> Option<&'static [IteratorArgument]> {
    ITERATORS.iter().find(|row| row.0 == target).map(|row| row.1)
}

/// Whether an argument of a tracepoint may be NULL; `None` if that is not known.
#[must_use]
pub fn may_be_null(tracepoint: &str, argument: usize) -> Option<bool> {
    if NOT_ASKED.iter().any(|family| tracepoint.starts_with(family)) {
        return None;
    }
    let row = NULLABLE.iter().find(|row| row.0 == tracepoint);
    Some(row.is_some_and(|row| row.1.contains(&argument)))
}

const ITERATORS: &[(&str, &[IteratorArgument])] = &[
    ("bpf_link", &[ByType, ObjectOrNull]),
    ("bpf_map", &[ByType, TrustedOrNull]),
    ("bpf_map_elem", &[ByType, ByType, ReadOnlyBufferOrNull, BufferOrNull]),
    ("bpf_prog", &[ByType, ObjectOrNull]),
    ("bpf_sk_storage_map", &[ByType, ByType, ObjectOrNull, BufferOrNull]),
    ("cgroup", &[ByType, TrustedOrNull]),
    ("dmabuf", &[ByType, ObjectOrNull]),
    ("ipv6_route", &[ByType, ObjectOrNull]),
    ("kmem_cache", &[ByType, TrustedOrNull]),
    ("ksym", &[ByType, ObjectOrNull]),
    ("netlink", &[ByType, ObjectOrNull]),
    ("sockmap", &[ByType, ByType, ReadOnlyBufferOrNull, ObjectOrNull]),
    ("task", &[ByType, TrustedOrNull]),
    ("task_file", &[ByType, ObjectOrNull, ByType, ObjectOrNull]),
    ("task_vma", &[ByType, ObjectOrNull, ObjectOrNull]),
    ("tcp", &[ByType, TrustedOrNull, ByType]),
    ("udp", &[ByType, TrustedOrNull, ByType, ByType]),
    ("unix", &[ByType, ObjectOrNull, ByType]),
];

/// Tracepoints of drivers and file systems that were not there to be asked about, and some of
/// whose arguments are known to be NULL at times.
const NOT_ASKED: &[&str] = &[
    "9p_",
    "afs_",
    "amdgpu_",
    "cachefiles_",
    "drm_",
    "fscache_",
    "gfs2_",
    "host1x_",
    "i915_",
    "iscsi_",
    "netfs_",
    "nfs",
    "nfsd_",
    "ocfs2_",
    "pnfs_",
    "rpc_",
    "rxrpc_",
    "smb3_",
    "sof_",
    "spufs_",
    "svc",
    "v4l2_",
    "vb2_",
    "vchiq_",
    "xprt_",
    "xs_",
];

const NULLABLE: &[(&str, &[usize])] = &[
    ("break_lease_block", &[1]),
    ("break_lease_noblock", &[1]),
    ("break_lease_unblock", &[1]),
    ("ext4_mballoc_discard", &[1]),
    ("ext4_mballoc_free", &[1]),
    ("fcntl_setlk", &[1]),
    ("fib_table_lookup", &[2]),
    ("flock_lock_inode", &[1]),
    ("folio_wait_writeback", &[1]),
    ("generic_delete_lease", &[1]),
    ("hugetlbfs_alloc_inode", &[1]),
    ("kfree_skb", &[3]),
    ("locks_remove_posix", &[1]),
    ("mm_collapse_huge_page_isolate", &[0]),
    ("mm_khugepaged_collapse_file", &[1]),
    ("mm_khugepaged_scan_file", &[1]),
    ("mm_khugepaged_scan_pmd", &[1]),
    ("mm_page_alloc", &[0]),
    ("mm_page_alloc_zone_locked", &[0]),
    ("mm_page_pcpu_drain", &[0]),
    ("posix_lock_inode", &[1]),
    ("qdisc_dequeue", &[3]),
    ("sched_pi_setprio", &[1]),
    ("sched_stick_numa", &[2]),
    ("sched_swap_numa", &[2]),
    ("tcp_send_reset", &[0, 1]),
    ("tcp_sendmsg_locked", &[2]),
    ("time_out_leases", &[1]),
    ("tmigr_update_events", &[0]),
    ("writeback_dirty_folio", &[1]),
    ("xfs_blockgc_flush_all", &[0]),
    ("xfs_blockgc_free_space", &[1]),
    ("xfs_blockgc_start", &[0]),
    ("xfs_blockgc_stop", &[0]),
    ("xfs_blockgc_worker", &[0]),
    ("xfs_btree_overlapped_query_range", &[2]),
    ("xfs_btree_updkeys", &[2]),
    ("xfs_defer_add_item", &[0]),
    ("xfs_defer_cancel_item", &[0]),
    ("xfs_defer_cancel_list", &[0]),
    ("xfs_defer_create_intent", &[0]),
    ("xfs_defer_finish_item", &[0]),
    ("xfs_defer_isolate_paused", &[0]),
    ("xfs_defer_item_pause", &[0]),
    ("xfs_defer_item_unpause", &[0]),
    ("xfs_defer_pending_abort", &[0]),
    ("xfs_defer_pending_finish", &[0]),
    ("xfs_defer_relog_intent", &[0]),
    ("xfs_fs_sync_fs", &[0]),
    ("xfs_inodegc_flush", &[0]),
    ("xfs_inodegc_push", &[0]),
    ("xfs_inodegc_queue", &[0]),
    ("xfs_inodegc_start", &[0]),
    ("xfs_inodegc_stop", &[0]),
    ("xfs_inodegc_throttle", &[0]),
    ("xfs_ioc_free_eofblocks", &[1]),
    ("xfs_map_blocks_alloc", &[4]),
    ("xfs_map_blocks_found", &[4]),
];
