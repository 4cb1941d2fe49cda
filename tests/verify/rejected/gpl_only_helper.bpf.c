// Prints a line for every packet.
// Wrong: bpf_trace_printk is for programs under a licence compatible with the GPL only.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("xdp")
int gpl_only_helper(struct xdp_md *ctx)
{
	bpf_printk("interface %d", ctx->ingress_ifindex); // here
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "Proprietary";
