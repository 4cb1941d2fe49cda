// Reads a limit from a map.
// Right: the result is compared with NULL.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16);
	__type(key, __u32);
	__type(value, __u32);
} limits SEC(".maps");

SEC("socket")
int null_check_by_sign(struct __sk_buff *skb)
{
	__u32 key = skb->protocol;
	__u32 *limit = bpf_map_lookup_elem(&limits, &key);

	if (limit == NULL)
		return 0;
	return *limit;
}

char LICENSE[] SEC("license") = "GPL";
