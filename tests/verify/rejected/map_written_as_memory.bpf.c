// Counts packets.
// Wrong: writes to the map itself as if it were the array of its values. The address of a map is a
// handle; its values are reached through bpf_map_lookup_elem.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} packets SEC(".maps");

SEC("xdp")
int map_written_as_memory(struct xdp_md *ctx)
{
	__u64 *count = (__u64 *)&packets;

	*count = ctx->rx_queue_index; // here
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
