//! The rows: structures of `linux/bpf.h` and `linux/bpf_perf_event.h`, and the contexts that have
//! no structure there.
//!
//! Offsets are those of a 64-bit machine; `struct pt_regs` is that of x86-64.

use super::{ContextRow, FieldKind, FieldRow};

macro_rules! contexts {
    ($(
        $constant:ident = $c_type:literal, $size:literal, $meaning:literal {
            $($field:tt = $offset:literal, $field_type:literal,
                $element_size:literal x $count:literal, $kind:ident $(($argument:literal))?;)*
        }
    )*) => {$(
        #[doc = concat!("`", $c_type, "`. ", $meaning)]
        pub static $constant: ContextRow = ContextRow {
            c_type: $c_type,
            size: $size,
            meaning: $meaning,
            fields: &[$( FieldRow {
                name: stringify!($field),
                offset: $offset,
                c_type: $field_type,
                element_size: $element_size,
                count: $count,
                kind: FieldKind::$kind $(($argument))?,
            }, )*],
        };
    )*};
}

contexts! {
    XDP_MD = "struct xdp_md", 24, "A packet in the driver." {
        data = 0, "__u32", 4 x 1, Packet;
        data_end = 4, "__u32", 4 x 1, PacketEnd;
        data_meta = 8, "__u32", 4 x 1, PacketMeta;
        ingress_ifindex = 12, "__u32", 4 x 1, Scalar;
        rx_queue_index = 16, "__u32", 4 x 1, Scalar;
        egress_ifindex = 20, "__u32", 4 x 1, Scalar;
    }
    SK_BUFF = "struct __sk_buff", 192, "A packet in the stack." {
        len = 0, "__u32", 4 x 1, Scalar;
        pkt_type = 4, "__u32", 4 x 1, Scalar;
        mark = 8, "__u32", 4 x 1, Scalar;
        queue_mapping = 12, "__u32", 4 x 1, Scalar;
        protocol = 16, "__u32", 4 x 1, Scalar;
        vlan_present = 20, "__u32", 4 x 1, Scalar;
        vlan_tci = 24, "__u32", 4 x 1, Scalar;
        vlan_proto = 28, "__u32", 4 x 1, Scalar;
        priority = 32, "__u32", 4 x 1, Scalar;
        ingress_ifindex = 36, "__u32", 4 x 1, Scalar;
        ifindex = 40, "__u32", 4 x 1, Scalar;
        tc_index = 44, "__u32", 4 x 1, Scalar;
        cb = 48, "__u32", 4 x 5, Scalar;
        hash = 68, "__u32", 4 x 1, Scalar;
        tc_classid = 72, "__u32", 4 x 1, Scalar;
        data = 76, "__u32", 4 x 1, Packet;
        data_end = 80, "__u32", 4 x 1, PacketEnd;
        napi_id = 84, "__u32", 4 x 1, Scalar;
        family = 88, "__u32", 4 x 1, Scalar;
        remote_ip4 = 92, "__u32", 4 x 1, Scalar;
        local_ip4 = 96, "__u32", 4 x 1, Scalar;
        remote_ip6 = 100, "__u32", 4 x 4, Scalar;
        local_ip6 = 116, "__u32", 4 x 4, Scalar;
        remote_port = 132, "__u32", 4 x 1, Scalar;
        local_port = 136, "__u32", 4 x 1, Scalar;
        data_meta = 140, "__u32", 4 x 1, PacketMeta;
        flow_keys = 144, "struct bpf_flow_keys *", 8 x 1, FlowKeys;
        tstamp = 152, "__u64", 8 x 1, Scalar;
        wire_len = 160, "__u32", 4 x 1, Scalar;
        gso_segs = 164, "__u32", 4 x 1, Scalar;
        sk = 168, "struct bpf_sock *", 8 x 1, SockCommonOrNull;
        gso_size = 176, "__u32", 4 x 1, Scalar;
        tstamp_type = 180, "__u8", 1 x 1, Scalar;
        hwtstamp = 184, "__u64", 8 x 1, Scalar;
    }
    BPF_SOCK = "struct bpf_sock", 80, "A socket." {
        bound_dev_if = 0, "__u32", 4 x 1, Scalar;
        family = 4, "__u32", 4 x 1, Scalar;
        type = 8, "__u32", 4 x 1, Scalar;
        protocol = 12, "__u32", 4 x 1, Scalar;
        mark = 16, "__u32", 4 x 1, Scalar;
        priority = 20, "__u32", 4 x 1, Scalar;
        src_ip4 = 24, "__u32", 4 x 1, Scalar;
        src_ip6 = 28, "__u32", 4 x 4, Scalar;
        src_port = 44, "__u32", 4 x 1, Scalar;
        dst_port = 48, "__be16", 2 x 1, Scalar;
        dst_ip4 = 52, "__u32", 4 x 1, Scalar;
        dst_ip6 = 56, "__u32", 4 x 4, Scalar;
        state = 72, "__u32", 4 x 1, Scalar;
        rx_queue_mapping = 76, "__s32", 4 x 1, Scalar;
    }
    BPF_TCP_SOCK = "struct bpf_tcp_sock", 112, "The TCP side of a socket." {
        snd_cwnd = 0, "__u32", 4 x 1, Scalar;
        srtt_us = 4, "__u32", 4 x 1, Scalar;
        rtt_min = 8, "__u32", 4 x 1, Scalar;
        snd_ssthresh = 12, "__u32", 4 x 1, Scalar;
        rcv_nxt = 16, "__u32", 4 x 1, Scalar;
        snd_nxt = 20, "__u32", 4 x 1, Scalar;
        snd_una = 24, "__u32", 4 x 1, Scalar;
        mss_cache = 28, "__u32", 4 x 1, Scalar;
        ecn_flags = 32, "__u32", 4 x 1, Scalar;
        rate_delivered = 36, "__u32", 4 x 1, Scalar;
        rate_interval_us = 40, "__u32", 4 x 1, Scalar;
        packets_out = 44, "__u32", 4 x 1, Scalar;
        retrans_out = 48, "__u32", 4 x 1, Scalar;
        total_retrans = 52, "__u32", 4 x 1, Scalar;
        segs_in = 56, "__u32", 4 x 1, Scalar;
        data_segs_in = 60, "__u32", 4 x 1, Scalar;
        segs_out = 64, "__u32", 4 x 1, Scalar;
        data_segs_out = 68, "__u32", 4 x 1, Scalar;
        lost_out = 72, "__u32", 4 x 1, Scalar;
        sacked_out = 76, "__u32", 4 x 1, Scalar;
        bytes_received = 80, "__u64", 8 x 1, Scalar;
        bytes_acked = 88, "__u64", 8 x 1, Scalar;
        dsack_dups = 96, "__u32", 4 x 1, Scalar;
        delivered = 100, "__u32", 4 x 1, Scalar;
        delivered_ce = 104, "__u32", 4 x 1, Scalar;
        icsk_retransmits = 108, "__u32", 4 x 1, Scalar;
    }
    BPF_SOCK_ADDR = "struct bpf_sock_addr", 72, "An address that a socket is about to use." {
        user_family = 0, "__u32", 4 x 1, Scalar;
        user_ip4 = 4, "__u32", 4 x 1, Scalar;
        user_ip6 = 8, "__u32", 4 x 4, Scalar;
        user_port = 24, "__u32", 4 x 1, Scalar;
        family = 28, "__u32", 4 x 1, Scalar;
        type = 32, "__u32", 4 x 1, Scalar;
        protocol = 36, "__u32", 4 x 1, Scalar;
        msg_src_ip4 = 40, "__u32", 4 x 1, Scalar;
        msg_src_ip6 = 44, "__u32", 4 x 4, Scalar;
        sk = 64, "struct bpf_sock *", 8 x 1, Socket;
    }
    BPF_SOCK_OPS = "struct bpf_sock_ops", 224, "An event of a TCP connection." {
        op = 0, "__u32", 4 x 1, Scalar;
        args = 4, "__u32", 4 x 4, Scalar;
        reply = 4, "__u32", 4 x 1, Scalar;
        replylong = 4, "__u32", 4 x 4, Scalar;
        family = 20, "__u32", 4 x 1, Scalar;
        remote_ip4 = 24, "__u32", 4 x 1, Scalar;
        local_ip4 = 28, "__u32", 4 x 1, Scalar;
        remote_ip6 = 32, "__u32", 4 x 4, Scalar;
        local_ip6 = 48, "__u32", 4 x 4, Scalar;
        remote_port = 64, "__u32", 4 x 1, Scalar;
        local_port = 68, "__u32", 4 x 1, Scalar;
        is_fullsock = 72, "__u32", 4 x 1, Scalar;
        snd_cwnd = 76, "__u32", 4 x 1, Scalar;
        srtt_us = 80, "__u32", 4 x 1, Scalar;
        bpf_sock_ops_cb_flags = 84, "__u32", 4 x 1, Scalar;
        state = 88, "__u32", 4 x 1, Scalar;
        rtt_min = 92, "__u32", 4 x 1, Scalar;
        snd_ssthresh = 96, "__u32", 4 x 1, Scalar;
        rcv_nxt = 100, "__u32", 4 x 1, Scalar;
        snd_nxt = 104, "__u32", 4 x 1, Scalar;
        snd_una = 108, "__u32", 4 x 1, Scalar;
        mss_cache = 112, "__u32", 4 x 1, Scalar;
        ecn_flags = 116, "__u32", 4 x 1, Scalar;
        rate_delivered = 120, "__u32", 4 x 1, Scalar;
        rate_interval_us = 124, "__u32", 4 x 1, Scalar;
        packets_out = 128, "__u32", 4 x 1, Scalar;
        retrans_out = 132, "__u32", 4 x 1, Scalar;
        total_retrans = 136, "__u32", 4 x 1, Scalar;
        segs_in = 140, "__u32", 4 x 1, Scalar;
        data_segs_in = 144, "__u32", 4 x 1, Scalar;
        segs_out = 148, "__u32", 4 x 1, Scalar;
        data_segs_out = 152, "__u32", 4 x 1, Scalar;
        lost_out = 156, "__u32", 4 x 1, Scalar;
        sacked_out = 160, "__u32", 4 x 1, Scalar;
        sk_txhash = 164, "__u32", 4 x 1, Scalar;
        bytes_received = 168, "__u64", 8 x 1, Scalar;
        bytes_acked = 176, "__u64", 8 x 1, Scalar;
        sk = 184, "struct bpf_sock *", 8 x 1, SocketOrNull;
        skb_data = 192, "void *", 8 x 1, Packet;
        skb_data_end = 200, "void *", 8 x 1, PacketEnd;
        skb_len = 208, "__u32", 4 x 1, Scalar;
        skb_tcp_flags = 212, "__u32", 4 x 1, Scalar;
        skb_hwtstamp = 216, "__u64", 8 x 1, Scalar;
    }
    BPF_SK_LOOKUP = "struct bpf_sk_lookup", 72, "A look-up of a socket." {
        sk = 0, "struct bpf_sock *", 8 x 1, SocketOrNull;
        cookie = 0, "__u64", 8 x 1, Scalar;
        family = 8, "__u32", 4 x 1, Scalar;
        protocol = 12, "__u32", 4 x 1, Scalar;
        remote_ip4 = 16, "__u32", 4 x 1, Scalar;
        remote_ip6 = 20, "__u32", 4 x 4, Scalar;
        remote_port = 36, "__be16", 2 x 1, Scalar;
        local_ip4 = 40, "__u32", 4 x 1, Scalar;
        local_ip6 = 44, "__u32", 4 x 4, Scalar;
        local_port = 60, "__u32", 4 x 1, Scalar;
        ingress_ifindex = 64, "__u32", 4 x 1, Scalar;
    }
    SK_MSG_MD = "struct sk_msg_md", 80, "A message about to be sent." {
        data = 0, "void *", 8 x 1, Packet;
        data_end = 8, "void *", 8 x 1, PacketEnd;
        family = 16, "__u32", 4 x 1, Scalar;
        remote_ip4 = 20, "__u32", 4 x 1, Scalar;
        local_ip4 = 24, "__u32", 4 x 1, Scalar;
        remote_ip6 = 28, "__u32", 4 x 4, Scalar;
        local_ip6 = 44, "__u32", 4 x 4, Scalar;
        remote_port = 60, "__u32", 4 x 1, Scalar;
        local_port = 64, "__u32", 4 x 1, Scalar;
        size = 68, "__u32", 4 x 1, Scalar;
        sk = 72, "struct bpf_sock *", 8 x 1, Socket;
    }
    SK_REUSEPORT_MD = "struct sk_reuseport_md", 56, "A choice among sockets that share a port." {
        data = 0, "void *", 8 x 1, Packet;
        data_end = 8, "void *", 8 x 1, PacketEnd;
        len = 16, "__u32", 4 x 1, Scalar;
        eth_protocol = 20, "__u32", 4 x 1, Scalar;
        ip_protocol = 24, "__u32", 4 x 1, Scalar;
        bind_inany = 28, "__u32", 4 x 1, Scalar;
        hash = 32, "__u32", 4 x 1, Scalar;
        sk = 40, "struct bpf_sock *", 8 x 1, Socket;
        migrating_sk = 48, "struct bpf_sock *", 8 x 1, SockCommonOrNull;
    }
    BPF_CGROUP_DEV_CTX = "struct bpf_cgroup_dev_ctx", 12, "A use of a device." {
        access_type = 0, "__u32", 4 x 1, Scalar;
        major = 4, "__u32", 4 x 1, Scalar;
        minor = 8, "__u32", 4 x 1, Scalar;
    }
    BPF_SYSCTL = "struct bpf_sysctl", 8, "An access to a sysctl." {
        write = 0, "__u32", 4 x 1, Scalar;
        file_pos = 4, "__u32", 4 x 1, Scalar;
    }
    BPF_SOCKOPT = "struct bpf_sockopt", 40, "A system call about a socket option." {
        sk = 0, "struct bpf_sock *", 8 x 1, Socket;
        optval = 8, "void *", 8 x 1, Packet;
        optval_end = 16, "void *", 8 x 1, PacketEnd;
        level = 24, "__s32", 4 x 1, Scalar;
        optname = 28, "__s32", 4 x 1, Scalar;
        optlen = 32, "__s32", 4 x 1, Scalar;
        retval = 36, "__s32", 4 x 1, Scalar;
    }
    BPF_FLOW_KEYS = "struct bpf_flow_keys", 56, "What is known of the headers of a packet; all of it may be read and written." {
        nhoff = 0, "__u16", 2 x 1, Scalar;
        thoff = 2, "__u16", 2 x 1, Scalar;
        addr_proto = 4, "__u16", 2 x 1, Scalar;
        is_frag = 6, "__u8", 1 x 1, Scalar;
        is_first_frag = 7, "__u8", 1 x 1, Scalar;
        is_encap = 8, "__u8", 1 x 1, Scalar;
        ip_proto = 9, "__u8", 1 x 1, Scalar;
        n_proto = 10, "__be16", 2 x 1, Scalar;
        sport = 12, "__be16", 2 x 1, Scalar;
        dport = 14, "__be16", 2 x 1, Scalar;
        ipv4_src = 16, "__be32", 4 x 1, Scalar;
        ipv4_dst = 20, "__be32", 4 x 1, Scalar;
        ipv6_src = 16, "__u32", 4 x 4, Scalar;
        ipv6_dst = 32, "__u32", 4 x 4, Scalar;
        flags = 48, "__u32", 4 x 1, Scalar;
        flow_label = 52, "__be32", 4 x 1, Scalar;
    }
    PT_REGS = "struct pt_regs", 168, "The registers of the machine, x86-64." {
        r15 = 0, "unsigned long", 8 x 1, Scalar;
        r14 = 8, "unsigned long", 8 x 1, Scalar;
        r13 = 16, "unsigned long", 8 x 1, Scalar;
        r12 = 24, "unsigned long", 8 x 1, Scalar;
        rbp = 32, "unsigned long", 8 x 1, Scalar;
        rbx = 40, "unsigned long", 8 x 1, Scalar;
        r11 = 48, "unsigned long", 8 x 1, Scalar;
        r10 = 56, "unsigned long", 8 x 1, Scalar;
        r9 = 64, "unsigned long", 8 x 1, Scalar;
        r8 = 72, "unsigned long", 8 x 1, Scalar;
        rax = 80, "unsigned long", 8 x 1, Scalar;
        rcx = 88, "unsigned long", 8 x 1, Scalar;
        rdx = 96, "unsigned long", 8 x 1, Scalar;
        rsi = 104, "unsigned long", 8 x 1, Scalar;
        rdi = 112, "unsigned long", 8 x 1, Scalar;
        orig_rax = 120, "unsigned long", 8 x 1, Scalar;
        rip = 128, "unsigned long", 8 x 1, Scalar;
        cs = 136, "unsigned long", 8 x 1, Scalar;
        eflags = 144, "unsigned long", 8 x 1, Scalar;
        rsp = 152, "unsigned long", 8 x 1, Scalar;
        ss = 160, "unsigned long", 8 x 1, Scalar;
    }
    BPF_PERF_EVENT_DATA = "struct bpf_perf_event_data", 184, "A sample of a perf event." {
        regs = 0, "unsigned long", 8 x 21, Scalar;
        sample_period = 168, "__u64", 8 x 1, Scalar;
        addr = 176, "__u64", 8 x 1, Scalar;
    }
    BPF_NF_CTX = "struct bpf_nf_ctx", 16, "A packet at a netfilter hook." {
        state = 0, "const struct nf_hook_state *", 8 x 1, Btf("nf_hook_state");
        skb = 8, "struct sk_buff *", 8 x 1, Btf("sk_buff");
    }
    TRACEPOINT_RECORD = "void", 8192, "The record of a tracepoint; its format file has the fields." {
        record = 8, "__u64", 8 x 1023, Scalar;
    }
    RAW_TRACEPOINT_ARGS = "struct bpf_raw_tracepoint_args", 96, "The arguments of a tracepoint." {
        args = 0, "__u64", 8 x 12, Scalar;
    }
    WRITABLE_TRACEPOINT_ARGS = "struct bpf_raw_tracepoint_args", 96,
        "The arguments of a tracepoint whose first one may be written to." {
        buffer = 0, "__u64", 8 x 1, TracepointBuffer;
        args = 8, "__u64", 8 x 11, Scalar;
    }
    TYPED_ARGS = "unsigned long long *", 96,
        "The arguments, and after them the result, of what the program is attached to." {
        args = 0, "__u64", 8 x 12, ByTarget;
    }
    LIRC_SAMPLE = "unsigned int", 4, "A pulse or space, or another event, of an infrared receiver." {
        sample = 0, "unsigned int", 4 x 1, Scalar;
    }
    SYSCALL_ARGS = "void", 65536, "The memory that user space passed." {
        args = 0, "__u64", 8 x 8192, Scalar;
    }
}
