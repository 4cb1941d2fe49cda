// Counts packets and bytes of the interface in two maps.
// Right: each of the two results has its own check.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 64);
	__type(key, __u32);
	__type(value, __u64);
} packets SEC(".maps"), bytes SEC(".maps");

SEC("tc")
int null_check_of_another(struct __sk_buff *skb)
{
	__u32 interface = skb->ifindex;
	__u64 *count, *sum;

	count = bpf_map_lookup_elem(&packets, &interface);
	if (!count)
		return 0;
	sum = bpf_map_lookup_elem(&bytes, &interface);
	if (!sum)
		return 0;
	__sync_fetch_and_add(count, 1);
	__sync_fetch_and_add(sum, skb->len);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
