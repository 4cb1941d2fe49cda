// Notes the queue of a packet in 16 bits.
// Wrong: reads two bytes of a field of four; fields of this context are read whole.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

volatile __u16 last_queue = 0;

SEC("xdp")
int context_odd_size(struct xdp_md *ctx)
{
	last_queue = *(__u16 *)&ctx->rx_queue_index; // here
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
