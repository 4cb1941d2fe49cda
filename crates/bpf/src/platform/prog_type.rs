//! Program types and attach types.
//!
//! Numbers and constants: `linux/bpf.h`; names: what libbpf and bpftool print.

named_numbers! {
    /// What a program is for: decides its context, its helpers and what it may return.
    pub struct ProgType, "program type", "BPF_PROG_TYPE_";
    UNSPEC = 0, "unspec", (3, 18), "No type: not yet known.";
    SOCKET_FILTER = 1, "socket_filter", (3, 19), "Filters or shortens what a socket receives.";
    KPROBE = 2, "kprobe", (4, 1), "Runs at a kernel or user probe, or on return from it.";
    SCHED_CLS = 3, "sched_cls", (4, 1), "Classifies packets in traffic control.";
    SCHED_ACT = 4, "sched_act", (4, 1), "Acts on packets in traffic control.";
    TRACEPOINT = 5, "tracepoint", (4, 7), "Runs at a static tracepoint.";
    XDP = 6, "xdp", (4, 8), "Decides on packets in the network driver, before the stack.";
    PERF_EVENT = 7, "perf_event", (4, 9), "Runs when a performance counter overflows.";
    CGROUP_SKB = 8, "cgroup_skb", (4, 10), "Lets packets of a cgroup in or out.";
    CGROUP_SOCK = 9, "cgroup_sock", (4, 10), "Runs when a cgroup makes, binds or releases a socket.";
    LWT_IN = 10, "lwt_in", (4, 10), "Inspects packets that enter a lightweight tunnel route.";
    LWT_OUT = 11, "lwt_out", (4, 10), "Inspects packets that leave by a lightweight tunnel route.";
    LWT_XMIT = 12, "lwt_xmit", (4, 10), "Changes packets sent by a lightweight tunnel route.";
    SOCK_OPS = 13, "sock_ops", (4, 13), "Follows and tunes the TCP connections of a cgroup.";
    SK_SKB = 14, "sk_skb", (4, 14), "Parses and redirects the stream of a socket in a map.";
    CGROUP_DEVICE = 15, "cgroup_device", (4, 15), "Allows a cgroup the use of a device.";
    SK_MSG = 16, "sk_msg", (4, 17), "Decides on messages sent by a socket in a map.";
    RAW_TRACEPOINT = 17, "raw_tracepoint", (4, 17), "Runs at a tracepoint, with its raw arguments.";
    CGROUP_SOCK_ADDR = 18, "cgroup_sock_addr", (4, 17),
        "Sees and changes the addresses a cgroup's sockets use.";
    LWT_SEG6LOCAL = 19, "lwt_seg6local", (4, 18), "Acts on segment-routed IPv6 packets.";
    LIRC_MODE2 = 20, "lirc_mode2", (4, 18), "Decodes infrared remote controls.";
    SK_REUSEPORT = 21, "sk_reuseport", (4, 19), "Chooses among the sockets that share a port.";
    FLOW_DISSECTOR = 22, "flow_dissector", (4, 20), "Finds the headers of a packet for flow hashing.";
    CGROUP_SYSCTL = 23, "cgroup_sysctl", (5, 2), "Sees and controls a cgroup's access to sysctls.";
    RAW_TRACEPOINT_WRITABLE = 24, "raw_tracepoint_writable", (5, 2),
        "Runs at a tracepoint whose first argument it may write to.";
    CGROUP_SOCKOPT = 25, "cgroup_sockopt", (5, 3), "Sees and changes a cgroup's socket options.";
    TRACING = 26, "tracing", (5, 5), "Wraps kernel functions, tracepoints and iterators by type.";
    STRUCT_OPS = 27, "struct_ops", (5, 6), "Implements a structure of functions for the kernel.";
    EXT = 28, "ext", (5, 6), "Replaces a global function of another program.";
    LSM = 29, "lsm", (5, 7), "Decides at the hooks of Linux security modules.";
    SK_LOOKUP = 30, "sk_lookup", (5, 9), "Chooses the socket for a new connection or datagram.";
    SYSCALL = 31, "syscall", (5, 14), "Runs on request of user space and may do system calls.";
    NETFILTER = 32, "netfilter", (6, 4), "Decides on packets at a netfilter hook.";
}

named_numbers! {
    /// Where a program is meant to be attached, as far as its type leaves that open.
    ///
    /// The number 0 stands both for [`AttachType::CGROUP_INET_INGRESS`] and for "unspecified".
    pub struct AttachType, "attach type", "BPF_";
    CGROUP_INET_INGRESS = 0, "cgroup_inet_ingress", (4, 10), "Packets a cgroup receives.";
    CGROUP_INET_EGRESS = 1, "cgroup_inet_egress", (4, 10), "Packets a cgroup sends.";
    CGROUP_INET_SOCK_CREATE = 2, "cgroup_inet_sock_create", (4, 10), "Making of a socket.";
    CGROUP_SOCK_OPS = 3, "cgroup_sock_ops", (4, 13), "Events of TCP connections.";
    SK_SKB_STREAM_PARSER = 4, "sk_skb_stream_parser", (4, 14), "Cutting a stream into messages.";
    SK_SKB_STREAM_VERDICT = 5, "sk_skb_stream_verdict", (4, 14), "Verdict on a message of a stream.";
    CGROUP_DEVICE = 6, "cgroup_device", (4, 15), "Use of a device.";
    SK_MSG_VERDICT = 7, "sk_msg_verdict", (4, 17), "Verdict on a message that is sent.";
    CGROUP_INET4_BIND = 8, "cgroup_inet4_bind", (4, 17), "Binding to an IPv4 address.";
    CGROUP_INET6_BIND = 9, "cgroup_inet6_bind", (4, 17), "Binding to an IPv6 address.";
    CGROUP_INET4_CONNECT = 10, "cgroup_inet4_connect", (4, 17), "Connecting to an IPv4 address.";
    CGROUP_INET6_CONNECT = 11, "cgroup_inet6_connect", (4, 17), "Connecting to an IPv6 address.";
    CGROUP_INET4_POST_BIND = 12, "cgroup_inet4_post_bind", (4, 17), "After binding over IPv4.";
    CGROUP_INET6_POST_BIND = 13, "cgroup_inet6_post_bind", (4, 17), "After binding over IPv6.";
    CGROUP_UDP4_SENDMSG = 14, "cgroup_udp4_sendmsg", (4, 18), "Sending a datagram over IPv4.";
    CGROUP_UDP6_SENDMSG = 15, "cgroup_udp6_sendmsg", (4, 18), "Sending a datagram over IPv6.";
    LIRC_MODE2 = 16, "lirc_mode2", (4, 18), "An infrared receiver.";
    FLOW_DISSECTOR = 17, "flow_dissector", (4, 20), "Dissection of flows in a network namespace.";
    CGROUP_SYSCTL = 18, "cgroup_sysctl", (5, 2), "Reading or writing of a sysctl.";
    CGROUP_UDP4_RECVMSG = 19, "cgroup_udp4_recvmsg", (5, 2), "Receiving a datagram over IPv4.";
    CGROUP_UDP6_RECVMSG = 20, "cgroup_udp6_recvmsg", (5, 2), "Receiving a datagram over IPv6.";
    CGROUP_GETSOCKOPT = 21, "cgroup_getsockopt", (5, 3), "Reading of a socket option.";
    CGROUP_SETSOCKOPT = 22, "cgroup_setsockopt", (5, 3), "Setting of a socket option.";
    TRACE_RAW_TP = 23, "trace_raw_tp", (5, 5), "A tracepoint, arguments by type.";
    TRACE_FENTRY = 24, "trace_fentry", (5, 5), "Entry of a kernel function.";
    TRACE_FEXIT = 25, "trace_fexit", (5, 5), "Exit of a kernel function.";
    MODIFY_RETURN = 26, "modify_return", (5, 7), "A kernel function whose result may be replaced.";
    LSM_MAC = 27, "lsm_mac", (5, 7), "A security hook, for the whole system.";
    TRACE_ITER = 28, "trace_iter", (5, 8), "Iteration over kernel objects.";
    CGROUP_INET4_GETPEERNAME = 29, "cgroup_inet4_getpeername", (5, 8), "`getpeername` over IPv4.";
    CGROUP_INET6_GETPEERNAME = 30, "cgroup_inet6_getpeername", (5, 8), "`getpeername` over IPv6.";
    CGROUP_INET4_GETSOCKNAME = 31, "cgroup_inet4_getsockname", (5, 8), "`getsockname` over IPv4.";
    CGROUP_INET6_GETSOCKNAME = 32, "cgroup_inet6_getsockname", (5, 8), "`getsockname` over IPv6.";
    XDP_DEVMAP = 33, "xdp_devmap", (5, 8), "Packets redirected to an interface by a map.";
    CGROUP_INET_SOCK_RELEASE = 34, "cgroup_inet_sock_release", (5, 9), "Release of a socket.";
    XDP_CPUMAP = 35, "xdp_cpumap", (5, 9), "Packets redirected to a processor by a map.";
    SK_LOOKUP = 36, "sk_lookup", (5, 9), "Socket look-up in a network namespace.";
    XDP = 37, "xdp", (5, 9), "Packets an interface receives.";
    SK_SKB_VERDICT = 38, "sk_skb_verdict", (5, 13), "Verdict on data, without a parser.";
    SK_REUSEPORT_SELECT = 39, "sk_reuseport_select", (5, 14), "Choice of a socket.";
    SK_REUSEPORT_SELECT_OR_MIGRATE = 40, "sk_reuseport_select_or_migrate", (5, 14),
        "Choice of a socket, also for connections of a closing one.";
    PERF_EVENT = 41, "perf_event", (5, 15), "A perf event, through a link.";
    TRACE_KPROBE_MULTI = 42, "trace_kprobe_multi", (5, 18), "Many kernel functions at once.";
    LSM_CGROUP = 43, "lsm_cgroup", (6, 0), "A security hook, for a cgroup.";
    STRUCT_OPS = 44, "struct_ops", (6, 4), "A structure of functions, through a link.";
    NETFILTER = 45, "netfilter", (6, 4), "A netfilter hook.";
    TCX_INGRESS = 46, "tcx_ingress", (6, 6), "Packets an interface receives, in traffic control.";
    TCX_EGRESS = 47, "tcx_egress", (6, 6), "Packets an interface sends, in traffic control.";
    TRACE_UPROBE_MULTI = 48, "trace_uprobe_multi", (6, 6), "Many user functions at once.";
    CGROUP_UNIX_CONNECT = 49, "cgroup_unix_connect", (6, 7), "Connecting to a Unix address.";
    CGROUP_UNIX_SENDMSG = 50, "cgroup_unix_sendmsg", (6, 7), "Sending to a Unix address.";
    CGROUP_UNIX_RECVMSG = 51, "cgroup_unix_recvmsg", (6, 7), "Receiving from a Unix address.";
    CGROUP_UNIX_GETPEERNAME = 52, "cgroup_unix_getpeername", (6, 7), "`getpeername` of a Unix socket.";
    CGROUP_UNIX_GETSOCKNAME = 53, "cgroup_unix_getsockname", (6, 7), "`getsockname` of a Unix socket.";
    NETKIT_PRIMARY = 54, "netkit_primary", (6, 7), "The primary end of a netkit pair.";
    NETKIT_PEER = 55, "netkit_peer", (6, 7), "The peer end of a netkit pair.";
    TRACE_KPROBE_SESSION = 56, "trace_kprobe_session", (6, 10),
        "Entry and exit of many kernel functions.";
    TRACE_UPROBE_SESSION = 57, "trace_uprobe_session", (6, 13),
        "Entry and exit of many user functions.";
}

impl AttachType {
    /// No attach type: what the kernel assumes when a program is loaded without one.
    pub const UNSPECIFIED: Self = Self(0);
}

#[cfg(test)]
mod tests {
    use super::{AttachType, ProgType};

    #[test]
    fn numbers_have_no_gaps() {
        for (place, row) in ProgType::ROWS.iter().enumerate() {
            assert_eq!(row.number.0 as usize, place, "{}", row.name);
        }
        for (place, row) in AttachType::ROWS.iter().enumerate() {
            assert_eq!(row.number.0 as usize, place, "{}", row.name);
        }
        assert_eq!(ProgType::ROWS.len(), 33, "32 types and UNSPEC");
    }

    #[test]
    fn unknown_numbers_print() {
        use alloc::string::ToString;
        assert_eq!(ProgType::XDP.to_string(), "xdp");
        assert_eq!(ProgType(99).to_string(), "program type 99");
        assert_eq!(ProgType::named("BPF_PROG_TYPE_SK_MSG"), Some(ProgType::SK_MSG));
        assert_eq!(AttachType::named("trace_fexit"), Some(AttachType::TRACE_FEXIT));
    }
}
