// Sets the priority to a limit from a map, or to the packet's length where there is none.
// Wrong: one load serves a field of the context and a map value in turn; the kernel rewrites loads
// from the context, and so must know for each load which it is.
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

	if (!limit)
		limit = &skb->len;
	skb->priority = *limit; // here
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
