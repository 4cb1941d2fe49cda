// Reads the byte at an offset that the user set in a map.
// Right: the offset is limited before it is added to the packet's start.
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
	__u64 bounded;
	__u8 *byte;

	if (!offset)
		return XDP_PASS;
	bounded = *offset;
	if (bounded > 1500)
		return XDP_PASS;
	byte = data + bounded;
	if ((void *)(byte + 1) > data_end)
		return XDP_PASS;
	return *byte == 0xff ? XDP_DROP : XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
