//! The rows: one per helper, in the order of their numbers.
//!
//! Names, numbers and C declarations: `linux/bpf.h`. Kinds and traits: read from Linux 6.12 and
//! compared with what Linux 6.18 answers when programs are loaded (see the tests).

use super::super::prog_type::ProgType;
use super::ArgKind::{
    AllocSize, Anything, ConstMap, ConstString, Dynptr, FixedMemory, FullSocketOrNull, Function,
    KptrSlot, MapKey, PercpuBtf, ReleasedKptr, ReleasedRecord, ReleasedSocket, Scalar, SockCommon,
    SpinLock, Timer, Unchecked,
};
use super::ReturnKind::{
    Btf, DynptrSliceOrNull, Integer, KptrOrNull, MapValue, PercpuCopy, RingbufRecordOrNull,
    SockCommonOrNull, SocketOrNull, TcpSocketOrNull, Void,
};
use super::{ArgKind, DynptrUse, HelperId, HelperRow, HelperTraits, MemoryUse, Param};
use crate::platform::KernelVersion;

const CONTEXT: ArgKind = ArgKind::Context { or_null: false };
const CONTEXT_OR_NULL: ArgKind = ArgKind::Context { or_null: true };
const MAP_VALUE: ArgKind = ArgKind::MapValue { uses: MemoryUse::Read, or_null: false };
const MAP_VALUE_OR_NULL: ArgKind = ArgKind::MapValue { uses: MemoryUse::Read, or_null: true };
const MAP_VALUE_OUT: ArgKind = ArgKind::MapValue { uses: MemoryUse::Write, or_null: false };
const MEM_IN: ArgKind = ArgKind::Memory { uses: MemoryUse::Read, or_null: false };
const MEM_IN_OR_NULL: ArgKind = ArgKind::Memory { uses: MemoryUse::Read, or_null: true };
const MEM_WRITE: ArgKind = ArgKind::Memory { uses: MemoryUse::ReadWrite, or_null: false };
const MEM_WRITE_OR_NULL: ArgKind = ArgKind::Memory { uses: MemoryUse::ReadWrite, or_null: true };
const MEM_OUT: ArgKind = ArgKind::Memory { uses: MemoryUse::Write, or_null: false };
const SIZE: ArgKind = ArgKind::Size { or_zero: false };
const SIZE_OR_ZERO: ArgKind = ArgKind::Size { or_zero: true };
const STACK_OR_NULL: ArgKind = ArgKind::Stack { or_null: true };
const SOCKET: ArgKind = ArgKind::Socket { or_null: false };
const SOCKET_OR_NULL: ArgKind = ArgKind::Socket { or_null: true };

const fn btf(type_name: &'static str) -> ArgKind {
    ArgKind::Btf { type_name, or_null: false }
}

const fn btf_or_null(type_name: &'static str) -> ArgKind {
    ArgKind::Btf { type_name, or_null: true }
}

/// For which program types a variant holds.
pub(super) enum Scope {
    Only(&'static [ProgType]),
    AllBut(&'static [ProgType]),
}

impl Scope {
    pub(super) fn covers(&self, prog_type: ProgType) -> bool {
        match self {
            Self::Only(types) => types.contains(&prog_type),
            Self::AllBut(types) => !types.contains(&prog_type),
        }
    }
}

/// An argument that some program types pass differently.
pub(super) struct Variant {
    pub(super) id: HelperId,
    pub(super) scope: Scope,
    pub(super) index: usize,
    pub(super) kind: ArgKind,
}

/// Programs whose context is not a socket buffer on its way through a queue or a route.
const WITHOUT_QUEUED_SKB: Scope = Scope::AllBut(&[
    ProgType::SCHED_CLS,
    ProgType::SCHED_ACT,
    ProgType::LWT_IN,
    ProgType::LWT_OUT,
    ProgType::LWT_XMIT,
    ProgType::LWT_SEG6LOCAL,
]);
const BTF_TYPED: Scope = Scope::Only(&[ProgType::TRACING, ProgType::LSM, ProgType::SYSCALL]);
const BTF_TYPED_TRACING: Scope = Scope::Only(&[ProgType::TRACING, ProgType::SYSCALL]);
const TAKES_SOCKET: Scope = Scope::Only(&[
    ProgType::TRACING,
    ProgType::LSM,
    ProgType::STRUCT_OPS,
    ProgType::CGROUP_SOCKOPT,
]);

const fn variant(id: HelperId, scope: Scope, index: usize, kind: ArgKind) -> Variant {
    Variant { id, scope, index, kind }
}

/// Arguments that depend on the program type; the first row that fits counts.
pub(super) const VARIANTS: &[Variant] = &[
    variant(HelperId::GET_CGROUP_CLASSID, WITHOUT_QUEUED_SKB, 0, Unchecked),
    variant(HelperId::GET_SOCKET_COOKIE, BTF_TYPED, 0, SOCKET_OR_NULL),
    variant(HelperId::GET_SOCKET_COOKIE, Scope::Only(&[ProgType::SK_REUSEPORT]), 0, SOCKET_OR_NULL),
    variant(HelperId::SETSOCKOPT, TAKES_SOCKET, 0, SOCKET),
    variant(HelperId::GETSOCKOPT, TAKES_SOCKET, 0, SOCKET),
    variant(HelperId::SK_STORAGE_GET, Scope::Only(&[ProgType::CGROUP_SOCK]), 1, CONTEXT),
    variant(HelperId::SK_STORAGE_GET, BTF_TYPED_TRACING, 1, btf_or_null("sock_common")),
    variant(HelperId::SK_STORAGE_DELETE, BTF_TYPED_TRACING, 1, btf_or_null("sock_common")),
    variant(HelperId::SK_ASSIGN, Scope::Only(&[ProgType::SK_LOOKUP]), 1, FullSocketOrNull),
    variant(HelperId::XDP_GET_BUFF_LEN, BTF_TYPED, 0, btf("xdp_buff")),
];

macro_rules! helpers {
    ($(
        $constant:ident = $id:literal, $name:literal, ($major:literal, $minor:literal),
        [$($flag:ident),*],
        $return_type:literal: $returns:expr,
        [$($declaration:literal: $kind:expr),* $(,)?],
        $meaning:literal;
    )*) => {
        impl HelperId {
            $(
                #[doc = concat!("`", $name, "`. ", $meaning)]
                pub const $constant: Self = Self($id);
            )*
        }

        /// The helpers of Linux 6.18, in the order of their numbers from 1.
        pub static HELPERS: &[HelperRow] = &[$( HelperRow {
            id: HelperId::$constant,
            name: $name,
            since: KernelVersion::new($major, $minor),
            traits: HelperTraits { $($flag: true,)* ..HelperTraits::NONE },
            return_type: $return_type,
            returns: $returns,
            params: &[$( Param { declaration: $declaration, kind: $kind } ),*],
            meaning: $meaning,
        }, )*];
    };
}

// Columns: constant, number, name, first release, traits; then the C return type with what r0
// holds and the C parameters with what each must be; then the meaning.
helpers! {
    MAP_LOOKUP_ELEM = 1, "bpf_map_lookup_elem", (3, 19), [packet_access],
        "void *": MapValue { or_null: true }, [
            "struct bpf_map *map": ConstMap, "const void *key": MapKey,
        ],
        "Finds the value stored under a key and gives a pointer to it, or NULL if there is none.";
    MAP_UPDATE_ELEM = 2, "bpf_map_update_elem", (3, 19), [packet_access],
        "long": Integer, [
            "struct bpf_map *map": ConstMap, "const void *key": MapKey,
            "const void *value": MAP_VALUE, "u64 flags": Anything,
        ],
        "Stores a value under a key; the flags say whether the key must exist, must not exist, or either.";
    MAP_DELETE_ELEM = 3, "bpf_map_delete_elem", (3, 19), [packet_access],
        "long": Integer, ["struct bpf_map *map": ConstMap, "const void *key": MapKey],
        "Removes a key and its value from a map.";
    PROBE_READ = 4, "bpf_probe_read", (4, 1), [gpl_only],
        "long": Integer, [
            "void *dst": MEM_OUT, "u32 size": SIZE_OR_ZERO, "const void *unsafe_ptr": Anything,
        ],
        "Copies bytes from an unchecked address, kernel or user; superseded by the variants that say which.";
    KTIME_GET_NS = 5, "bpf_ktime_get_ns", (4, 1), [],
        "u64": Integer, [],
        "Gives the nanoseconds since boot, not counting time suspended.";
    TRACE_PRINTK = 6, "bpf_trace_printk", (4, 1), [gpl_only, variadic],
        "long": Integer, ["const char *fmt": MEM_IN, "u32 fmt_size": SIZE],
        "Formats up to three values into the kernel's trace log.";
    GET_PRANDOM_U32 = 7, "bpf_get_prandom_u32", (4, 1), [],
        "u32": Integer, [],
        "Gives a pseudo-random 32-bit number.";
    GET_SMP_PROCESSOR_ID = 8, "bpf_get_smp_processor_id", (4, 1), [fastcall],
        "u32": Integer, [],
        "Gives the number of the processor the program runs on.";
    SKB_STORE_BYTES = 9, "bpf_skb_store_bytes", (4, 1), [changes_packet],
        "long": Integer, [
            "struct sk_buff *skb": CONTEXT, "u32 offset": Anything, "const void *from": MEM_IN,
            "u32 len": SIZE, "u64 flags": Anything,
        ],
        "Writes bytes into the packet at an offset, on request keeping the checksum and the hash right.";
    L3_CSUM_REPLACE = 10, "bpf_l3_csum_replace", (4, 1), [changes_packet],
        "long": Integer, [
            "struct sk_buff *skb": CONTEXT, "u32 offset": Anything, "u64 from": Anything,
            "u64 to": Anything, "u64 size": Anything,
        ],
        "Updates the checksum of a network-layer header after a field of it changed.";
    L4_CSUM_REPLACE = 11, "bpf_l4_csum_replace", (4, 1), [changes_packet],
        "long": Integer, [
            "struct sk_buff *skb": CONTEXT, "u32 offset": Anything, "u64 from": Anything,
            "u64 to": Anything, "u64 flags": Anything,
        ],
        "Updates the checksum of a transport-layer header after a field of it or of its pseudo-header changed.";
    TAIL_CALL = 12, "bpf_tail_call", (4, 2), [changes_packet],
        "long": Void, [
            "void *ctx": CONTEXT, "struct bpf_map *prog_array_map": ConstMap,
            "u32 index": Anything,
        ],
        "Continues in another program of a program array and does not come back; goes on here if the slot is empty or the limit is reached.";
    CLONE_REDIRECT = 13, "bpf_clone_redirect", (4, 2), [changes_packet],
        "long": Integer, [
            "struct sk_buff *skb": CONTEXT, "u32 ifindex": Anything, "u64 flags": Anything,
        ],
        "Sends a copy of the packet out of, or into, another interface and keeps the original.";
    GET_CURRENT_PID_TGID = 14, "bpf_get_current_pid_tgid", (4, 2), [],
        "u64": Integer, [],
        "Gives the current thread id in the low half and the process id in the high half.";
    GET_CURRENT_UID_GID = 15, "bpf_get_current_uid_gid", (4, 2), [],
        "u64": Integer, [],
        "Gives the current user id in the low half and the group id in the high half.";
    GET_CURRENT_COMM = 16, "bpf_get_current_comm", (4, 2), [],
        "long": Integer, ["void *buf": MEM_OUT, "u32 size_of_buf": SIZE],
        "Copies the name of the current task into a buffer.";
    GET_CGROUP_CLASSID = 17, "bpf_get_cgroup_classid", (4, 3), [],
        "u32": Integer, ["struct sk_buff *skb": CONTEXT],
        "Gives the net_cls class of the task the packet belongs to, or of the current task.";
    SKB_VLAN_PUSH = 18, "bpf_skb_vlan_push", (4, 3), [changes_packet],
        "long": Integer, [
            "struct sk_buff *skb": CONTEXT, "__be16 vlan_proto": Anything,
            "u16 vlan_tci": Anything,
        ],
        "Puts a VLAN tag onto the packet.";
    SKB_VLAN_POP = 19, "bpf_skb_vlan_pop", (4, 3), [changes_packet],
        "long": Integer, ["struct sk_buff *skb": CONTEXT],
        "Takes the outermost VLAN tag off the packet.";
    SKB_GET_TUNNEL_KEY = 20, "bpf_skb_get_tunnel_key", (4, 3), [],
        "long": Integer, [
            "struct sk_buff *skb": CONTEXT, "struct bpf_tunnel_key *key": MEM_OUT,
            "u32 size": SIZE, "u64 flags": Anything,
        ],
        "Reads the tunnel metadata (remote address, tunnel id and so on) the packet arrived with.";
    SKB_SET_TUNNEL_KEY = 21, "bpf_skb_set_tunnel_key", (4, 3), [],
        "long": Integer, [
            "struct sk_buff *skb": CONTEXT, "struct bpf_tunnel_key *key": MEM_IN,
            "u32 size": SIZE, "u64 flags": Anything,
        ],
        "Sets the tunnel metadata the packet is to be encapsulated with.";
    PERF_EVENT_READ = 22, "bpf_perf_event_read", (4, 3), [gpl_only],
        "u64": Integer, ["struct bpf_map *map": ConstMap, "u64 flags": Anything],
        "Reads the counter of a perf event held in a map; errors and counts share one number.";
    REDIRECT = 23, "bpf_redirect", (4, 4), [],
        "long": Integer, ["u32 ifindex": Anything, "u64 flags": Anything],
        "Asks for the packet to be sent to another interface; the program returns what this returns.";
    GET_ROUTE_REALM = 24, "bpf_get_route_realm", (4, 4), [],
        "u32": Integer, ["struct sk_buff *skb": CONTEXT],
        "Gives the realm of the packet's route.";
    PERF_EVENT_OUTPUT = 25, "bpf_perf_event_output", (4, 4), [gpl_only],
        "long": Integer, [
            "void *ctx": CONTEXT, "struct bpf_map *map": ConstMap, "u64 flags": Anything,
            "void *data": MEM_IN, "u64 size": SIZE_OR_ZERO,
        ],
        "Writes a record to the perf buffer of a processor for user space to read.";
    SKB_LOAD_BYTES = 26, "bpf_skb_load_bytes", (4, 5), [],
        "long": Integer, [
            "const void *skb": CONTEXT, "u32 offset": Anything, "void *to": MEM_OUT,
            "u32 len": SIZE,
        ],
        "Copies bytes of the packet at an offset into a buffer, wherever in the packet they lie.";
    GET_STACKID = 27, "bpf_get_stackid", (4, 6), [gpl_only],
        "long": Integer, [
            "void *ctx": CONTEXT, "struct bpf_map *map": ConstMap, "u64 flags": Anything,
        ],
        "Stores the current call stack in a stack-trace map and gives its id.";
    CSUM_DIFF = 28, "bpf_csum_diff", (4, 6), [packet_access],
        "s64": Integer, [
            "__be32 *from": MEM_IN_OR_NULL, "u32 from_size": SIZE_OR_ZERO,
            "__be32 *to": MEM_IN_OR_NULL, "u32 to_size": SIZE_OR_ZERO, "__wsum seed": Anything,
        ],
        "Computes a checksum difference from bytes removed and bytes added.";
    SKB_GET_TUNNEL_OPT = 29, "bpf_skb_get_tunnel_opt", (4, 6), [],
        "long": Integer, ["struct sk_buff *skb": CONTEXT, "void *opt": MEM_OUT, "u32 size": SIZE],
        "Reads the tunnel options the packet arrived with.";
    SKB_SET_TUNNEL_OPT = 30, "bpf_skb_set_tunnel_opt", (4, 6), [],
        "long": Integer, ["struct sk_buff *skb": CONTEXT, "void *opt": MEM_IN, "u32 size": SIZE],
        "Sets the tunnel options the packet is to be encapsulated with.";
    SKB_CHANGE_PROTO = 31, "bpf_skb_change_proto", (4, 8), [changes_packet],
        "long": Integer, [
            "struct sk_buff *skb": CONTEXT, "__be16 proto": Anything, "u64 flags": Anything,
        ],
        "Turns an IPv4 packet into an IPv6 one or the reverse, making or taking room for the header.";
    SKB_CHANGE_TYPE = 32, "bpf_skb_change_type", (4, 8), [],
        "long": Integer, ["struct sk_buff *skb": CONTEXT, "u32 type": Anything],
        "Changes to whom the packet counts as addressed: host, broadcast, multicast or others.";
    SKB_UNDER_CGROUP = 33, "bpf_skb_under_cgroup", (4, 8), [],
        "long": Integer, [
            "struct sk_buff *skb": CONTEXT, "struct bpf_map *map": ConstMap,
            "u32 index": Anything,
        ],
        "Tells whether the packet's socket belongs to a cgroup of a cgroup array.";
    GET_HASH_RECALC = 34, "bpf_get_hash_recalc", (4, 8), [],
        "u32": Integer, ["struct sk_buff *skb": CONTEXT],
        "Gives the packet's flow hash, computing it if needed.";
    GET_CURRENT_TASK = 35, "bpf_get_current_task", (4, 8), [gpl_only],
        "u64": Integer, [],
        "Gives the address of the current task's structure as a number.";
    PROBE_WRITE_USER = 36, "bpf_probe_write_user", (4, 8), [gpl_only],
        "long": Integer, ["void *dst": Anything, "const void *src": MEM_IN, "u32 len": SIZE],
        "Tries to write bytes into the memory of the current process; meant for debugging.";
    CURRENT_TASK_UNDER_CGROUP = 37, "bpf_current_task_under_cgroup", (4, 9), [],
        "long": Integer, ["struct bpf_map *map": ConstMap, "u32 index": Anything],
        "Tells whether the current task belongs to a cgroup of a cgroup array.";
    SKB_CHANGE_TAIL = 38, "bpf_skb_change_tail", (4, 9), [changes_packet],
        "long": Integer, [
            "struct sk_buff *skb": CONTEXT, "u32 len": Anything, "u64 flags": Anything,
        ],
        "Shortens or lengthens the packet at its end.";
    SKB_PULL_DATA = 39, "bpf_skb_pull_data", (4, 9), [changes_packet],
        "long": Integer, ["struct sk_buff *skb": CONTEXT, "u32 len": Anything],
        "Makes the first bytes of the packet directly readable and writable.";
    CSUM_UPDATE = 40, "bpf_csum_update", (4, 9), [],
        "s64": Integer, ["struct sk_buff *skb": CONTEXT, "__wsum csum": Anything],
        "Adds a value to the packet's complete checksum if it carries one.";
    SET_HASH_INVALID = 41, "bpf_set_hash_invalid", (4, 9), [],
        "void": Integer, ["struct sk_buff *skb": CONTEXT],
        "Discards the packet's flow hash so that it is computed anew.";
    GET_NUMA_NODE_ID = 42, "bpf_get_numa_node_id", (4, 10), [],
        "long": Integer, [],
        "Gives the memory node of the processor the program runs on.";
    SKB_CHANGE_HEAD = 43, "bpf_skb_change_head", (4, 10), [changes_packet],
        "long": Integer, [
            "struct sk_buff *skb": CONTEXT, "u32 len": Anything, "u64 flags": Anything,
        ],
        "Makes more room in front of the packet.";
    XDP_ADJUST_HEAD = 44, "bpf_xdp_adjust_head", (4, 10), [changes_packet],
        "long": Integer, ["struct xdp_buff *xdp_md": CONTEXT, "int delta": Anything],
        "Moves the start of the packet, adding or removing bytes in front.";
    PROBE_READ_STR = 45, "bpf_probe_read_str", (4, 11), [gpl_only],
        "long": Integer, [
            "void *dst": MEM_OUT, "u32 size": SIZE_OR_ZERO, "const void *unsafe_ptr": Anything,
        ],
        "Copies a string from an unchecked address, kernel or user; superseded by the variants that say which.";
    GET_SOCKET_COOKIE = 46, "bpf_get_socket_cookie", (4, 12), [],
        "u64": Integer, ["struct sock *sk": CONTEXT],
        "Gives a number that identifies the socket as long as the system runs.";
    GET_SOCKET_UID = 47, "bpf_get_socket_uid", (4, 12), [],
        "u32": Integer, ["struct sk_buff *skb": CONTEXT],
        "Gives the user id that owns the packet's socket.";
    SET_HASH = 48, "bpf_set_hash", (4, 13), [],
        "long": Integer, ["struct sk_buff *skb": CONTEXT, "u32 hash": Anything],
        "Sets the packet's flow hash.";
    SETSOCKOPT = 49, "bpf_setsockopt", (4, 13), [],
        "long": Integer, [
            "void *bpf_socket": CONTEXT, "int level": Anything, "int optname": Anything,
            "void *optval": MEM_IN, "int optlen": SIZE,
        ],
        "Sets a socket option from within the program.";
    SKB_ADJUST_ROOM = 50, "bpf_skb_adjust_room", (4, 13), [changes_packet],
        "long": Integer, [
            "struct sk_buff *skb": CONTEXT, "s32 len_diff": Anything, "u32 mode": Anything,
            "u64 flags": Anything,
        ],
        "Adds or removes room in the middle of the packet, between link and network or network and transport headers.";
    REDIRECT_MAP = 51, "bpf_redirect_map", (4, 14), [],
        "long": Integer, [
            "struct bpf_map *map": ConstMap, "u64 key": Anything, "u64 flags": Anything,
        ],
        "Asks for the packet to be sent where a map's entry points: an interface, a processor or a user socket.";
    SK_REDIRECT_MAP = 52, "bpf_sk_redirect_map", (4, 14), [],
        "long": Integer, [
            "struct sk_buff *skb": CONTEXT, "struct bpf_map *map": ConstMap, "u32 key": Anything,
            "u64 flags": Anything,
        ],
        "Redirects the packet to the socket at an index of a socket map.";
    SOCK_MAP_UPDATE = 53, "bpf_sock_map_update", (4, 14), [packet_access],
        "long": Integer, [
            "struct bpf_sock_ops *skops": CONTEXT, "struct bpf_map *map": ConstMap,
            "void *key": MapKey, "u64 flags": Anything,
        ],
        "Puts the socket of the context into a socket map.";
    XDP_ADJUST_META = 54, "bpf_xdp_adjust_meta", (4, 15), [changes_packet],
        "long": Integer, ["struct xdp_buff *xdp_md": CONTEXT, "int delta": Anything],
        "Moves the start of the metadata in front of the packet.";
    PERF_EVENT_READ_VALUE = 55, "bpf_perf_event_read_value", (4, 15), [gpl_only],
        "long": Integer, [
            "struct bpf_map *map": ConstMap, "u64 flags": Anything,
            "struct bpf_perf_event_value *buf": MEM_OUT, "u32 buf_size": SIZE,
        ],
        "Reads counter, enabled time and running time of a perf event held in a map.";
    PERF_PROG_READ_VALUE = 56, "bpf_perf_prog_read_value", (4, 15), [gpl_only],
        "long": Integer, [
            "struct bpf_perf_event_data *ctx": CONTEXT,
            "struct bpf_perf_event_value *buf": MEM_OUT, "u32 buf_size": SIZE,
        ],
        "Reads counter, enabled time and running time of the perf event the program is attached to.";
    GETSOCKOPT = 57, "bpf_getsockopt", (4, 15), [],
        "long": Integer, [
            "void *bpf_socket": CONTEXT, "int level": Anything, "int optname": Anything,
            "void *optval": MEM_OUT, "int optlen": SIZE,
        ],
        "Reads a socket option from within the program.";
    OVERRIDE_RETURN = 58, "bpf_override_return", (4, 16), [gpl_only],
        "long": Integer, ["struct pt_regs *regs": CONTEXT, "u64 rc": Anything],
        "Makes the probed function return at once with a given value.";
    SOCK_OPS_CB_FLAGS_SET = 59, "bpf_sock_ops_cb_flags_set", (4, 16), [],
        "long": Integer, ["struct bpf_sock_ops *bpf_sock": CONTEXT, "int argval": Anything],
        "Chooses for which events of the connection the program is called.";
    MSG_REDIRECT_MAP = 60, "bpf_msg_redirect_map", (4, 17), [],
        "long": Integer, [
            "struct sk_msg_buff *msg": CONTEXT, "struct bpf_map *map": ConstMap,
            "u32 key": Anything, "u64 flags": Anything,
        ],
        "Redirects the message to the socket at an index of a socket map.";
    MSG_APPLY_BYTES = 61, "bpf_msg_apply_bytes", (4, 17), [],
        "long": Integer, ["struct sk_msg_buff *msg": CONTEXT, "u32 bytes": Anything],
        "Applies the verdict to the next given number of bytes, over several messages if need be.";
    MSG_CORK_BYTES = 62, "bpf_msg_cork_bytes", (4, 17), [],
        "long": Integer, ["struct sk_msg_buff *msg": CONTEXT, "u32 bytes": Anything],
        "Holds the verdict back until the given number of bytes has come together.";
    MSG_PULL_DATA = 63, "bpf_msg_pull_data", (4, 17), [changes_packet],
        "long": Integer, [
            "struct sk_msg_buff *msg": CONTEXT, "u32 start": Anything, "u32 end": Anything,
            "u64 flags": Anything,
        ],
        "Makes a range of the message directly readable and writable.";
    BIND = 64, "bpf_bind", (4, 17), [],
        "long": Integer, [
            "struct bpf_sock_addr *ctx": CONTEXT, "struct sockaddr *addr": MEM_IN,
            "int addr_len": SIZE,
        ],
        "Binds the connecting socket to a local address.";
    XDP_ADJUST_TAIL = 65, "bpf_xdp_adjust_tail", (4, 18), [changes_packet],
        "long": Integer, ["struct xdp_buff *xdp_md": CONTEXT, "int delta": Anything],
        "Moves the end of the packet, adding or removing bytes at the back.";
    SKB_GET_XFRM_STATE = 66, "bpf_skb_get_xfrm_state", (4, 18), [],
        "long": Integer, [
            "struct sk_buff *skb": CONTEXT, "u32 index": Anything,
            "struct bpf_xfrm_state *xfrm_state": MEM_OUT, "u32 size": SIZE,
            "u64 flags": Anything,
        ],
        "Reads one of the IPsec states the packet has passed through.";
    GET_STACK = 67, "bpf_get_stack", (4, 18), [gpl_only],
        "long": Integer, [
            "void *ctx": CONTEXT, "void *buf": MEM_OUT, "u32 size": SIZE_OR_ZERO,
            "u64 flags": Anything,
        ],
        "Copies the current call stack, kernel or user, into a buffer.";
    SKB_LOAD_BYTES_RELATIVE = 68, "bpf_skb_load_bytes_relative", (4, 18), [],
        "long": Integer, [
            "const void *skb": CONTEXT, "u32 offset": Anything, "void *to": MEM_OUT,
            "u32 len": SIZE, "u32 start_header": Anything,
        ],
        "Copies bytes of the packet at an offset from the start of the link or network header.";
    FIB_LOOKUP = 69, "bpf_fib_lookup", (4, 18), [gpl_only],
        "long": Integer, [
            "void *ctx": CONTEXT, "struct bpf_fib_lookup *params": MEM_WRITE, "int plen": SIZE,
            "u32 flags": Anything,
        ],
        "Looks up a route and the next hop's link addresses in the kernel's tables.";
    SOCK_HASH_UPDATE = 70, "bpf_sock_hash_update", (4, 18), [packet_access],
        "long": Integer, [
            "struct bpf_sock_ops *skops": CONTEXT, "struct bpf_map *map": ConstMap,
            "void *key": MapKey, "u64 flags": Anything,
        ],
        "Puts the socket of the context into a socket hash under a key.";
    MSG_REDIRECT_HASH = 71, "bpf_msg_redirect_hash", (4, 18), [],
        "long": Integer, [
            "struct sk_msg_buff *msg": CONTEXT, "struct bpf_map *map": ConstMap,
            "void *key": MapKey, "u64 flags": Anything,
        ],
        "Redirects the message to the socket under a key of a socket hash.";
    SK_REDIRECT_HASH = 72, "bpf_sk_redirect_hash", (4, 18), [],
        "long": Integer, [
            "struct sk_buff *skb": CONTEXT, "struct bpf_map *map": ConstMap, "void *key": MapKey,
            "u64 flags": Anything,
        ],
        "Redirects the packet to the socket under a key of a socket hash.";
    LWT_PUSH_ENCAP = 73, "bpf_lwt_push_encap", (4, 18), [changes_packet],
        "long": Integer, [
            "struct sk_buff *skb": CONTEXT, "u32 type": Anything, "void *hdr": MEM_IN,
            "u32 len": SIZE,
        ],
        "Encapsulates the packet in a header the program supplies.";
    LWT_SEG6_STORE_BYTES = 74, "bpf_lwt_seg6_store_bytes", (4, 18), [changes_packet],
        "long": Integer, [
            "struct sk_buff *skb": CONTEXT, "u32 offset": Anything, "const void *from": MEM_IN,
            "u32 len": SIZE,
        ],
        "Writes to the fields of the outermost segment routing header that may change.";
    LWT_SEG6_ADJUST_SRH = 75, "bpf_lwt_seg6_adjust_srh", (4, 18), [changes_packet],
        "long": Integer, [
            "struct sk_buff *skb": CONTEXT, "u32 offset": Anything, "s32 delta": Anything,
        ],
        "Grows or shrinks the type-length-value part of the outermost segment routing header.";
    LWT_SEG6_ACTION = 76, "bpf_lwt_seg6_action", (4, 18), [changes_packet],
        "long": Integer, [
            "struct sk_buff *skb": CONTEXT, "u32 action": Anything, "void *param": MEM_IN,
            "u32 param_len": SIZE,
        ],
        "Performs a segment routing action on the packet.";
    RC_REPEAT = 77, "bpf_rc_repeat", (4, 18), [gpl_only],
        "long": Integer, ["void *ctx": CONTEXT],
        "Reports that the last infrared key is held down.";
    RC_KEYDOWN = 78, "bpf_rc_keydown", (4, 18), [gpl_only],
        "long": Integer, [
            "void *ctx": CONTEXT, "u32 protocol": Anything, "u64 scancode": Anything,
            "u32 toggle": Anything,
        ],
        "Reports an infrared key press with protocol, scan code and toggle bit.";
    SKB_CGROUP_ID = 79, "bpf_skb_cgroup_id", (4, 18), [],
        "u64": Integer, ["struct sk_buff *skb": CONTEXT],
        "Gives the id of the cgroup of the packet's socket.";
    GET_CURRENT_CGROUP_ID = 80, "bpf_get_current_cgroup_id", (4, 18), [],
        "u64": Integer, [],
        "Gives the id of the current task's cgroup.";
    GET_LOCAL_STORAGE = 81, "bpf_get_local_storage", (4, 19), [],
        "void *": MapValue { or_null: false }, ["void *map": ConstMap, "u64 flags": Anything],
        "Gives the storage of the cgroup the program is attached to; never NULL.";
    SK_SELECT_REUSEPORT = 82, "bpf_sk_select_reuseport", (4, 19), [],
        "long": Integer, [
            "struct sk_reuseport_md *reuse": CONTEXT, "struct bpf_map *map": ConstMap,
            "void *key": MapKey, "u64 flags": Anything,
        ],
        "Chooses the socket of a reuse-port array that receives the packet.";
    SKB_ANCESTOR_CGROUP_ID = 83, "bpf_skb_ancestor_cgroup_id", (4, 19), [],
        "u64": Integer, ["struct sk_buff *skb": CONTEXT, "int ancestor_level": Anything],
        "Gives the id of the ancestor, at a level, of the cgroup of the packet's socket.";
    SK_LOOKUP_TCP = 84, "bpf_sk_lookup_tcp", (4, 20), [packet_access, acquires],
        "struct bpf_sock *": SocketOrNull, [
            "void *ctx": CONTEXT, "struct bpf_sock_tuple *tuple": MEM_IN,
            "u32 tuple_size": SIZE_OR_ZERO, "u64 netns": Anything, "u64 flags": Anything,
        ],
        "Finds the TCP socket for an address tuple; a socket found must be released.";
    SK_LOOKUP_UDP = 85, "bpf_sk_lookup_udp", (4, 20), [packet_access, acquires],
        "struct bpf_sock *": SocketOrNull, [
            "void *ctx": CONTEXT, "struct bpf_sock_tuple *tuple": MEM_IN,
            "u32 tuple_size": SIZE_OR_ZERO, "u64 netns": Anything, "u64 flags": Anything,
        ],
        "Finds the UDP socket for an address tuple; a socket found must be released.";
    SK_RELEASE = 86, "bpf_sk_release", (4, 20), [],
        "long": Integer, ["void *sock": ReleasedSocket],
        "Gives back a socket reference.";
    MAP_PUSH_ELEM = 87, "bpf_map_push_elem", (4, 20), [packet_access],
        "long": Integer, [
            "struct bpf_map *map": ConstMap, "const void *value": MAP_VALUE,
            "u64 flags": Anything,
        ],
        "Adds an element to a queue, stack or Bloom filter.";
    MAP_POP_ELEM = 88, "bpf_map_pop_elem", (4, 20), [],
        "long": Integer, ["struct bpf_map *map": ConstMap, "void *value": MAP_VALUE_OUT],
        "Takes the next element out of a queue or stack.";
    MAP_PEEK_ELEM = 89, "bpf_map_peek_elem", (4, 20), [],
        "long": Integer, ["struct bpf_map *map": ConstMap, "void *value": MAP_VALUE_OUT],
        "Copies the next element of a queue or stack, or asks a Bloom filter for one.";
    MSG_PUSH_DATA = 90, "bpf_msg_push_data", (4, 20), [changes_packet],
        "long": Integer, [
            "struct sk_msg_buff *msg": CONTEXT, "u32 start": Anything, "u32 len": Anything,
            "u64 flags": Anything,
        ],
        "Inserts bytes into the message.";
    MSG_POP_DATA = 91, "bpf_msg_pop_data", (5, 0), [changes_packet],
        "long": Integer, [
            "struct sk_msg_buff *msg": CONTEXT, "u32 start": Anything, "u32 len": Anything,
            "u64 flags": Anything,
        ],
        "Removes bytes from the message.";
    RC_POINTER_REL = 92, "bpf_rc_pointer_rel", (5, 0), [gpl_only],
        "long": Integer, ["void *ctx": CONTEXT, "s32 rel_x": Anything, "s32 rel_y": Anything],
        "Reports a relative pointer movement.";
    SPIN_LOCK = 93, "bpf_spin_lock", (5, 1), [],
        "long": Void, ["struct bpf_spin_lock *lock": SpinLock],
        "Takes the lock inside a map value or object.";
    SPIN_UNLOCK = 94, "bpf_spin_unlock", (5, 1), [],
        "long": Void, ["struct bpf_spin_lock *lock": SpinLock],
        "Releases the lock inside a map value or object.";
    SK_FULLSOCK = 95, "bpf_sk_fullsock", (5, 1), [],
        "struct bpf_sock *": SocketOrNull, ["struct bpf_sock *sk": SockCommon],
        "Gives the full socket behind a socket pointer, or NULL if it is not a full one.";
    TCP_SOCK = 96, "bpf_tcp_sock", (5, 1), [],
        "struct bpf_tcp_sock *": TcpSocketOrNull, ["struct bpf_sock *sk": SockCommon],
        "Gives the TCP view of a socket, or NULL if it is not TCP.";
    SKB_ECN_SET_CE = 97, "bpf_skb_ecn_set_ce", (5, 1), [],
        "long": Integer, ["struct sk_buff *skb": CONTEXT],
        "Marks the packet as having met congestion if its sender supports that.";
    GET_LISTENER_SOCK = 98, "bpf_get_listener_sock", (5, 1), [],
        "struct bpf_sock *": SocketOrNull, ["struct bpf_sock *sk": SockCommon],
        "Gives the listening socket behind a request or socket, or NULL.";
    SKC_LOOKUP_TCP = 99, "bpf_skc_lookup_tcp", (5, 2), [packet_access, acquires],
        "struct bpf_sock *": SockCommonOrNull, [
            "void *ctx": CONTEXT, "struct bpf_sock_tuple *tuple": MEM_IN,
            "u32 tuple_size": SIZE_OR_ZERO, "u64 netns": Anything, "u64 flags": Anything,
        ],
        "Finds the TCP socket for an address tuple, request and time-wait sockets included; must be released.";
    TCP_CHECK_SYNCOOKIE = 100, "bpf_tcp_check_syncookie", (5, 2), [gpl_only, packet_access],
        "long": Integer, [
            "void *sk": SOCKET, "void *iph": MEM_IN, "u32 iph_len": SIZE,
            "struct tcphdr *th": MEM_IN, "u32 th_len": SIZE,
        ],
        "Tells whether headers carry a valid SYN cookie acknowledgement for a listening socket.";
    SYSCTL_GET_NAME = 101, "bpf_sysctl_get_name", (5, 2), [],
        "long": Integer, [
            "struct bpf_sysctl *ctx": CONTEXT, "char *buf": MEM_WRITE, "size_t buf_len": SIZE,
            "u64 flags": Anything,
        ],
        "Copies the name of the sysctl being accessed.";
    SYSCTL_GET_CURRENT_VALUE = 102, "bpf_sysctl_get_current_value", (5, 2), [],
        "long": Integer, [
            "struct bpf_sysctl *ctx": CONTEXT, "char *buf": MEM_OUT, "size_t buf_len": SIZE,
        ],
        "Copies the present value of the sysctl.";
    SYSCTL_GET_NEW_VALUE = 103, "bpf_sysctl_get_new_value", (5, 2), [],
        "long": Integer, [
            "struct bpf_sysctl *ctx": CONTEXT, "char *buf": MEM_OUT, "size_t buf_len": SIZE,
        ],
        "Copies the value about to be written to the sysctl.";
    SYSCTL_SET_NEW_VALUE = 104, "bpf_sysctl_set_new_value", (5, 2), [],
        "long": Integer, [
            "struct bpf_sysctl *ctx": CONTEXT, "const char *buf": MEM_IN, "size_t buf_len": SIZE,
        ],
        "Replaces the value about to be written to the sysctl.";
    STRTOL = 105, "bpf_strtol", (5, 2), [],
        "long": Integer, [
            "const char *buf": MEM_IN, "size_t buf_len": SIZE, "u64 flags": Anything,
            "long *res": FixedMemory { uses: MemoryUse::Write, size: 8 },
        ],
        "Parses a signed number at the start of a string.";
    STRTOUL = 106, "bpf_strtoul", (5, 2), [],
        "long": Integer, [
            "const char *buf": MEM_IN, "size_t buf_len": SIZE, "u64 flags": Anything,
            "unsigned long *res": FixedMemory { uses: MemoryUse::Write, size: 8 },
        ],
        "Parses an unsigned number at the start of a string.";
    SK_STORAGE_GET = 107, "bpf_sk_storage_get", (5, 2), [],
        "void *": MapValue { or_null: true }, [
            "struct bpf_map *map": ConstMap, "void *sk": SOCKET,
            "void *value": MAP_VALUE_OR_NULL, "u64 flags": Anything,
        ],
        "Gives the map's storage attached to a socket, creating it on request.";
    SK_STORAGE_DELETE = 108, "bpf_sk_storage_delete", (5, 2), [],
        "long": Integer, ["struct bpf_map *map": ConstMap, "void *sk": SOCKET],
        "Removes the map's storage from a socket.";
    SEND_SIGNAL = 109, "bpf_send_signal", (5, 3), [],
        "long": Integer, ["u32 sig": Anything],
        "Sends a signal to the process of the current task; any thread may take it.";
    TCP_GEN_SYNCOOKIE = 110, "bpf_tcp_gen_syncookie", (5, 4), [gpl_only, packet_access],
        "s64": Integer, [
            "void *sk": SOCKET, "void *iph": MEM_IN, "u32 iph_len": SIZE,
            "struct tcphdr *th": MEM_IN, "u32 th_len": SIZE,
        ],
        "Makes a SYN cookie for a listening socket and the headers of a SYN.";
    SKB_OUTPUT = 111, "bpf_skb_output", (5, 5), [gpl_only],
        "long": Integer, [
            "void *ctx": btf("sk_buff"), "struct bpf_map *map": ConstMap, "u64 flags": Anything,
            "void *data": MEM_IN, "u64 size": SIZE_OR_ZERO,
        ],
        "Writes a record with the first bytes of a socket buffer to a perf buffer.";
    PROBE_READ_USER = 112, "bpf_probe_read_user", (5, 5), [gpl_only],
        "long": Integer, [
            "void *dst": MEM_OUT, "u32 size": SIZE_OR_ZERO, "const void *unsafe_ptr": Anything,
        ],
        "Copies bytes from an address of user space.";
    PROBE_READ_KERNEL = 113, "bpf_probe_read_kernel", (5, 5), [gpl_only],
        "long": Integer, [
            "void *dst": MEM_OUT, "u32 size": SIZE_OR_ZERO, "const void *unsafe_ptr": Anything,
        ],
        "Copies bytes from an address of the kernel.";
    PROBE_READ_USER_STR = 114, "bpf_probe_read_user_str", (5, 5), [gpl_only],
        "long": Integer, [
            "void *dst": MEM_OUT, "u32 size": SIZE_OR_ZERO, "const void *unsafe_ptr": Anything,
        ],
        "Copies a string, up to its NUL, from an address of user space.";
    PROBE_READ_KERNEL_STR = 115, "bpf_probe_read_kernel_str", (5, 5), [gpl_only],
        "long": Integer, [
            "void *dst": MEM_OUT, "u32 size": SIZE_OR_ZERO, "const void *unsafe_ptr": Anything,
        ],
        "Copies a string, up to its NUL, from an address of the kernel.";
    TCP_SEND_ACK = 116, "bpf_tcp_send_ack", (5, 6), [],
        "long": Integer, ["void *tp": btf("tcp_sock"), "u32 rcv_nxt": Anything],
        "Sends a TCP acknowledgement.";
    SEND_SIGNAL_THREAD = 117, "bpf_send_signal_thread", (5, 6), [],
        "long": Integer, ["u32 sig": Anything],
        "Sends a signal to the current thread.";
    JIFFIES64 = 118, "bpf_jiffies64", (5, 6), [],
        "u64": Integer, [],
        "Gives the 64-bit tick counter.";
    READ_BRANCH_RECORDS = 119, "bpf_read_branch_records", (5, 7), [gpl_only],
        "long": Integer, [
            "struct bpf_perf_event_data *ctx": CONTEXT, "void *buf": MEM_WRITE_OR_NULL,
            "u32 size": SIZE_OR_ZERO, "u64 flags": Anything,
        ],
        "Copies the branch records of a perf event.";
    GET_NS_CURRENT_PID_TGID = 120, "bpf_get_ns_current_pid_tgid", (5, 7), [],
        "long": Integer, [
            "u64 dev": Anything, "u64 ino": Anything, "struct bpf_pidns_info *nsdata": MEM_OUT,
            "u32 size": SIZE,
        ],
        "Gives thread and process id as seen in a given pid namespace.";
    XDP_OUTPUT = 121, "bpf_xdp_output", (5, 7), [gpl_only],
        "long": Integer, [
            "void *ctx": btf("xdp_buff"), "struct bpf_map *map": ConstMap, "u64 flags": Anything,
            "void *data": MEM_IN, "u64 size": SIZE_OR_ZERO,
        ],
        "Writes a record with the first bytes of an XDP packet to a perf buffer.";
    GET_NETNS_COOKIE = 122, "bpf_get_netns_cookie", (5, 7), [],
        "u64": Integer, ["void *ctx": CONTEXT_OR_NULL],
        "Gives a number that identifies the network namespace.";
    GET_CURRENT_ANCESTOR_CGROUP_ID = 123, "bpf_get_current_ancestor_cgroup_id", (5, 7), [],
        "u64": Integer, ["int ancestor_level": Anything],
        "Gives the id of the ancestor, at a level, of the current task's cgroup.";
    SK_ASSIGN = 124, "bpf_sk_assign", (5, 7), [],
        "long": Integer, [
            "struct bpf_sk_lookup *ctx": CONTEXT, "struct bpf_sock *sk": SOCKET,
            "u64 flags": Anything,
        ],
        "Steers the packet to a socket.";
    KTIME_GET_BOOT_NS = 125, "bpf_ktime_get_boot_ns", (5, 8), [],
        "u64": Integer, [],
        "Gives the nanoseconds since boot, time suspended included.";
    SEQ_PRINTF = 126, "bpf_seq_printf", (5, 8), [gpl_only],
        "long": Integer, [
            "struct seq_file *m": btf("seq_file"), "const char *fmt": MEM_IN,
            "u32 fmt_size": SIZE, "const void *data": MEM_IN_OR_NULL,
            "u32 data_len": SIZE_OR_ZERO,
        ],
        "Formats values into the output of an iterator.";
    SEQ_WRITE = 127, "bpf_seq_write", (5, 8), [gpl_only],
        "long": Integer, [
            "struct seq_file *m": btf("seq_file"), "const void *data": MEM_IN,
            "u32 len": SIZE_OR_ZERO,
        ],
        "Writes bytes to the output of an iterator.";
    SK_CGROUP_ID = 128, "bpf_sk_cgroup_id", (5, 8), [],
        "u64": Integer, ["void *sk": SOCKET],
        "Gives the id of a socket's cgroup.";
    SK_ANCESTOR_CGROUP_ID = 129, "bpf_sk_ancestor_cgroup_id", (5, 8), [],
        "u64": Integer, ["void *sk": SOCKET, "int ancestor_level": Anything],
        "Gives the id of the ancestor, at a level, of a socket's cgroup.";
    RINGBUF_OUTPUT = 130, "bpf_ringbuf_output", (5, 8), [],
        "long": Integer, [
            "void *ringbuf": ConstMap, "void *data": MEM_IN, "u64 size": SIZE_OR_ZERO,
            "u64 flags": Anything,
        ],
        "Copies a record into a ring buffer.";
    RINGBUF_RESERVE = 131, "bpf_ringbuf_reserve", (5, 8), [acquires],
        "void *": RingbufRecordOrNull, [
            "void *ringbuf": ConstMap, "u64 size": AllocSize, "u64 flags": Anything,
        ],
        "Reserves room for a record in a ring buffer; it must be submitted or discarded.";
    RINGBUF_SUBMIT = 132, "bpf_ringbuf_submit", (5, 8), [],
        "void": Void, ["void *data": ReleasedRecord, "u64 flags": Anything],
        "Hands a reserved record over to the reader.";
    RINGBUF_DISCARD = 133, "bpf_ringbuf_discard", (5, 8), [],
        "void": Void, ["void *data": ReleasedRecord, "u64 flags": Anything],
        "Drops a reserved record.";
    RINGBUF_QUERY = 134, "bpf_ringbuf_query", (5, 8), [],
        "u64": Integer, ["void *ringbuf": ConstMap, "u64 flags": Anything],
        "Asks a ring buffer for its fill level, size or positions.";
    CSUM_LEVEL = 135, "bpf_csum_level", (5, 8), [],
        "long": Integer, ["struct sk_buff *skb": CONTEXT, "u64 level": Anything],
        "Reads or changes how many checksum levels of the packet are known to be right.";
    SKC_TO_TCP6_SOCK = 136, "bpf_skc_to_tcp6_sock", (5, 9), [],
        "struct tcp6_sock *": Btf { type_name: "tcp6_sock", trusted: false, or_null: true }, [
            "void *sk": SOCKET,
        ],
        "Casts a socket to a TCP-over-IPv6 socket, or gives NULL if it is none.";
    SKC_TO_TCP_SOCK = 137, "bpf_skc_to_tcp_sock", (5, 9), [],
        "struct tcp_sock *": Btf { type_name: "tcp_sock", trusted: false, or_null: true }, [
            "void *sk": SOCKET,
        ],
        "Casts a socket to a TCP socket, or gives NULL if it is none.";
    SKC_TO_TCP_TIMEWAIT_SOCK = 138, "bpf_skc_to_tcp_timewait_sock", (5, 9), [],
        "struct tcp_timewait_sock *": Btf { type_name: "tcp_timewait_sock", trusted: false, or_null: true }, [
            "void *sk": SOCKET,
        ],
        "Casts a socket to a TCP time-wait socket, or gives NULL if it is none.";
    SKC_TO_TCP_REQUEST_SOCK = 139, "bpf_skc_to_tcp_request_sock", (5, 9), [],
        "struct tcp_request_sock *": Btf { type_name: "tcp_request_sock", trusted: false, or_null: true }, [
            "void *sk": SOCKET,
        ],
        "Casts a socket to a TCP request socket, or gives NULL if it is none.";
    SKC_TO_UDP6_SOCK = 140, "bpf_skc_to_udp6_sock", (5, 9), [],
        "struct udp6_sock *": Btf { type_name: "udp6_sock", trusted: false, or_null: true }, [
            "void *sk": SOCKET,
        ],
        "Casts a socket to a UDP-over-IPv6 socket, or gives NULL if it is none.";
    GET_TASK_STACK = 141, "bpf_get_task_stack", (5, 9), [],
        "long": Integer, [
            "struct task_struct *task": btf("task_struct"), "void *buf": MEM_OUT,
            "u32 size": SIZE_OR_ZERO, "u64 flags": Anything,
        ],
        "Copies the call stack of a task, kernel or user, into a buffer.";
    LOAD_HDR_OPT = 142, "bpf_load_hdr_opt", (5, 10), [],
        "long": Integer, [
            "struct bpf_sock_ops *skops": CONTEXT, "void *searchby_res": MEM_WRITE,
            "u32 len": SIZE, "u64 flags": Anything,
        ],
        "Finds a TCP header option and copies it.";
    STORE_HDR_OPT = 143, "bpf_store_hdr_opt", (5, 10), [changes_packet],
        "long": Integer, [
            "struct bpf_sock_ops *skops": CONTEXT, "const void *from": MEM_IN, "u32 len": SIZE,
            "u64 flags": Anything,
        ],
        "Writes a TCP header option into the header being built.";
    RESERVE_HDR_OPT = 144, "bpf_reserve_hdr_opt", (5, 10), [],
        "long": Integer, [
            "struct bpf_sock_ops *skops": CONTEXT, "u32 len": Anything, "u64 flags": Anything,
        ],
        "Reserves room for TCP header options.";
    INODE_STORAGE_GET = 145, "bpf_inode_storage_get", (5, 10), [],
        "void *": MapValue { or_null: true }, [
            "struct bpf_map *map": ConstMap, "void *inode": btf_or_null("inode"),
            "void *value": MAP_VALUE_OR_NULL, "u64 flags": Anything,
        ],
        "Gives the map's storage attached to an inode, creating it on request.";
    INODE_STORAGE_DELETE = 146, "bpf_inode_storage_delete", (5, 10), [],
        "int": Integer, ["struct bpf_map *map": ConstMap, "void *inode": btf_or_null("inode")],
        "Removes the map's storage from an inode.";
    D_PATH = 147, "bpf_d_path", (5, 10), [],
        "long": Integer, [
            "struct path *path": btf("path"), "char *buf": MEM_OUT, "u32 sz": SIZE_OR_ZERO,
        ],
        "Writes the full name of a path into a buffer.";
    COPY_FROM_USER = 148, "bpf_copy_from_user", (5, 10), [may_sleep],
        "long": Integer, [
            "void *dst": MEM_OUT, "u32 size": SIZE_OR_ZERO, "const void *user_ptr": Anything,
        ],
        "Copies bytes from user space, waiting for pages if need be.";
    SNPRINTF_BTF = 149, "bpf_snprintf_btf", (5, 10), [],
        "long": Integer, [
            "char *str": MEM_WRITE, "u32 str_size": SIZE, "struct btf_ptr *ptr": MEM_IN,
            "u32 btf_ptr_size": SIZE, "u64 flags": Anything,
        ],
        "Prints a kernel object by its type information into a buffer.";
    SEQ_PRINTF_BTF = 150, "bpf_seq_printf_btf", (5, 10), [gpl_only],
        "long": Integer, [
            "struct seq_file *m": btf("seq_file"), "struct btf_ptr *ptr": MEM_IN,
            "u32 ptr_size": SIZE_OR_ZERO, "u64 flags": Anything,
        ],
        "Prints a kernel object by its type information into the output of an iterator.";
    SKB_CGROUP_CLASSID = 151, "bpf_skb_cgroup_classid", (5, 10), [],
        "u64": Integer, ["struct sk_buff *skb": CONTEXT],
        "Gives the net_cls class of the packet's socket alone.";
    REDIRECT_NEIGH = 152, "bpf_redirect_neigh", (5, 10), [],
        "long": Integer, [
            "u32 ifindex": Anything, "struct bpf_redir_neigh *params": MEM_IN_OR_NULL,
            "int plen": SIZE_OR_ZERO, "u64 flags": Anything,
        ],
        "Asks for the packet to be sent out of an interface with link addresses from the neighbour table.";
    PER_CPU_PTR = 153, "bpf_per_cpu_ptr", (5, 10), [],
        "void *": PercpuCopy { or_null: true }, [
            "const void *percpu_ptr": PercpuBtf, "u32 cpu": Anything,
        ],
        "Gives a given processor's copy of a per-CPU kernel variable, or NULL if there is no such processor.";
    THIS_CPU_PTR = 154, "bpf_this_cpu_ptr", (5, 10), [],
        "void *": PercpuCopy { or_null: false }, ["const void *percpu_ptr": PercpuBtf],
        "Gives this processor's copy of a per-CPU kernel variable.";
    REDIRECT_PEER = 155, "bpf_redirect_peer", (5, 10), [],
        "long": Integer, ["u32 ifindex": Anything, "u64 flags": Anything],
        "Asks for the packet to appear at the other end of a virtual device pair, in its namespace.";
    TASK_STORAGE_GET = 156, "bpf_task_storage_get", (5, 11), [],
        "void *": MapValue { or_null: true }, [
            "struct bpf_map *map": ConstMap,
            "struct task_struct *task": btf_or_null("task_struct"),
            "void *value": MAP_VALUE_OR_NULL, "u64 flags": Anything,
        ],
        "Gives the map's storage attached to a task, creating it on request.";
    TASK_STORAGE_DELETE = 157, "bpf_task_storage_delete", (5, 11), [],
        "long": Integer, [
            "struct bpf_map *map": ConstMap,
            "struct task_struct *task": btf_or_null("task_struct"),
        ],
        "Removes the map's storage from a task.";
    GET_CURRENT_TASK_BTF = 158, "bpf_get_current_task_btf", (5, 11), [gpl_only],
        "struct task_struct *": Btf { type_name: "task_struct", trusted: true, or_null: false }, [

        ],
        "Gives the current task as a typed pointer.";
    BPRM_OPTS_SET = 159, "bpf_bprm_opts_set", (5, 11), [],
        "long": Integer, [
            "struct linux_binprm *bprm": btf("linux_binprm"), "u64 flags": Anything,
        ],
        "Sets options of the program execution in progress.";
    KTIME_GET_COARSE_NS = 160, "bpf_ktime_get_coarse_ns", (5, 11), [],
        "u64": Integer, [],
        "Gives the nanoseconds since boot as of the last tick; cheap and coarse.";
    IMA_INODE_HASH = 161, "bpf_ima_inode_hash", (5, 11), [may_sleep],
        "long": Integer, [
            "struct inode *inode": btf("inode"), "void *dst": MEM_OUT, "u32 size": SIZE,
        ],
        "Copies the integrity measurement stored for an inode.";
    SOCK_FROM_FILE = 162, "bpf_sock_from_file", (5, 11), [],
        "struct socket *": Btf { type_name: "socket", trusted: false, or_null: true }, [
            "struct file *file": btf("file"),
        ],
        "Gives the socket behind a file, or NULL if it is none.";
    CHECK_MTU = 163, "bpf_check_mtu", (5, 12), [gpl_only],
        "long": Integer, [
            "void *ctx": CONTEXT, "u32 ifindex": Anything,
            "u32 *mtu_len": FixedMemory { uses: MemoryUse::ReadWrite, size: 4 },
            "s32 len_diff": Anything, "u64 flags": Anything,
        ],
        "Tells whether the packet, after a change of length, fits the MTU of an interface.";
    FOR_EACH_MAP_ELEM = 164, "bpf_for_each_map_elem", (5, 13), [],
        "long": Integer, [
            "struct bpf_map *map": ConstMap, "void *callback_fn": Function,
            "void *callback_ctx": STACK_OR_NULL, "u64 flags": Anything,
        ],
        "Calls a function for every element of a map until it says stop.";
    SNPRINTF = 165, "bpf_snprintf", (5, 13), [gpl_only],
        "long": Integer, [
            "char *str": MEM_WRITE_OR_NULL, "u32 str_size": SIZE_OR_ZERO,
            "const char *fmt": ConstString, "u64 *data": MEM_IN_OR_NULL,
            "u32 data_len": SIZE_OR_ZERO,
        ],
        "Formats values into a buffer.";
    SYS_BPF = 166, "bpf_sys_bpf", (5, 14), [may_sleep],
        "long": Integer, ["u32 cmd": Anything, "void *attr": MEM_IN, "u32 attr_size": SIZE],
        "Executes a bpf system call.";
    BTF_FIND_BY_NAME_KIND = 167, "bpf_btf_find_by_name_kind", (5, 14), [may_sleep],
        "long": Integer, [
            "char *name": MEM_IN, "int name_sz": SIZE, "u32 kind": Anything,
            "int flags": Anything,
        ],
        "Finds a type of the kernel by name and kind.";
    SYS_CLOSE = 168, "bpf_sys_close", (5, 14), [may_sleep],
        "long": Integer, ["u32 fd": Anything],
        "Closes a file descriptor.";
    TIMER_INIT = 169, "bpf_timer_init", (5, 15), [gpl_only],
        "long": Integer, [
            "struct bpf_timer *timer": Timer, "struct bpf_map *map": ConstMap,
            "u64 flags": Anything,
        ],
        "Prepares the timer inside a map value.";
    TIMER_SET_CALLBACK = 170, "bpf_timer_set_callback", (5, 15), [gpl_only],
        "long": Integer, ["struct bpf_timer *timer": Timer, "void *callback_fn": Function],
        "Sets the function a timer calls.";
    TIMER_START = 171, "bpf_timer_start", (5, 15), [gpl_only],
        "long": Integer, [
            "struct bpf_timer *timer": Timer, "u64 nsecs": Anything, "u64 flags": Anything,
        ],
        "Starts a timer, or starts it anew.";
    TIMER_CANCEL = 172, "bpf_timer_cancel", (5, 15), [gpl_only],
        "long": Integer, ["struct bpf_timer *timer": Timer],
        "Stops a timer and waits for its function to end.";
    GET_FUNC_IP = 173, "bpf_get_func_ip", (5, 15), [gpl_only],
        "u64": Integer, ["void *ctx": CONTEXT],
        "Gives the address of the traced function.";
    GET_ATTACH_COOKIE = 174, "bpf_get_attach_cookie", (5, 15), [],
        "u64": Integer, ["void *ctx": CONTEXT],
        "Gives the number that was supplied when the program was attached.";
    TASK_PT_REGS = 175, "bpf_task_pt_regs", (5, 15), [gpl_only],
        "long": Btf { type_name: "pt_regs", trusted: false, or_null: false }, [
            "struct task_struct *task": btf("task_struct"),
        ],
        "Gives the saved user registers of a task.";
    GET_BRANCH_SNAPSHOT = 176, "bpf_get_branch_snapshot", (5, 16), [gpl_only],
        "long": Integer, [
            "void *entries": MEM_OUT, "u32 size": SIZE_OR_ZERO, "u64 flags": Unchecked,
        ],
        "Copies the processor's last branch records at once.";
    TRACE_VPRINTK = 177, "bpf_trace_vprintk", (5, 16), [gpl_only],
        "long": Integer, [
            "const char *fmt": MEM_IN, "u32 fmt_size": SIZE, "const void *data": MEM_IN_OR_NULL,
            "u32 data_len": SIZE_OR_ZERO,
        ],
        "Formats any number of values into the kernel's trace log.";
    SKC_TO_UNIX_SOCK = 178, "bpf_skc_to_unix_sock", (5, 16), [],
        "struct unix_sock *": Btf { type_name: "unix_sock", trusted: false, or_null: true }, [
            "void *sk": SOCKET,
        ],
        "Casts a socket to a Unix socket, or gives NULL if it is none.";
    KALLSYMS_LOOKUP_NAME = 179, "bpf_kallsyms_lookup_name", (5, 16), [],
        "long": Integer, [
            "const char *name": MEM_IN, "int name_sz": SIZE_OR_ZERO, "int flags": Anything,
            "u64 *res": FixedMemory { uses: MemoryUse::Write, size: 8 },
        ],
        "Finds the address of a kernel symbol.";
    FIND_VMA = 180, "bpf_find_vma", (5, 17), [],
        "long": Integer, [
            "struct task_struct *task": btf("task_struct"), "u64 addr": Anything,
            "void *callback_fn": Function, "void *callback_ctx": STACK_OR_NULL,
            "u64 flags": Anything,
        ],
        "Finds the memory area of a task that holds an address and calls a function with it.";
    LOOP = 181, "bpf_loop", (5, 17), [],
        "long": Integer, [
            "u32 nr_loops": Scalar, "void *callback_fn": Function,
            "void *callback_ctx": STACK_OR_NULL, "u64 flags": Anything,
        ],
        "Calls a function a number of times or until it says stop.";
    STRNCMP = 182, "bpf_strncmp", (5, 17), [],
        "long": Integer, [
            "const char *s1": MEM_IN, "u32 s1_sz": SIZE, "const char *s2": ConstString,
        ],
        "Compares a buffer with a constant string.";
    GET_FUNC_ARG = 183, "bpf_get_func_arg", (5, 17), [],
        "long": Integer, [
            "void *ctx": CONTEXT, "u32 n": Anything,
            "u64 *value": FixedMemory { uses: MemoryUse::Write, size: 8 },
        ],
        "Reads an argument of the traced function.";
    GET_FUNC_RET = 184, "bpf_get_func_ret", (5, 17), [],
        "long": Integer, [
            "void *ctx": CONTEXT, "u64 *value": FixedMemory { uses: MemoryUse::Write, size: 8 },
        ],
        "Reads the return value of the traced function.";
    GET_FUNC_ARG_CNT = 185, "bpf_get_func_arg_cnt", (5, 17), [],
        "long": Integer, ["void *ctx": CONTEXT],
        "Gives the number of arguments of the traced function.";
    GET_RETVAL = 186, "bpf_get_retval", (5, 18), [],
        "int": Integer, [],
        "Gives the result that the system call or hook would return so far.";
    SET_RETVAL = 187, "bpf_set_retval", (5, 18), [],
        "int": Integer, ["int retval": Anything],
        "Sets the result that the system call or hook returns.";
    XDP_GET_BUFF_LEN = 188, "bpf_xdp_get_buff_len", (5, 18), [],
        "u64": Integer, ["struct xdp_buff *xdp_md": CONTEXT],
        "Gives the whole length of the packet, fragments included.";
    XDP_LOAD_BYTES = 189, "bpf_xdp_load_bytes", (5, 18), [],
        "long": Integer, [
            "struct xdp_buff *xdp_md": CONTEXT, "u32 offset": Anything, "void *buf": MEM_OUT,
            "u32 len": SIZE,
        ],
        "Copies bytes of the packet at an offset into a buffer, fragments included.";
    XDP_STORE_BYTES = 190, "bpf_xdp_store_bytes", (5, 18), [],
        "long": Integer, [
            "struct xdp_buff *xdp_md": CONTEXT, "u32 offset": Anything, "void *buf": MEM_IN,
            "u32 len": SIZE,
        ],
        "Writes bytes into the packet at an offset, fragments included.";
    COPY_FROM_USER_TASK = 191, "bpf_copy_from_user_task", (5, 18), [gpl_only, may_sleep],
        "long": Integer, [
            "void *dst": MEM_OUT, "u32 size": SIZE_OR_ZERO, "const void *user_ptr": Anything,
            "struct task_struct *tsk": btf("task_struct"), "u64 flags": Anything,
        ],
        "Copies bytes from the user space of another task, waiting for pages if need be.";
    SKB_SET_TSTAMP = 192, "bpf_skb_set_tstamp", (5, 18), [],
        "long": Integer, [
            "struct sk_buff *skb": CONTEXT, "u64 tstamp": Anything, "u32 tstamp_type": Anything,
        ],
        "Sets the packet's time stamp and which clock it is of.";
    IMA_FILE_HASH = 193, "bpf_ima_file_hash", (5, 18), [may_sleep],
        "long": Integer, [
            "struct file *file": btf("file"), "void *dst": MEM_OUT, "u32 size": SIZE,
        ],
        "Copies the integrity measurement of a file, computing it if needed.";
    KPTR_XCHG = 194, "bpf_kptr_xchg", (5, 19), [acquires],
        "void *": KptrOrNull, ["void *dst": KptrSlot, "void *ptr": ReleasedKptr],
        "Swaps a kernel pointer in a map value or object for another and gives the old one.";
    MAP_LOOKUP_PERCPU_ELEM = 195, "bpf_map_lookup_percpu_elem", (5, 19), [packet_access],
        "void *": MapValue { or_null: true }, [
            "struct bpf_map *map": ConstMap, "const void *key": MapKey, "u32 cpu": Anything,
        ],
        "Finds the value a given processor has under a key of a per-CPU map.";
    SKC_TO_MPTCP_SOCK = 196, "bpf_skc_to_mptcp_sock", (5, 19), [],
        "struct mptcp_sock *": Btf { type_name: "mptcp_sock", trusted: false, or_null: true }, [
            "void *sk": SockCommon,
        ],
        "Casts a socket to a multipath TCP socket, or gives NULL if it is none.";
    DYNPTR_FROM_MEM = 197, "bpf_dynptr_from_mem", (5, 19), [],
        "long": Integer, [
            "void *data": MEM_OUT, "u32 size": SIZE_OR_ZERO, "u64 flags": Anything,
            "struct bpf_dynptr *ptr": Dynptr(DynptrUse::NewLocal),
        ],
        "Makes a dynamic pointer to memory of the program.";
    RINGBUF_RESERVE_DYNPTR = 198, "bpf_ringbuf_reserve_dynptr", (5, 19), [],
        "long": Integer, [
            "void *ringbuf": ConstMap, "u32 size": Anything, "u64 flags": Anything,
            "struct bpf_dynptr *ptr": Dynptr(DynptrUse::NewRingbuf),
        ],
        "Reserves room of a variable size in a ring buffer as a dynamic pointer; it must be submitted or discarded even if this fails.";
    RINGBUF_SUBMIT_DYNPTR = 199, "bpf_ringbuf_submit_dynptr", (5, 19), [],
        "void": Void, [
            "struct bpf_dynptr *ptr": Dynptr(DynptrUse::ReleaseRingbuf), "u64 flags": Anything,
        ],
        "Hands the record behind a dynamic pointer over to the reader.";
    RINGBUF_DISCARD_DYNPTR = 200, "bpf_ringbuf_discard_dynptr", (5, 19), [],
        "void": Void, [
            "struct bpf_dynptr *ptr": Dynptr(DynptrUse::ReleaseRingbuf), "u64 flags": Anything,
        ],
        "Drops the record behind a dynamic pointer.";
    DYNPTR_READ = 201, "bpf_dynptr_read", (5, 19), [],
        "long": Integer, [
            "void *dst": MEM_OUT, "u32 len": SIZE_OR_ZERO,
            "const struct bpf_dynptr *src": Dynptr(DynptrUse::Existing), "u32 offset": Anything,
            "u64 flags": Anything,
        ],
        "Copies bytes out of the memory behind a dynamic pointer.";
    DYNPTR_WRITE = 202, "bpf_dynptr_write", (5, 19), [],
        "long": Integer, [
            "const struct bpf_dynptr *dst": Dynptr(DynptrUse::Existing), "u32 offset": Anything,
            "void *src": MEM_IN, "u32 len": SIZE_OR_ZERO, "u64 flags": Anything,
        ],
        "Copies bytes into the memory behind a dynamic pointer.";
    DYNPTR_DATA = 203, "bpf_dynptr_data", (5, 19), [],
        "void *": DynptrSliceOrNull, [
            "const struct bpf_dynptr *ptr": Dynptr(DynptrUse::Existing), "u32 offset": Anything,
            "u32 len": AllocSize,
        ],
        "Gives a plain pointer to a constant-size part of the memory behind a dynamic pointer, or NULL.";
    TCP_RAW_GEN_SYNCOOKIE_IPV4 = 204, "bpf_tcp_raw_gen_syncookie_ipv4", (6, 0), [gpl_only, packet_access],
        "s64": Integer, [
            "struct iphdr *iph": FixedMemory { uses: MemoryUse::Read, size: 20 },
            "struct tcphdr *th": MEM_IN, "u32 th_len": SIZE_OR_ZERO,
        ],
        "Makes a SYN cookie from IPv4 and TCP headers, without a socket.";
    TCP_RAW_GEN_SYNCOOKIE_IPV6 = 205, "bpf_tcp_raw_gen_syncookie_ipv6", (6, 0), [gpl_only, packet_access],
        "s64": Integer, [
            "struct ipv6hdr *iph": FixedMemory { uses: MemoryUse::Read, size: 40 },
            "struct tcphdr *th": MEM_IN, "u32 th_len": SIZE_OR_ZERO,
        ],
        "Makes a SYN cookie from IPv6 and TCP headers, without a socket.";
    TCP_RAW_CHECK_SYNCOOKIE_IPV4 = 206, "bpf_tcp_raw_check_syncookie_ipv4", (6, 0), [gpl_only, packet_access],
        "long": Integer, [
            "struct iphdr *iph": FixedMemory { uses: MemoryUse::Read, size: 20 },
            "struct tcphdr *th": FixedMemory { uses: MemoryUse::Read, size: 20 },
        ],
        "Tells whether IPv4 and TCP headers carry a valid SYN cookie acknowledgement, without a socket.";
    TCP_RAW_CHECK_SYNCOOKIE_IPV6 = 207, "bpf_tcp_raw_check_syncookie_ipv6", (6, 0), [gpl_only, packet_access],
        "long": Integer, [
            "struct ipv6hdr *iph": FixedMemory { uses: MemoryUse::Read, size: 40 },
            "struct tcphdr *th": FixedMemory { uses: MemoryUse::Read, size: 20 },
        ],
        "Tells whether IPv6 and TCP headers carry a valid SYN cookie acknowledgement, without a socket.";
    KTIME_GET_TAI_NS = 208, "bpf_ktime_get_tai_ns", (6, 1), [],
        "u64": Integer, [],
        "Gives international atomic time in nanoseconds.";
    USER_RINGBUF_DRAIN = 209, "bpf_user_ringbuf_drain", (6, 1), [],
        "long": Integer, [
            "struct bpf_map *map": ConstMap, "void *callback_fn": Function,
            "void *ctx": STACK_OR_NULL, "u64 flags": Anything,
        ],
        "Takes records out of a user ring buffer and calls a function for each.";
    CGRP_STORAGE_GET = 210, "bpf_cgrp_storage_get", (6, 2), [],
        "void *": MapValue { or_null: true }, [
            "struct bpf_map *map": ConstMap, "struct cgroup *cgroup": btf_or_null("cgroup"),
            "void *value": MAP_VALUE_OR_NULL, "u64 flags": Anything,
        ],
        "Gives the map's storage attached to a cgroup, creating it on request.";
    CGRP_STORAGE_DELETE = 211, "bpf_cgrp_storage_delete", (6, 2), [],
        "long": Integer, [
            "struct bpf_map *map": ConstMap, "struct cgroup *cgroup": btf_or_null("cgroup"),
        ],
        "Removes the map's storage from a cgroup.";
}
