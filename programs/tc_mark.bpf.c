// A traffic-control classifier: gives packets a mark and a priority by their IP type of service.
//
// Shows: the fields of __sk_buff that a program may write (mark, priority, cb), reading the packet
// behind data and data_end, and a lookup table in .rodata.
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

// Marks start here, so that firewall rules can tell ours from others. The loader may change it.
const volatile __u32 mark_base = 0x100;

// Queueing priority by the class selector (the three high bits of the type of service, RFC 2474).
// As in the kernel's own table: 0 best effort, 2 bulk, 4 interactive bulk, 6 interactive, 7 control.
static const __u32 priority_of[8] = { 0, 2, 0, 4, 4, 6, 6, 7 };

// How many packets had each differentiated services code point.
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 64);
	__type(key, __u32);
	__type(value, __u64);
} by_code_point SEC(".maps");

// Finds the type of service, which IPv6 calls traffic class. Returns less than zero without one.
static __always_inline int type_of_service(struct __sk_buff *skb)
{
	void *data = (void *)(long)skb->data;
	void *data_end = (void *)(long)skb->data_end;

	if (skb->protocol == bpf_htons(ETH_P_IP)) {
		struct iphdr *ip = data + sizeof(struct ethhdr);

		if ((void *)(ip + 1) > data_end)
			return -1;
		return ip->tos;
	}
	if (skb->protocol == bpf_htons(ETH_P_IPV6)) {
		struct ipv6hdr *ip = data + sizeof(struct ethhdr);

		if ((void *)(ip + 1) > data_end)
			return -1;
		// The traffic class lies across a byte boundary, behind the four bits of the version.
		return ip->priority << 4 | ip->flow_lbl[0] >> 4;
	}
	return -1;
}

SEC("tc")
int tc_mark(struct __sk_buff *skb)
{
	int service = type_of_service(skb);

	if (service < 0)
		return TC_ACT_UNSPEC;

	// The two low bits carry congestion notification, not a class.
	__u32 code_point = service >> 2 & 0x3f;
	__u64 *packets = bpf_map_lookup_elem(&by_code_point, &code_point);

	if (packets)
		__sync_fetch_and_add(packets, 1);

	skb->mark = mark_base + code_point;
	skb->priority = priority_of[service >> 5 & 7];

	// Notes for programs further down the same hook: they see the same cb.
	skb->cb[0] = service;
	skb->cb[1] = code_point;
	skb->cb[2] = skb->len;
	skb->cb[3] = skb->mark;
	skb->cb[4] = ~skb->priority;
	return TC_ACT_OK;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
