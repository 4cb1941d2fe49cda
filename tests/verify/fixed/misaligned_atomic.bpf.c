// Adds up lengths in a struct.
// Right: without the attribute the counter lies at a multiple of eight.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct traffic {
	__u32 protocol;
	__u64 bytes;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct traffic);
} traffic SEC(".maps");

SEC("tc")
int misaligned_atomic(struct __sk_buff *skb)
{
	__u32 key = 0;
	struct traffic *sum = bpf_map_lookup_elem(&traffic, &key);
	__u64 *bytes;

	if (!sum)
		return 0;
	bytes = &sum->bytes;
	__sync_fetch_and_add(bytes, skb->len);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
