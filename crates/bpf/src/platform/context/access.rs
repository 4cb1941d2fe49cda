//! Which fields the programs of each type may read and write, and in what parts.
//!
//! Taken from Linux 6.18 by loading programs, except for the types that cannot be loaded without
//! a target (`LIRC_MODE2` and those whose context is typed by BTF), read from its source.

use super::rows::{
    BPF_CGROUP_DEV_CTX, BPF_NF_CTX, BPF_PERF_EVENT_DATA, BPF_SK_LOOKUP, BPF_SOCK, BPF_SOCK_ADDR,
    BPF_SOCK_OPS, BPF_SOCKOPT, BPF_SYSCTL, BPF_TCP_SOCK, LIRC_SAMPLE, PT_REGS, RAW_TRACEPOINT_ARGS,
    SK_BUFF, SK_MSG_MD, SK_REUSEPORT_MD, SYSCALL_ARGS, TRACEPOINT_RECORD, TYPED_ARGS,
    WRITABLE_TRACEPOINT_ARGS, XDP_MD,
};
use super::{ContextAccess, ContextRow, FieldAccess, FieldRow, Grant, Part};
use crate::platform::{AttachType, ProgType};

/// Finds a field when this crate is compiled; a name that does not exist fails the compilation.
const fn field(context: &'static ContextRow, name: &str) -> &'static FieldRow {
    let mut place = 0;
    while place < context.fields.len() {
        if same(context.fields[place].name, name) {
            return &context.fields[place];
        }
        place += 1;
    }
    panic!("the context has no such field")
}

const fn same(one: &str, other: &str) -> bool {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    if one.len() != other.len() {
        return false;
    }
    let mut place = 0;
    while place < one.len() {
        if one[place] != other[place] {
            return false;
        }
        place += 1;
    }
    true
}

macro_rules! part {
    (-) => {
        None
    };
    ($part:ident) => {
        Some(Part::$part)
    };
}

/// A structure, then groups of fields with the part that may be read, the part that may be
/// written (`-`: not at all) and their names.
macro_rules! fields {
    ($layout:ident { $($read:tt $write:tt [$($field:ident)+])+ }) => {
        FieldAccess {
            layout: &$layout,
            grants: &[$($( Grant {
                field: field(&$layout, stringify!($field)),
                read: part!($read),
                write: part!($write),
            }, )+)+],
        }
    };
}

/// A row: program types, attach types (none: all), then the context and its fields.
macro_rules! access {
    ($(
        [$($prog:ident),+] [$($attach:ident),*] $context:ident {
            $($read:tt $write:tt [$($field:ident)+])+
        }
    )*) => {
        /// What programs may do with their context; the first row that fits counts.
        pub static CONTEXT_ACCESS: &[ContextAccess] = &[$( ContextAccess {
            prog_types: &[$(ProgType::$prog),+],
            attach_types: &[$(AttachType::$attach),*],
            fields: fields!($context { $($read $write [$($field)+])+ }),
        }, )*];
    };
}

access! {
    [SOCKET_FILTER] [] SK_BUFF {
        Narrow - [
            len pkt_type mark queue_mapping protocol vlan_present vlan_tci vlan_proto priority
            ingress_ifindex ifindex tc_index hash napi_id gso_segs gso_size
        ]
        NarrowOrPair NarrowOrPair [cb]
        Whole - [sk]
    }
    [SCHED_CLS, SCHED_ACT] [] SK_BUFF {
        Narrow - [
            len pkt_type protocol vlan_present vlan_tci vlan_proto ingress_ifindex ifindex hash
            napi_id wire_len gso_segs gso_size tstamp_type
        ]
        Narrow Whole [mark queue_mapping priority tc_index tc_classid]
        NarrowOrPair NarrowOrPair [cb]
        Whole Whole [tstamp]
        Whole - [data data_end data_meta sk hwtstamp]
    }
    [CGROUP_SKB] [] SK_BUFF {
        Narrow - [
            len pkt_type queue_mapping protocol vlan_present vlan_tci vlan_proto ingress_ifindex
            ifindex tc_index hash napi_id family remote_port local_port gso_segs gso_size
        ]
        Narrow Whole [mark priority]
        NarrowOrPair NarrowOrPair [cb]
        Whole Whole [tstamp]
        Whole - [data data_end remote_ip4 local_ip4 remote_ip6 local_ip6 sk hwtstamp]
    }
    [LWT_IN, LWT_OUT, LWT_XMIT, LWT_SEG6LOCAL] [] SK_BUFF {
        Narrow - [
            len pkt_type queue_mapping protocol vlan_present vlan_tci vlan_proto ingress_ifindex
            ifindex tc_index hash napi_id gso_segs gso_size
        ]
        Narrow Whole [mark priority]
        NarrowOrPair NarrowOrPair [cb]
        Whole - [data data_end sk]
    }
    [SK_SKB] [] SK_BUFF {
        Narrow - [
            len pkt_type queue_mapping protocol vlan_present vlan_tci vlan_proto ingress_ifindex
            ifindex hash napi_id family remote_port local_port gso_segs gso_size
        ]
        Narrow Whole [priority tc_index]
        NarrowOrPair - [cb]
        Whole - [data data_end remote_ip4 local_ip4 remote_ip6 local_ip6 sk]
    }
    [FLOW_DISSECTOR] [] SK_BUFF {
        Whole - [data data_end flow_keys]
    }
    [XDP] [XDP_DEVMAP] XDP_MD {
        Whole - [data data_end data_meta ingress_ifindex rx_queue_index egress_ifindex]
    }
    [XDP] [] XDP_MD {
        Whole - [data data_end data_meta ingress_ifindex rx_queue_index]
    }
    [KPROBE] [] PT_REGS {
        Narrow - [
            r15 r14 r13 r12 rbp rbx r11 r10 r9 r8 rax rcx rdx rsi rdi orig_rax rip cs eflags rsp ss
        ]
    }
    [TRACEPOINT] [] TRACEPOINT_RECORD {
        Narrow - [record]
    }
    [RAW_TRACEPOINT] [] RAW_TRACEPOINT_ARGS {
        Narrow - [args]
    }
    [RAW_TRACEPOINT_WRITABLE] [] WRITABLE_TRACEPOINT_ARGS {
        WholeAtStart - [buffer]
        Narrow - [args]
    }
    [PERF_EVENT] [] BPF_PERF_EVENT_DATA {
        Whole - [regs]
        Narrow - [sample_period addr]
    }
    [TRACING, LSM, STRUCT_OPS] [] TYPED_ARGS {
        Narrow - [args]
    }
    [CGROUP_SOCK] [CGROUP_INET4_POST_BIND] BPF_SOCK {
        AtStart - [family type protocol src_port state rx_queue_mapping]
        Narrow - [src_ip4 dst_ip4 dst_ip6]
        NarrowOrWord - [dst_port]
    }
    [CGROUP_SOCK] [CGROUP_INET6_POST_BIND] BPF_SOCK {
        AtStart - [family type protocol src_port state rx_queue_mapping]
        Narrow - [src_ip6 dst_ip4 dst_ip6]
        NarrowOrWord - [dst_port]
    }
    [CGROUP_SOCK] [] BPF_SOCK {
        Whole Whole [bound_dev_if mark priority]
        AtStart - [family type protocol state rx_queue_mapping]
        Narrow - [dst_ip4 dst_ip6]
        NarrowOrWord - [dst_port]
    }
    [CGROUP_SOCK_ADDR] [
        CGROUP_INET4_BIND, CGROUP_INET4_CONNECT, CGROUP_UDP4_RECVMSG, CGROUP_INET4_GETPEERNAME,
        CGROUP_INET4_GETSOCKNAME
    ] BPF_SOCK_ADDR {
        Whole - [user_family family type protocol sk]
        Narrow Whole [user_ip4 user_port]
    }
    [CGROUP_SOCK_ADDR] [
        CGROUP_INET6_BIND, CGROUP_INET6_CONNECT, CGROUP_UDP6_RECVMSG, CGROUP_INET6_GETPEERNAME,
        CGROUP_INET6_GETSOCKNAME
    ] BPF_SOCK_ADDR {
        Whole - [user_family family type protocol sk]
        NarrowOrPair WholeOrPair [user_ip6]
        Narrow Whole [user_port]
    }
    [CGROUP_SOCK_ADDR] [CGROUP_UDP4_SENDMSG] BPF_SOCK_ADDR {
        Whole - [user_family family type protocol sk]
        Narrow Whole [user_ip4 user_port msg_src_ip4]
    }
    [CGROUP_SOCK_ADDR] [CGROUP_UDP6_SENDMSG] BPF_SOCK_ADDR {
        Whole - [user_family family type protocol sk]
        NarrowOrPair WholeOrPair [user_ip6 msg_src_ip6]
        Narrow Whole [user_port]
    }
    [CGROUP_SOCK_ADDR] [
        CGROUP_UNIX_CONNECT, CGROUP_UNIX_SENDMSG, CGROUP_UNIX_RECVMSG, CGROUP_UNIX_GETPEERNAME,
        CGROUP_UNIX_GETSOCKNAME
    ] BPF_SOCK_ADDR {
        Whole - [user_family family type protocol sk]
        Narrow Whole [user_port]
    }
    [SOCK_OPS] [] BPF_SOCK_OPS {
        Whole Whole [reply sk_txhash]
        Whole - [
            op args family remote_ip4 local_ip4 remote_ip6 local_ip6 remote_port local_port
            is_fullsock snd_cwnd srtt_us bpf_sock_ops_cb_flags state rtt_min snd_ssthresh rcv_nxt
            snd_nxt snd_una mss_cache ecn_flags rate_delivered rate_interval_us packets_out
            retrans_out total_retrans segs_in data_segs_in segs_out data_segs_out lost_out
            sacked_out bytes_received bytes_acked sk skb_data skb_data_end skb_len skb_hwtstamp
        ]
        AtStart - [skb_tcp_flags]
    }
    [SK_LOOKUP] [] BPF_SK_LOOKUP {
        Whole - [sk]
        Narrow - [family protocol remote_ip4 remote_ip6 local_ip4 local_ip6 local_port ingress_ifindex]
        NarrowOfWord - [remote_port]
    }
    [SK_MSG] [] SK_MSG_MD {
        Whole - [
            data data_end family remote_ip4 local_ip4 remote_ip6 local_ip6 remote_port local_port
            size sk
        ]
    }
    [SK_REUSEPORT] [] SK_REUSEPORT_MD {
        Whole - [data data_end hash sk migrating_sk]
        Narrow - [len ip_protocol bind_inany]
        AtLeastTwo - [eth_protocol]
    }
    [CGROUP_DEVICE] [] BPF_CGROUP_DEV_CTX {
        Narrow - [access_type]
        Whole - [major minor]
    }
    [CGROUP_SYSCTL] [] BPF_SYSCTL {
        Narrow - [write]
        Narrow Whole [file_pos]
    }
    [CGROUP_SOCKOPT] [CGROUP_GETSOCKOPT] BPF_SOCKOPT {
        Whole - [sk optval optval_end level optname]
        Whole Whole [optlen retval]
    }
    [CGROUP_SOCKOPT] [CGROUP_SETSOCKOPT] BPF_SOCKOPT {
        Whole - [sk optval optval_end]
        Whole Whole [level optname optlen]
    }
    [NETFILTER] [] BPF_NF_CTX {
        Whole - [state skb]
    }
    [LIRC_MODE2] [] LIRC_SAMPLE {
        Whole - [sample]
    }
    [SYSCALL] [] SYSCALL_ARGS {
        Narrow Narrow [args]
    }
}

/// What may be done through a pointer to a full socket.
pub static FULL_SOCKET: FieldAccess = fields!(BPF_SOCK {
    Whole - [bound_dev_if mark priority]
    AtStart - [family type protocol src_port state rx_queue_mapping]
    Narrow - [src_ip4 src_ip6 dst_ip4 dst_ip6]
    NarrowOrWord - [dst_port]
});

/// What may be done through a pointer to a socket that need not be a full one.
pub static COMMON_SOCKET: FieldAccess = fields!(BPF_SOCK {
    Whole - [bound_dev_if]
    AtStart - [family src_port state rx_queue_mapping]
    Narrow - [src_ip4 src_ip6 dst_ip4 dst_ip6]
    NarrowOrWord - [dst_port]
});

/// What may be done through a pointer to the TCP side of a socket.
pub static TCP_SOCKET: FieldAccess = fields!(BPF_TCP_SOCK {
    Whole - [
        snd_cwnd srtt_us rtt_min snd_ssthresh rcv_nxt snd_nxt snd_una mss_cache ecn_flags
        rate_delivered rate_interval_us packets_out retrans_out total_retrans segs_in data_segs_in
        segs_out data_segs_out lost_out sacked_out bytes_received bytes_acked dsack_dups delivered
        delivered_ce icsk_retransmits
    ]
});
