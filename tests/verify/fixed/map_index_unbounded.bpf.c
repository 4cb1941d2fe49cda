// Counts packets by the upper half of the first byte of their source address.
// Right: the index is at most 15, and the value has 16 counters.
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <bpf/bpf_helpers.h>

struct counters {
	__u64 packets[16];
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct counters);
} by_source SEC(".maps");

SEC("xdp")
int map_index_unbounded(struct xdp_md *ctx)
{
	struct ethhdr *eth = (void *)(long)ctx->data;
	void *data_end = (void *)(long)ctx->data_end;
	struct counters *counters;
	__u32 key = 0;

	if ((void *)(eth + 1) > data_end)
		return XDP_PASS;
	counters = bpf_map_lookup_elem(&by_source, &key);
	if (!counters)
		return XDP_PASS;
	counters->packets[eth->h_source[0] >> 4]++;
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
