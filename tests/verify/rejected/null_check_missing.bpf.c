// Counts packets by interface.
// Wrong: bpf_map_lookup_elem may return NULL, and the result is used without asking.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 64);
	__type(key, __u32);
	__type(value, __u64);
} packets SEC(".maps");

SEC("xdp")
int null_check_missing(struct xdp_md *ctx)
{
	__u32 interface = ctx->ingress_ifindex;
	__u64 *count = bpf_map_lookup_elem(&packets, &interface);

	*count += 1; // here
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
