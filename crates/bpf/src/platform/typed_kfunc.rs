//! Kernel functions whose parameters and results are what the kernel's own types say.
//!
//! A row says what types do not: which programs may call, and the promises of the function, which
//! the kernel calls flags. Those who read the prototype from BTF follow the conventions of
//! <https://docs.kernel.org/bpf/kfuncs.html>. Program types are those of Linux 6.18, found by
//! loading programs.

use super::kfunc::{IteratorRow, IteratorStep};
use super::prog_type::{AttachType, ProgType};

/// What a kernel function promises and requires, a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct KfuncFlags(u16);

impl KfuncFlags {
    /// None.
    pub const NONE: Self = Self(0);
    /// It returns a reference that must be given back (`KF_ACQUIRE`).
    pub const ACQUIRE: Self = Self(1);
    /// It takes a reference back (`KF_RELEASE`).
    pub const RELEASE: Self = Self(2);
    /// It may return NULL (`KF_RET_NULL`).
    pub const RET_NULL: Self = Self(4);
    /// Objects that it takes must certainly live, and not be NULL (`KF_TRUSTED_ARGS`).
    pub const TRUSTED_ARGS: Self = Self(8);
    /// Objects that it takes must live, or be protected by RCU, and not be NULL (`KF_RCU`).
    pub const RCU: Self = Self(16);
    /// It may only be called where RCU protects (`KF_RCU_PROTECTED`).
    pub const RCU_PROTECTED: Self = Self(32);
    /// It may sleep (`KF_SLEEPABLE`).
    pub const SLEEPABLE: Self = Self(64);

    /// Whether all of some flags are set.
    #[must_use]
    pub const fn contains(self, flags: Self) -> bool {
        self.0 & flags.0 == flags.0
    }

    const fn with(self, more: Self) -> Self {
        Self(self.0 | more.0)
    }
}

/// Calls that mean more to the verifier than their prototype says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KfuncEffect {
    /// Nothing more.
    None,
    /// From here on RCU protects.
    RcuLock,
    /// RCU protects no longer.
    RcuUnlock,
    /// The program is not interrupted by others on its processor.
    PreemptDisable,
    /// It may be again.
    PreemptEnable,
    /// Forbids interrupts, and saves on the stack whether they were allowed.
    InterruptsSave,
    /// Allows interrupts again, if they were.
    InterruptsRestore,
    /// A step of an open-coded iterator, which is the first argument.
    Iterator(&'static IteratorRow, IteratorStep),
    /// The context as the kernel's own structure.
    KernelContext,
    /// An address as a pointer to a type that may only be read.
    ReadOnlyCast,
    /// The result may be written to.
    WritableResult,
    /// It moves the packet: pointers into it are not valid any more.
    ChangesPacket,
}

/// A kernel function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TypedKfuncRow {
    /// The name.
    pub name: &'static str,
    /// What it promises and requires.
    pub flags: KfuncFlags,
    /// What a call means beyond that.
    pub effect: KfuncEffect,
    /// The types of programs that may call it; `None` is all.
    pub prog_types: Option<&'static [ProgType]>,
    /// What programs that may call it are loaded for; `None` is anything.
    pub attach_types: Option<&'static [AttachType]>,
}

impl TypedKfuncRow {
    /// The kernel function of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static TypedKfuncRow> {
        TYPED_KFUNCS.iter().find(|row| row.name == name)
    }
}

/// Tracing, packets, control groups and `syscall`.
pub(super) const GENERIC: Option<&[ProgType]> = Some(&[
    ProgType::SCHED_CLS,
    ProgType::TRACEPOINT,
    ProgType::XDP,
    ProgType::PERF_EVENT,
    ProgType::CGROUP_SKB,
    ProgType::CGROUP_SOCK,
    ProgType::SOCK_OPS,
    ProgType::CGROUP_DEVICE,
    ProgType::CGROUP_SOCK_ADDR,
    ProgType::CGROUP_SYSCTL,
    ProgType::CGROUP_SOCKOPT,
    ProgType::TRACING,
    ProgType::STRUCT_OPS,
    ProgType::LSM,
    ProgType::SYSCALL,
]);

/// Tracing and `syscall`.
const TRACING: Option<&[ProgType]> = Some(&[
    ProgType::TRACEPOINT,
    ProgType::PERF_EVENT,
    ProgType::TRACING,
    ProgType::STRUCT_OPS,
    ProgType::LSM,
    ProgType::SYSCALL,
]);

const CGROUPS: Option<&[ProgType]> = Some(&[
    ProgType::CGROUP_SKB,
    ProgType::CGROUP_SOCK,
    ProgType::SOCK_OPS,
    ProgType::CGROUP_DEVICE,
    ProgType::CGROUP_SOCK_ADDR,
    ProgType::CGROUP_SYSCTL,
    ProgType::CGROUP_SOCKOPT,
]);

const STATISTICS: Option<&[ProgType]> =
    Some(&[ProgType::TRACEPOINT, ProgType::PERF_EVENT, ProgType::TRACING, ProgType::LSM]);

const PACKETS: Option<&[ProgType]> =
    Some(&[ProgType::SCHED_CLS, ProgType::SCHED_ACT, ProgType::XDP]);

/// The kernel's own tests of calls.
const TESTED: Option<&[ProgType]> = Some(&[
    ProgType::SCHED_CLS,
    ProgType::TRACEPOINT,
    ProgType::PERF_EVENT,
    ProgType::TRACING,
    ProgType::LSM,
    ProgType::SYSCALL,
]);

const CONNECTIONS: Option<&[ProgType]> = Some(&[ProgType::SCHED_CLS, ProgType::XDP]);
const XDP: Option<&[ProgType]> = Some(&[ProgType::XDP]);
const TC: Option<&[ProgType]> = Some(&[ProgType::SCHED_CLS]);
const SYSCALL: Option<&[ProgType]> = Some(&[ProgType::SYSCALL]);
const STRUCT_OPS: Option<&[ProgType]> = Some(&[ProgType::STRUCT_OPS]);
const ALL: Option<&[ProgType]> = None;

const NONE: KfuncFlags = KfuncFlags::NONE;
const ACQUIRE: KfuncFlags = KfuncFlags::ACQUIRE;
const RELEASE: KfuncFlags = KfuncFlags::RELEASE;
const TRUSTED: KfuncFlags = KfuncFlags::TRUSTED_ARGS;
const RCU: KfuncFlags = KfuncFlags::RCU;
const SLEEPABLE: KfuncFlags = KfuncFlags::SLEEPABLE;
const ACQUIRE_OR_NULL: KfuncFlags = ACQUIRE.with(KfuncFlags::RET_NULL);
const ACQUIRE_RCU_OR_NULL: KfuncFlags = ACQUIRE_OR_NULL.with(RCU);

const fn row(
    name: &'static str,
    prog_types: Option<&'static [ProgType]>,
    flags: KfuncFlags,
) -> TypedKfuncRow {
    TypedKfuncRow { name, flags, effect: KfuncEffect::None, prog_types, attach_types: None }
}

const fn effect(name: &'static str, effect: KfuncEffect) -> TypedKfuncRow {
    TypedKfuncRow { effect, ..row(name, ALL, NONE) }
}

const fn session(name: &'static str, effect: KfuncEffect) -> TypedKfuncRow {
    const SESSIONS: &[AttachType] =
        &[AttachType::TRACE_KPROBE_SESSION, AttachType::TRACE_UPROBE_SESSION];
    const PROBES: Option<&[ProgType]> = Some(&[ProgType::KPROBE]);
    TypedKfuncRow { effect, attach_types: Some(SESSIONS), ..row(name, PROBES, NONE) }
}

const TASK: IteratorRow = IteratorRow { name: "task", slots: 3, number: 2 };
const CSS: IteratorRow = IteratorRow { name: "css", slots: 3, number: 3 };
const CSS_TASK: IteratorRow = IteratorRow { name: "css_task", slots: 1, number: 4 };
const TASK_VMA: IteratorRow = IteratorRow { name: "task_vma", slots: 1, number: 5 };
const KMEM_CACHE: IteratorRow = IteratorRow { name: "kmem_cache", slots: 1, number: 6 };
const DMABUF: IteratorRow = IteratorRow { name: "dmabuf", slots: 1, number: 7 };

const fn iterator(
    name: &'static str,
    which: &'static IteratorRow,
    step: IteratorStep,
    flags: KfuncFlags,
) -> TypedKfuncRow {
    let flags = match step {
        IteratorStep::Next => flags.with(KfuncFlags::RET_NULL),
        IteratorStep::New | IteratorStep::Destroy => flags,
    };
    TypedKfuncRow { effect: KfuncEffect::Iterator(which, step), ..row(name, ALL, flags) }
}

/// The kernel functions that are known.
pub static TYPED_KFUNCS: &[TypedKfuncRow] = &[
    effect("bpf_rcu_read_lock", KfuncEffect::RcuLock),
    effect("bpf_rcu_read_unlock", KfuncEffect::RcuUnlock),
    effect("bpf_preempt_disable", KfuncEffect::PreemptDisable),
    effect("bpf_preempt_enable", KfuncEffect::PreemptEnable),
    effect("bpf_cast_to_kern_ctx", KfuncEffect::KernelContext),
    effect("bpf_rdonly_cast", KfuncEffect::ReadOnlyCast),
    effect("bpf_local_irq_save", KfuncEffect::InterruptsSave),
    effect("bpf_local_irq_restore", KfuncEffect::InterruptsRestore),
    iterator(
        "bpf_iter_task_new",
        &TASK,
        IteratorStep::New,
        TRUSTED.with(KfuncFlags::RCU_PROTECTED),
    ),
    iterator("bpf_iter_task_next", &TASK, IteratorStep::Next, NONE),
    iterator("bpf_iter_task_destroy", &TASK, IteratorStep::Destroy, NONE),
    iterator("bpf_iter_css_new", &CSS, IteratorStep::New, TRUSTED.with(KfuncFlags::RCU_PROTECTED)),
    iterator("bpf_iter_css_next", &CSS, IteratorStep::Next, NONE),
    iterator("bpf_iter_css_destroy", &CSS, IteratorStep::Destroy, NONE),
    iterator("bpf_iter_css_task_new", &CSS_TASK, IteratorStep::New, TRUSTED),
    iterator("bpf_iter_css_task_next", &CSS_TASK, IteratorStep::Next, NONE),
    iterator("bpf_iter_css_task_destroy", &CSS_TASK, IteratorStep::Destroy, NONE),
    iterator("bpf_iter_task_vma_new", &TASK_VMA, IteratorStep::New, RCU),
    iterator("bpf_iter_task_vma_next", &TASK_VMA, IteratorStep::Next, NONE),
    iterator("bpf_iter_task_vma_destroy", &TASK_VMA, IteratorStep::Destroy, NONE),
    iterator("bpf_iter_kmem_cache_new", &KMEM_CACHE, IteratorStep::New, SLEEPABLE),
    iterator("bpf_iter_kmem_cache_next", &KMEM_CACHE, IteratorStep::Next, SLEEPABLE),
    iterator("bpf_iter_kmem_cache_destroy", &KMEM_CACHE, IteratorStep::Destroy, SLEEPABLE),
    iterator("bpf_iter_dmabuf_new", &DMABUF, IteratorStep::New, SLEEPABLE),
    iterator("bpf_iter_dmabuf_next", &DMABUF, IteratorStep::Next, SLEEPABLE),
    iterator("bpf_iter_dmabuf_destroy", &DMABUF, IteratorStep::Destroy, SLEEPABLE),
    row("bpf_map_sum_elem_count", ALL, TRUSTED),
    row("bpf_copy_from_user_str", ALL, SLEEPABLE),
    row("bpf_strcmp", ALL, NONE),
    row("bpf_strcasecmp", ALL, NONE),
    row("bpf_strchr", ALL, NONE),
    row("bpf_strchrnul", ALL, NONE),
    row("bpf_strrchr", ALL, NONE),
    row("bpf_strnchr", ALL, NONE),
    row("bpf_strlen", ALL, NONE),
    row("bpf_strnlen", ALL, NONE),
    row("bpf_strspn", ALL, NONE),
    row("bpf_strcspn", ALL, NONE),
    row("bpf_strstr", ALL, NONE),
    row("bpf_strnstr", ALL, NONE),
    row("bpf_get_kmem_cache", ALL, NONE),
    row("bpf_copy_from_user_task_str", ALL, SLEEPABLE),
    row("bpf_send_signal_task", GENERIC, TRUSTED),
    row("bpf_cpumask_populate", TRACING, RCU),
    row("bpf_sock_ops_enable_tx_tstamp", CGROUPS, TRUSTED),
    TypedKfuncRow { effect: KfuncEffect::ChangesPacket, ..row("bpf_xdp_pull_data", XDP, NONE) },
    session("bpf_session_cookie", KfuncEffect::WritableResult),
    session("bpf_session_is_return", KfuncEffect::None),
    TypedKfuncRow {
        attach_types: Some(&[AttachType::TRACE_ITER]),
        ..row("bpf_sock_destroy", Some(&[ProgType::TRACING]), TRUSTED)
    },
    row("bpf_task_from_pid", GENERIC, ACQUIRE_OR_NULL),
    row("bpf_task_from_vpid", GENERIC, ACQUIRE_OR_NULL),
    row("bpf_task_acquire", GENERIC, ACQUIRE_RCU_OR_NULL),
    row("bpf_task_release", GENERIC, RELEASE),
    row("bpf_task_under_cgroup", GENERIC, RCU),
    row("bpf_task_get_cgroup1", GENERIC, ACQUIRE_RCU_OR_NULL),
    row("bpf_cgroup_from_id", GENERIC, ACQUIRE_OR_NULL),
    row("bpf_cgroup_acquire", GENERIC, ACQUIRE_RCU_OR_NULL),
    row("bpf_cgroup_ancestor", GENERIC, ACQUIRE_RCU_OR_NULL),
    row("bpf_cgroup_release", GENERIC, RELEASE),
    row("bpf_lookup_user_key", GENERIC, ACQUIRE_OR_NULL.with(SLEEPABLE)),
    row("bpf_lookup_system_key", GENERIC, ACQUIRE_OR_NULL),
    row("bpf_key_put", GENERIC, RELEASE),
    row("bpf_cpumask_create", TRACING, ACQUIRE_OR_NULL),
    row("bpf_cpumask_acquire", TRACING, ACQUIRE.with(TRUSTED)),
    row("bpf_cpumask_release", TRACING, RELEASE),
    row("bpf_cpumask_first", TRACING, RCU),
    row("bpf_cpumask_first_zero", TRACING, RCU),
    row("bpf_cpumask_first_and", TRACING, RCU),
    row("bpf_cpumask_set_cpu", TRACING, RCU),
    row("bpf_cpumask_clear_cpu", TRACING, RCU),
    row("bpf_cpumask_test_cpu", TRACING, RCU),
    row("bpf_cpumask_test_and_set_cpu", TRACING, RCU),
    row("bpf_cpumask_test_and_clear_cpu", TRACING, RCU),
    row("bpf_cpumask_setall", TRACING, RCU),
    row("bpf_cpumask_clear", TRACING, RCU),
    row("bpf_cpumask_and", TRACING, RCU),
    row("bpf_cpumask_or", TRACING, RCU),
    row("bpf_cpumask_xor", TRACING, RCU),
    row("bpf_cpumask_equal", TRACING, RCU),
    row("bpf_cpumask_intersects", TRACING, RCU),
    row("bpf_cpumask_subset", TRACING, RCU),
    row("bpf_cpumask_empty", TRACING, RCU),
    row("bpf_cpumask_full", TRACING, RCU),
    row("bpf_cpumask_copy", TRACING, RCU),
    row("bpf_cpumask_any_distribute", TRACING, RCU),
    row("bpf_cpumask_any_and_distribute", TRACING, RCU),
    row("bpf_cpumask_weight", TRACING, RCU),
    row("css_rstat_updated", STATISTICS, NONE),
    row("css_rstat_flush", STATISTICS, SLEEPABLE),
    row("bpf_crypto_ctx_acquire", SYSCALL, ACQUIRE_RCU_OR_NULL),
    row("bpf_crypto_ctx_create", SYSCALL, ACQUIRE_OR_NULL.with(SLEEPABLE)),
    row("bpf_crypto_ctx_release", SYSCALL, RELEASE),
    row("bpf_crypto_encrypt", PACKETS, RCU),
    row("bpf_crypto_decrypt", PACKETS, RCU),
    row("bpf_kfunc_call_test_release", TESTED, RELEASE),
    row("bpf_kfunc_call_memb_release", TESTED, RELEASE),
    row("bpf_xdp_ct_alloc", CONNECTIONS, ACQUIRE_OR_NULL),
    row("bpf_xdp_ct_lookup", CONNECTIONS, ACQUIRE_OR_NULL),
    row("bpf_skb_ct_alloc", CONNECTIONS, ACQUIRE_OR_NULL),
    row("bpf_skb_ct_lookup", CONNECTIONS, ACQUIRE_OR_NULL),
    row("bpf_ct_insert_entry", CONNECTIONS, ACQUIRE_OR_NULL.with(RELEASE)),
    row("bpf_ct_release", CONNECTIONS, RELEASE),
    row("bpf_ct_set_timeout", CONNECTIONS, TRUSTED),
    row("bpf_ct_change_timeout", CONNECTIONS, TRUSTED),
    row("bpf_ct_set_status", CONNECTIONS, TRUSTED),
    row("bpf_ct_change_status", CONNECTIONS, TRUSTED),
    row("bpf_ct_set_nat_info", CONNECTIONS, TRUSTED),
    row("bpf_sk_assign_tcp_reqsk", TC, TRUSTED),
    row("bpf_xdp_get_xfrm_state", XDP, ACQUIRE_OR_NULL),
    row("bpf_xdp_xfrm_state_release", XDP, RELEASE),
    row("bpf_sock_addr_set_sun_path", CGROUPS, NONE),
    row("tcp_slow_start", STRUCT_OPS, NONE),
    row("tcp_cong_avoid_ai", STRUCT_OPS, NONE),
    row("tcp_reno_ssthresh", STRUCT_OPS, NONE),
    row("tcp_reno_cong_avoid", STRUCT_OPS, NONE),
    row("tcp_reno_undo_cwnd", STRUCT_OPS, NONE),
    row("bbr_init", STRUCT_OPS, NONE),
    row("bbr_main", STRUCT_OPS, NONE),
    row("bbr_sndbuf_expand", STRUCT_OPS, NONE),
    row("bbr_undo_cwnd", STRUCT_OPS, NONE),
    row("bbr_cwnd_event", STRUCT_OPS, NONE),
    row("bbr_ssthresh", STRUCT_OPS, NONE),
    row("bbr_min_tso_segs", STRUCT_OPS, NONE),
    row("bbr_set_state", STRUCT_OPS, NONE),
    row("cubictcp_init", STRUCT_OPS, NONE),
    row("cubictcp_recalc_ssthresh", STRUCT_OPS, NONE),
    row("cubictcp_cong_avoid", STRUCT_OPS, NONE),
    row("cubictcp_state", STRUCT_OPS, NONE),
    row("cubictcp_cwnd_event", STRUCT_OPS, NONE),
    row("cubictcp_acked", STRUCT_OPS, NONE),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::kfunc::KfuncRow;

    #[test]
    fn every_function_has_one_row() {
        for row in TYPED_KFUNCS {
            let found = TypedKfuncRow::named(row.name).expect("it has a row");
            assert!(core::ptr::eq(found, row), "{} twice", row.name);
            assert!(KfuncRow::named(row.name).is_none(), "{} in two tables", row.name);
        }
    }

    #[test]
    fn who_releases_takes_objects() {
        for row in TYPED_KFUNCS {
            let takes_any = row.flags.contains(RELEASE) && row.flags.contains(RCU);
            assert!(!takes_any, "{} takes back what may be borrowed", row.name);
        }
    }
}
