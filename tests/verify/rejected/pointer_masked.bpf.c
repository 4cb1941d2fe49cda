// Keeps the length of packets in the last aligned word of a buffer in a map.
// Wrong: aligns the pointer itself with a mask; the verifier lets nobody touch single bits of it.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct buffer {
	__u8 bytes[61];
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 64);
	__type(key, __u32);
	__type(value, struct buffer);
} buffers SEC(".maps");

SEC("tc")
int pointer_masked(struct __sk_buff *skb)
{
	__u32 interface = skb->ifindex;
	struct buffer *buffer = bpf_map_lookup_elem(&buffers, &interface);
	__u64 *word;

	if (!buffer)
		return 0;
	word = (__u64 *)((__u64)(buffer->bytes + 53) & ~7ULL); // here
	*word = skb->len;
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
