// Counts packets and bytes by kind of frame and by IP protocol.
//
// Shows: per-CPU arrays, and the bounds check that must come before every read of a packet.
//
// A per-CPU array holds one copy of each value for each CPU. A program only ever writes the copy of
// the CPU it runs on, so plain additions are enough; whoever reads the map adds the copies up.
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

struct traffic {
	__u64 packets;
	__u64 bytes;
};

// What an Ethernet frame carries, by its EtherType: the keys of `by_frame_kind`.
enum frame_kind {
	FRAME_IPV4,
	FRAME_IPV6,
	FRAME_ARP,
	FRAME_VLAN,  // a tagged frame; the tag is not looked behind
	FRAME_OTHER,
	FRAME_SHORT, // shorter than the headers that its EtherType promises
	FRAME_KINDS, // how many kinds there are
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, FRAME_KINDS);
	__type(key, __u32);
	__type(value, struct traffic);
} by_frame_kind SEC(".maps");

// The key is the protocol number of the IPv4 header, or the first next-header number of the IPv6
// header (which may be that of an extension header).
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 256);
	__type(key, __u32);
	__type(value, struct traffic);
} by_ip_protocol SEC(".maps");

static __always_inline void count(void *map, __u32 key, __u64 bytes)
{
	struct traffic *traffic = bpf_map_lookup_elem(map, &key);

	// The verifier insists on this test, though every key of an array exists.
	if (!traffic)
		return;
	traffic->packets++;
	traffic->bytes += bytes;
}

SEC("xdp")
int packet_counter(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data;
	void *data_end = (void *)(long)ctx->data_end;
	__u64 bytes = data_end - data;
	enum frame_kind kind = FRAME_SHORT;

	struct ethhdr *ethernet = data;
	if ((void *)(ethernet + 1) > data_end)
		goto out;

	switch (bpf_ntohs(ethernet->h_proto)) {
	case ETH_P_IP: {
		struct iphdr *ip = (void *)(ethernet + 1);

		if ((void *)(ip + 1) > data_end)
			break;
		kind = FRAME_IPV4;
		count(&by_ip_protocol, ip->protocol, bytes);
		break;
	}
	case ETH_P_IPV6: {
		struct ipv6hdr *ip = (void *)(ethernet + 1);

		if ((void *)(ip + 1) > data_end)
			break;
		kind = FRAME_IPV6;
		count(&by_ip_protocol, ip->nexthdr, bytes);
		break;
	}
	case ETH_P_ARP:
		kind = FRAME_ARP;
		break;
	case ETH_P_8021Q:
	case ETH_P_8021AD:
		kind = FRAME_VLAN;
		break;
	default:
		kind = FRAME_OTHER;
	}
out:
	count(&by_frame_kind, kind, bytes);
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
