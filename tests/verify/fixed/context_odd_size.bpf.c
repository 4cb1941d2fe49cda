// Notes the queue of a packet in 16 bits.
// Right: reads the whole field, and stores the half of it.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

volatile __u16 last_queue = 0;

SEC("xdp")
int context_odd_size(struct xdp_md *ctx)
{
	last_queue = ctx->rx_queue_index;
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
