// Spreads packets over eight queues by a hash.
// Right: hashes the value.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 64);
	__type(key, __u32);
	__type(value, __u64);
} salts SEC(".maps");

SEC("tc")
int pointer_multiplied(struct __sk_buff *skb)
{
	__u32 interface = skb->ifindex;
	__u64 *salt = bpf_map_lookup_elem(&salts, &interface);

	if (!salt)
		return 0;
	skb->queue_mapping = (*salt * 31) >> 7 & 7;
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
