// Counts packets by the interface on which they will leave.
// Wrong: only programs in a devmap have egress_ifindex; for others the context ends before it.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

__u32 last_interface = 0;

SEC("xdp")
int context_field_of_another_type(struct xdp_md *ctx)
{
	last_interface = ctx->egress_ifindex; // here
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
