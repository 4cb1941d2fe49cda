// Copies a whole small packet to a map.
// Right: the buffer lies in a map, not on the stack.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct buffer {
	__u8 bytes[600];
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct buffer);
} buffers SEC(".maps");

SEC("tc")
int stack_too_deep(struct __sk_buff *skb)
{
	__u32 key = 0;
	struct buffer *buffer = bpf_map_lookup_elem(&buffers, &key);

	if (!buffer || bpf_skb_load_bytes(skb, 0, buffer->bytes, sizeof(buffer->bytes)))
		return 0;
	skb->mark = buffer->bytes[599];
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
