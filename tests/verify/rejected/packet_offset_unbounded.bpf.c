// Reads the byte at an offset that the user set in a map.
// Wrong: a 64-bit offset from a map may be anything, and the sum with the packet's start could wrap
// around; no later comparison with data_end can make up for that.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} offsets SEC(".maps");

SEC("xdp")
int packet_offset_unbounded(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data;
	void *data_end = (void *)(long)ctx->data_end;
	__u32 key = 0;
	__u64 *offset = bpf_map_lookup_elem(&offsets, &key);
	__u8 *byte;

	if (!offset)
		return XDP_PASS;
	byte = data + *offset; // here
	if ((void *)(byte + 1) > data_end)
		return XDP_PASS;
	return *byte == 0xff ? XDP_DROP : XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
