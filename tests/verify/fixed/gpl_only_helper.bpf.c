// Prints a line for every packet.
// Right: the licence is one that the kernel takes for compatible with the GPL.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("xdp")
int gpl_only_helper(struct xdp_md *ctx)
{
	bpf_printk("interface %d", ctx->ingress_ifindex);
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
