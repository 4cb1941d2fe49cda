// Sets the priority to a limit from a map, or to the packet's length where there is none.
// Right: each of the two has a load of its own.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 64);
	__type(key, __u32);
	__type(value, __u32);
} limits SEC(".maps");

SEC("tc")
int access_through_either(struct __sk_buff *skb)
{
	__u32 interface = skb->ifindex;
	__u32 *limit = bpf_map_lookup_elem(&limits, &interface);
	__u32 length = skb->len;

	if (limit && *limit < length)
		length = *limit;
	skb->priority = length;
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
