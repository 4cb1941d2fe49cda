// Counts packets by the interface on which they came.
// Right: ingress_ifindex is there for every XDP program.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

__u32 last_interface = 0;

SEC("xdp")
int context_field_of_another_type(struct xdp_md *ctx)
{
	last_interface = ctx->ingress_ifindex;
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
