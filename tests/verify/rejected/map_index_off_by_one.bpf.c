// Counts packets by the interface's number.
// Wrong: the check refuses what is above the number of counters, not the number itself.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#define INTERFACES 32

struct counters {
	__u64 packets[INTERFACES];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct counters);
} by_interface SEC(".maps");

SEC("xdp")
int map_index_off_by_one(struct xdp_md *ctx)
{
	__u32 interface = ctx->ingress_ifindex;
	__u32 key = 0;
	struct counters *counters = bpf_map_lookup_elem(&by_interface, &key);

	if (!counters)
		return XDP_PASS;
	if (interface > INTERFACES) // here
		return XDP_PASS;
	counters->packets[interface]++;
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
