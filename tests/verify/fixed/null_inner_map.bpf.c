// Counts packets in a map per interface: a map in a map.
// Right: both lookups are checked.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct counters {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, __u64);
} first SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 8);
	__type(key, __u32);
	__array(values, struct counters);
} per_interface SEC(".maps") = {
	.values = { &first },
};

SEC("xdp")
int null_inner_map(struct xdp_md *ctx)
{
	__u32 interface = ctx->ingress_ifindex;
	__u32 key = 0;
	void *counters = bpf_map_lookup_elem(&per_interface, &interface);
	__u64 *count;

	if (!counters)
		return XDP_PASS;
	count = bpf_map_lookup_elem(counters, &key);
	if (count)
		*count += 1;
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
