// Keeps packets and bytes per protocol.
// Wrong: the value was declared as one 64-bit counter, but is used as a struct of two.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct traffic {
	__u64 packets;
	__u64 bytes;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 256);
	__type(key, __u32);
	__type(value, __u64);
} by_protocol SEC(".maps");

SEC("socket")
int map_value_past_end(struct __sk_buff *skb)
{
	__u32 protocol = skb->protocol;
	struct traffic *traffic = bpf_map_lookup_elem(&by_protocol, &protocol);

	if (!traffic)
		return 0;
	traffic->packets += 1;
	traffic->bytes += skb->len; // here
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
