//! Which helper may be called in which program.
//!
//! One row per group of program (and attach) types with the same set. The sets of 41 types were
//! taken from Linux 6.18 by loading programs; those of TRACING, LSM, STRUCT_OPS and LIRC_MODE2,
//! which cannot be loaded without a target, were read from the kernel's source.

use core::fmt;

use super::super::prog_type::{AttachType, ProgType};
use super::HelperId;

/// A set of Linux's helpers.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct HelperSet {
    words: [u64; 4],
}

impl HelperSet {
    /// No helper.
    pub const EMPTY: Self = Self { words: [0; 4] };

    /// These helpers. Fails to compile, or panics, for a number above 255.
    const fn of(ids: &[HelperId]) -> Self {
        let mut set = Self::EMPTY;
        let mut place = 0;
        while place < ids.len() {
            let id = ids[place].0 as usize;
            set.words[id / 64] |= 1 << (id % 64);
            place += 1;
        }
        set
    }

    /// The helpers in either set.
    pub const fn or(self, other: Self) -> Self {
        let ([a, b, c, d], [w, x, y, z]) = (self.words, other.words);
        Self { words: [a | w, b | x, c | y, d | z] }
    }

    /// Whether the helper is in the set.
    pub fn contains(self, id: HelperId) -> bool {
        let word = usize::try_from(id.0 / 64).ok().and_then(|place| self.words.get(place));
        word.is_some_and(|word| (word >> (id.0 % 64)) & 1 == 1)
    }

    /// The helpers, in the order of their numbers.
    pub fn iter(self) -> impl Iterator<Item = HelperId> {
        (0..256).map(HelperId).filter(move |id| self.contains(*id))
    }

    /// How many helpers the set has.
    pub fn len(self) -> usize {
        self.iter().count()
    }

    /// Whether the set has no helper.
    pub fn is_empty(self) -> bool {
        self == Self::EMPTY
    }
}

impl fmt::Debug for HelperSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

/// Helpers that not every kernel of a release has: `bpf_probe_write_user` goes when the kernel is
/// locked down, `bpf_override_return` needs `CONFIG_BPF_KPROBE_OVERRIDE`.
pub const OPTIONAL_HELPERS: [HelperId; 2] = [HelperId::PROBE_WRITE_USER, HelperId::OVERRIDE_RETURN];

/// Whether a program of these types may call the helper, if the kernel has it.
///
/// An `EXT` program has the helpers of the program it replaces: ask with the types of that.
/// Where the kernel looks at the attach target as well (iterators and `STRUCT_OPS`), a helper
/// counts as allowed if it is for some target.
pub fn helper_allowed(prog_type: ProgType, attach_type: AttachType, id: HelperId) -> bool {
    helpers_of(prog_type, attach_type).contains(id)
}

/// The helpers that a program of these types may call.
pub fn helpers_of(prog_type: ProgType, attach_type: AttachType) -> HelperSet {
    let fits = |row: &&AllowRow| {
        row.prog_types.contains(&prog_type)
            && (row.attach_types.is_empty() || row.attach_types.contains(&attach_type))
    };
    ALLOWED.iter().find(fits).map_or(HelperSet::EMPTY, |row| row.helpers)
}

struct AllowRow {
    prog_types: &'static [ProgType],
    /// Empty: any.
    attach_types: &'static [AttachType],
    helpers: HelperSet,
}

/// `set![A, B; C]`: the named groups, and the helpers after the semicolon.
macro_rules! set {
    ($($group:ident),* ; $($id:ident),* $(,)?) => {
        HelperSet::of(&[$(HelperId::$id),*])$(.or($group))*
    };
}

macro_rules! allow {
    ($( [$($prog:ident),+] [$($attach:ident),*] => $set:expr; )*) => {
        /// The first row that fits counts.
        const ALLOWED: &[AllowRow] = &[$( AllowRow {
            prog_types: &[$(ProgType::$prog),+],
            attach_types: &[$(AttachType::$attach),*],
            helpers: $set,
        }, )*];
    };
}

/// In every program type but `LIRC_MODE2`.
const BASE: HelperSet = set![;
    MAP_LOOKUP_ELEM, MAP_UPDATE_ELEM, MAP_DELETE_ELEM, KTIME_GET_NS, TRACE_PRINTK,
    GET_PRANDOM_U32, GET_SMP_PROCESSOR_ID, TAIL_CALL, GET_CURRENT_PID_TGID, GET_CURRENT_UID_GID,
    GET_CURRENT_COMM, GET_CGROUP_CLASSID, PERF_EVENT_READ, GET_CURRENT_TASK,
    CURRENT_TASK_UNDER_CGROUP, GET_NUMA_NODE_ID, PERF_EVENT_READ_VALUE, GET_CURRENT_CGROUP_ID,
    MAP_PUSH_ELEM, MAP_POP_ELEM, MAP_PEEK_ELEM, SPIN_LOCK, SPIN_UNLOCK, STRTOL, STRTOUL,
    SEND_SIGNAL, PROBE_READ_USER, PROBE_READ_KERNEL, PROBE_READ_USER_STR, PROBE_READ_KERNEL_STR,
    SEND_SIGNAL_THREAD, JIFFIES64, GET_NS_CURRENT_PID_TGID, GET_CURRENT_ANCESTOR_CGROUP_ID,
    KTIME_GET_BOOT_NS, RINGBUF_OUTPUT, RINGBUF_RESERVE, RINGBUF_SUBMIT, RINGBUF_DISCARD,
    RINGBUF_QUERY, GET_TASK_STACK, COPY_FROM_USER, SNPRINTF_BTF, PER_CPU_PTR, THIS_CPU_PTR,
    TASK_STORAGE_GET, TASK_STORAGE_DELETE, GET_CURRENT_TASK_BTF, FOR_EACH_MAP_ELEM, SNPRINTF,
    TIMER_INIT, TIMER_SET_CALLBACK, TIMER_START, TIMER_CANCEL, TASK_PT_REGS, GET_BRANCH_SNAPSHOT,
    TRACE_VPRINTK, FIND_VMA, LOOP, STRNCMP, COPY_FROM_USER_TASK, KPTR_XCHG,
    MAP_LOOKUP_PERCPU_ELEM, DYNPTR_FROM_MEM, RINGBUF_RESERVE_DYNPTR, RINGBUF_SUBMIT_DYNPTR,
    RINGBUF_DISCARD_DYNPTR, DYNPTR_READ, DYNPTR_WRITE, DYNPTR_DATA, KTIME_GET_TAI_NS,
    USER_RINGBUF_DRAIN, CGRP_STORAGE_GET, CGRP_STORAGE_DELETE,
];
/// Casts of sockets to kernel objects.
const SOCKET_CASTS: HelperSet = set![;
    SKC_TO_TCP6_SOCK, SKC_TO_TCP_SOCK, SKC_TO_TCP_TIMEWAIT_SOCK, SKC_TO_TCP_REQUEST_SOCK,
    SKC_TO_UDP6_SOCK, SKC_TO_UNIX_SOCK, SKC_TO_MPTCP_SOCK,
];
/// Looking sockets up.
const SOCKET_LOOKUPS: HelperSet = set![;
    SK_LOOKUP_TCP, SK_LOOKUP_UDP, SK_RELEASE, SKC_LOOKUP_TCP,
];
/// Storage in sockets.
const SOCKET_STORAGE: HelperSet = set![;
    SK_STORAGE_GET, SK_STORAGE_DELETE,
];
/// Socket options.
const SOCKET_OPTIONS: HelperSet = set![;
    SETSOCKOPT, GETSOCKOPT,
];
/// The result of a cgroup hook.
const RETURN_VALUE: HelperSet = set![;
    GET_RETVAL, SET_RETVAL,
];
/// Names and values of sysctls.
const SYSCTL: HelperSet = set![;
    SYSCTL_GET_NAME, SYSCTL_GET_CURRENT_VALUE, SYSCTL_GET_NEW_VALUE, SYSCTL_SET_NEW_VALUE,
];
/// SYN cookies without a socket.
const RAW_SYNCOOKIES: HelperSet = set![;
    TCP_RAW_GEN_SYNCOOKIE_IPV4, TCP_RAW_GEN_SYNCOOKIE_IPV6, TCP_RAW_CHECK_SYNCOOKIE_IPV4,
    TCP_RAW_CHECK_SYNCOOKIE_IPV6,
];
/// In every tracing program.
const TRACING_COMMON: HelperSet = set![;
    PROBE_READ, PERF_EVENT_OUTPUT, GET_STACKID, PROBE_WRITE_USER, PROBE_READ_STR, GET_STACK,
    GET_FUNC_IP,
];
/// In programs whose arguments have kernel types.
const BTF_TYPED: HelperSet = set![;
    GET_SOCKET_COOKIE, SK_STORAGE_GET, SK_STORAGE_DELETE, SKB_OUTPUT, XDP_OUTPUT,
    SKC_TO_TCP6_SOCK, SKC_TO_TCP_SOCK, SKC_TO_TCP_TIMEWAIT_SOCK, SKC_TO_TCP_REQUEST_SOCK,
    SKC_TO_UDP6_SOCK, D_PATH, SOCK_FROM_FILE, SKC_TO_UNIX_SOCK, XDP_GET_BUFF_LEN,
    SKC_TO_MPTCP_SOCK,
];
/// In programs that wrap a kernel function.
const TRAMPOLINE: HelperSet = set![;
    GET_ATTACH_COOKIE, GET_FUNC_ARG, GET_FUNC_RET, GET_FUNC_ARG_CNT,
];
/// In every lightweight tunnel program.
const LWT_COMMON: HelperSet = set![;
    GET_ROUTE_REALM, PERF_EVENT_OUTPUT, SKB_LOAD_BYTES, CSUM_DIFF, SKB_UNDER_CGROUP,
    GET_HASH_RECALC, SKB_PULL_DATA, SKC_TO_TCP6_SOCK, SKC_TO_TCP_SOCK, SKC_TO_TCP_TIMEWAIT_SOCK,
    SKC_TO_TCP_REQUEST_SOCK, SKC_TO_UDP6_SOCK, KTIME_GET_COARSE_NS, SKC_TO_UNIX_SOCK,
    SKC_TO_MPTCP_SOCK,
];

allow! {
    [SOCKET_FILTER] [] =>
        set![BASE, SOCKET_CASTS;
            PERF_EVENT_OUTPUT, SKB_LOAD_BYTES, GET_SOCKET_COOKIE, GET_SOCKET_UID,
            SKB_LOAD_BYTES_RELATIVE, GET_NETNS_COOKIE, KTIME_GET_COARSE_NS,
        ];
    [KPROBE] [] =>
        set![BASE, TRACING_COMMON; OVERRIDE_RETURN, GET_ATTACH_COOKIE];
    [SCHED_CLS, SCHED_ACT] [] =>
        set![BASE, LWT_COMMON, SOCKET_LOOKUPS, RAW_SYNCOOKIES, SOCKET_STORAGE;
            SKB_STORE_BYTES, L3_CSUM_REPLACE, L4_CSUM_REPLACE, CLONE_REDIRECT, SKB_VLAN_PUSH,
            SKB_VLAN_POP, SKB_GET_TUNNEL_KEY, SKB_SET_TUNNEL_KEY, REDIRECT, SKB_GET_TUNNEL_OPT,
            SKB_SET_TUNNEL_OPT, SKB_CHANGE_PROTO, SKB_CHANGE_TYPE, SKB_CHANGE_TAIL, CSUM_UPDATE,
            SET_HASH_INVALID, SKB_CHANGE_HEAD, GET_SOCKET_COOKIE, GET_SOCKET_UID, SET_HASH,
            SKB_ADJUST_ROOM, SKB_GET_XFRM_STATE, SKB_LOAD_BYTES_RELATIVE, FIB_LOOKUP,
            SKB_CGROUP_ID, SKB_ANCESTOR_CGROUP_ID, SK_FULLSOCK, TCP_SOCK, SKB_ECN_SET_CE,
            GET_LISTENER_SOCK, TCP_CHECK_SYNCOOKIE, TCP_GEN_SYNCOOKIE, GET_NETNS_COOKIE,
            SK_ASSIGN, CSUM_LEVEL, SKB_CGROUP_CLASSID, REDIRECT_NEIGH, REDIRECT_PEER, CHECK_MTU,
            SKB_SET_TSTAMP,
        ];
    [TRACEPOINT, RAW_TRACEPOINT, RAW_TRACEPOINT_WRITABLE] [] =>
        set![BASE, TRACING_COMMON; GET_ATTACH_COOKIE];
    [XDP] [] =>
        set![BASE, SOCKET_CASTS, SOCKET_LOOKUPS, RAW_SYNCOOKIES;
            REDIRECT, PERF_EVENT_OUTPUT, CSUM_DIFF, XDP_ADJUST_HEAD, REDIRECT_MAP,
            XDP_ADJUST_META, XDP_ADJUST_TAIL, FIB_LOOKUP, TCP_CHECK_SYNCOOKIE, TCP_GEN_SYNCOOKIE,
            KTIME_GET_COARSE_NS, CHECK_MTU, XDP_GET_BUFF_LEN, XDP_LOAD_BYTES, XDP_STORE_BYTES,
        ];
    [PERF_EVENT] [] =>
        set![BASE, TRACING_COMMON; PERF_PROG_READ_VALUE, READ_BRANCH_RECORDS, GET_ATTACH_COOKIE];
    [CGROUP_SKB] [] =>
        set![BASE, SOCKET_CASTS, SOCKET_LOOKUPS, SOCKET_STORAGE;
            PERF_EVENT_OUTPUT, SKB_LOAD_BYTES, GET_SOCKET_COOKIE, GET_SOCKET_UID,
            SKB_LOAD_BYTES_RELATIVE, SKB_CGROUP_ID, GET_LOCAL_STORAGE, SKB_ANCESTOR_CGROUP_ID,
            SK_FULLSOCK, TCP_SOCK, SKB_ECN_SET_CE, GET_LISTENER_SOCK, GET_NETNS_COOKIE,
            SK_CGROUP_ID, SK_ANCESTOR_CGROUP_ID, KTIME_GET_COARSE_NS,
        ];
    [CGROUP_SOCK] [] =>
        set![BASE, RETURN_VALUE;
            PERF_EVENT_OUTPUT, GET_SOCKET_COOKIE, GET_LOCAL_STORAGE, SK_STORAGE_GET,
            GET_NETNS_COOKIE, KTIME_GET_COARSE_NS,
        ];
    [LWT_IN] [] =>
        set![BASE, LWT_COMMON; LWT_PUSH_ENCAP];
    [LWT_OUT] [] =>
        set![BASE, LWT_COMMON; ];
    [LWT_XMIT] [] =>
        set![BASE, LWT_COMMON;
            SKB_STORE_BYTES, L3_CSUM_REPLACE, L4_CSUM_REPLACE, CLONE_REDIRECT, SKB_GET_TUNNEL_KEY,
            SKB_SET_TUNNEL_KEY, REDIRECT, SKB_GET_TUNNEL_OPT, SKB_SET_TUNNEL_OPT, SKB_CHANGE_TAIL,
            CSUM_UPDATE, SET_HASH_INVALID, SKB_CHANGE_HEAD, LWT_PUSH_ENCAP, CSUM_LEVEL,
        ];
    [SOCK_OPS] [] =>
        set![BASE, SOCKET_CASTS, SOCKET_STORAGE, SOCKET_OPTIONS;
            PERF_EVENT_OUTPUT, GET_SOCKET_COOKIE, SOCK_MAP_UPDATE, SOCK_OPS_CB_FLAGS_SET,
            SOCK_HASH_UPDATE, GET_LOCAL_STORAGE, TCP_SOCK, GET_NETNS_COOKIE, LOAD_HDR_OPT,
            STORE_HDR_OPT, RESERVE_HDR_OPT, KTIME_GET_COARSE_NS,
        ];
    [SK_SKB] [] =>
        set![BASE, SOCKET_CASTS, SOCKET_LOOKUPS;
            SKB_STORE_BYTES, PERF_EVENT_OUTPUT, SKB_LOAD_BYTES, SKB_CHANGE_TAIL, SKB_PULL_DATA,
            SKB_CHANGE_HEAD, GET_SOCKET_COOKIE, GET_SOCKET_UID, SKB_ADJUST_ROOM, SK_REDIRECT_MAP,
            SK_REDIRECT_HASH, KTIME_GET_COARSE_NS,
        ];
    [CGROUP_DEVICE] [CGROUP_DEVICE] =>
        set![BASE, RETURN_VALUE; PERF_EVENT_OUTPUT, GET_LOCAL_STORAGE];
    [CGROUP_DEVICE] [] =>
        set![BASE; PERF_EVENT_OUTPUT, GET_LOCAL_STORAGE];
    [SK_MSG] [] =>
        set![BASE, SOCKET_CASTS, SOCKET_STORAGE;
            PERF_EVENT_OUTPUT, MSG_REDIRECT_MAP, MSG_APPLY_BYTES, MSG_CORK_BYTES, MSG_PULL_DATA,
            MSG_REDIRECT_HASH, MSG_PUSH_DATA, MSG_POP_DATA, GET_NETNS_COOKIE, KTIME_GET_COARSE_NS,
        ];
    [CGROUP_SOCK_ADDR] [
        CGROUP_INET4_BIND, CGROUP_INET6_BIND, CGROUP_UDP4_SENDMSG, CGROUP_UDP6_SENDMSG,
        CGROUP_UNIX_CONNECT, CGROUP_UNIX_SENDMSG
    ] =>
        set![BASE, SOCKET_CASTS, SOCKET_LOOKUPS, SOCKET_STORAGE, SOCKET_OPTIONS, RETURN_VALUE;
            PERF_EVENT_OUTPUT, GET_SOCKET_COOKIE, GET_LOCAL_STORAGE, GET_NETNS_COOKIE,
            KTIME_GET_COARSE_NS,
        ];
    [CGROUP_SOCK_ADDR] [CGROUP_INET4_CONNECT, CGROUP_INET6_CONNECT] =>
        set![BASE, SOCKET_CASTS, SOCKET_LOOKUPS, SOCKET_STORAGE, SOCKET_OPTIONS, RETURN_VALUE;
            PERF_EVENT_OUTPUT, GET_SOCKET_COOKIE, BIND, GET_LOCAL_STORAGE, GET_NETNS_COOKIE,
            KTIME_GET_COARSE_NS,
        ];
    [CGROUP_SOCK_ADDR] [
        CGROUP_UDP4_RECVMSG, CGROUP_UDP6_RECVMSG, CGROUP_INET4_GETPEERNAME,
        CGROUP_INET6_GETPEERNAME, CGROUP_INET4_GETSOCKNAME, CGROUP_INET6_GETSOCKNAME,
        CGROUP_UNIX_RECVMSG, CGROUP_UNIX_GETPEERNAME, CGROUP_UNIX_GETSOCKNAME
    ] =>
        set![BASE, SOCKET_CASTS, SOCKET_LOOKUPS, SOCKET_STORAGE, SOCKET_OPTIONS;
            PERF_EVENT_OUTPUT, GET_SOCKET_COOKIE, GET_LOCAL_STORAGE, GET_NETNS_COOKIE,
            KTIME_GET_COARSE_NS,
        ];
    [LWT_SEG6LOCAL] [] =>
        set![BASE, LWT_COMMON; LWT_SEG6_STORE_BYTES, LWT_SEG6_ADJUST_SRH, LWT_SEG6_ACTION];
    [SK_REUSEPORT] [] =>
        set![BASE;
            SKB_LOAD_BYTES, GET_SOCKET_COOKIE, SKB_LOAD_BYTES_RELATIVE, SK_SELECT_REUSEPORT,
            KTIME_GET_COARSE_NS,
        ];
    [FLOW_DISSECTOR] [] =>
        set![BASE, SOCKET_CASTS; SKB_LOAD_BYTES, KTIME_GET_COARSE_NS];
    [CGROUP_SYSCTL] [CGROUP_SYSCTL] =>
        set![BASE, SYSCTL, RETURN_VALUE; PERF_EVENT_OUTPUT, GET_LOCAL_STORAGE, KTIME_GET_COARSE_NS];
    [CGROUP_SYSCTL] [] =>
        set![BASE, SYSCTL; PERF_EVENT_OUTPUT, GET_LOCAL_STORAGE, KTIME_GET_COARSE_NS];
    [CGROUP_SOCKOPT] [CGROUP_GETSOCKOPT] =>
        set![BASE, SOCKET_STORAGE, RETURN_VALUE;
            PERF_EVENT_OUTPUT, GET_LOCAL_STORAGE, TCP_SOCK, GET_NETNS_COOKIE,
        ];
    [CGROUP_SOCKOPT] [CGROUP_SETSOCKOPT] =>
        set![BASE, SOCKET_STORAGE, SOCKET_OPTIONS, RETURN_VALUE;
            PERF_EVENT_OUTPUT, GET_LOCAL_STORAGE, TCP_SOCK, GET_NETNS_COOKIE,
        ];
    [SK_LOOKUP] [] =>
        set![BASE, SOCKET_CASTS; PERF_EVENT_OUTPUT, SK_RELEASE, SK_ASSIGN, KTIME_GET_COARSE_NS];
    [SYSCALL] [] =>
        set![BASE, BTF_TYPED, TRACING_COMMON;
            SYS_BPF, BTF_FIND_BY_NAME_KIND, SYS_CLOSE, KALLSYMS_LOOKUP_NAME,
        ];
    [NETFILTER] [] =>
        set![BASE; ];
    [TRACING] [TRACE_RAW_TP] =>
        set![BASE, BTF_TYPED, TRACING_COMMON; GET_ATTACH_COOKIE];
    [TRACING] [TRACE_FENTRY, TRACE_FEXIT, MODIFY_RETURN] =>
        set![BASE, BTF_TYPED, TRACING_COMMON, TRAMPOLINE; ];
    [TRACING] [TRACE_ITER] =>
        set![BASE, BTF_TYPED, TRACING_COMMON, SOCKET_OPTIONS;
            SEQ_PRINTF, SEQ_WRITE, SEQ_PRINTF_BTF,
        ];
    [LSM] [LSM_MAC] =>
        set![BASE, BTF_TYPED, TRACING_COMMON, TRAMPOLINE;
            INODE_STORAGE_GET, INODE_STORAGE_DELETE, BPRM_OPTS_SET, IMA_INODE_HASH, IMA_FILE_HASH,
        ];
    [LSM] [LSM_CGROUP] =>
        set![BASE, BTF_TYPED, TRACING_COMMON, SOCKET_OPTIONS, RETURN_VALUE;
            GET_LOCAL_STORAGE, INODE_STORAGE_GET, INODE_STORAGE_DELETE, BPRM_OPTS_SET,
            IMA_INODE_HASH, IMA_FILE_HASH,
        ];
    [STRUCT_OPS] [] =>
        set![BASE, SOCKET_STORAGE, SOCKET_OPTIONS; TCP_SEND_ACK, KTIME_GET_COARSE_NS];
    [LIRC_MODE2] [] =>
        set![;
            MAP_LOOKUP_ELEM, MAP_UPDATE_ELEM, MAP_DELETE_ELEM, KTIME_GET_NS, TRACE_PRINTK,
            GET_PRANDOM_U32, TAIL_CALL, RC_REPEAT, RC_KEYDOWN, MAP_PUSH_ELEM, MAP_POP_ELEM,
            MAP_PEEK_ELEM, RC_POINTER_REL, KTIME_GET_BOOT_NS,
        ];
}
