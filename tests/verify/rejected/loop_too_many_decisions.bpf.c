// Counts the zero bytes of a large buffer in a map.
// Wrong: each round has a branch that may go either way, and each leaves a path to be walked later;
// more than 8192 of them may not wait at a time.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct buffer {
	__u8 bytes[16384];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct buffer);
} buffers SEC(".maps");

volatile __u32 zeros = 0;

SEC("tc")
int loop_too_many_decisions(struct __sk_buff *skb)
{
	__u32 key = 0;
	struct buffer *buffer = bpf_map_lookup_elem(&buffers, &key);

	if (!buffer)
		return 0;
	for (__u32 i = 0; i < sizeof(buffer->bytes); i++) // here
		if (buffer->bytes[i] == 0)
			zeros += 1;
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
