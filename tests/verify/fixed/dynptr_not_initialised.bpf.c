// Reads the first byte of a dynptr.
// Right: the dynptr is made from a buffer in a map.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct buffer {
	__u8 bytes[64];
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 64);
	__type(key, __u32);
	__type(value, struct buffer);
} buffers SEC(".maps");

SEC("tc")
int dynptr_not_initialised(struct __sk_buff *skb)
{
	__u32 interface = skb->ifindex;
	struct buffer *buffer = bpf_map_lookup_elem(&buffers, &interface);
	struct bpf_dynptr dynptr;
	__u8 first = 0;

	if (!buffer)
		return 0;
	bpf_dynptr_from_mem(buffer, sizeof(*buffer), 0, &dynptr);
	bpf_dynptr_read(&first, sizeof(first), &dynptr, 0, 0);
	skb->mark = first;
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
