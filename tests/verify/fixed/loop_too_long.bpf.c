// Mixes a hash a thousand times.
// Right: a thousand rounds fit into the verifier's budget.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

volatile __u32 mixed = 0;

SEC("xdp")
int loop_too_long(struct xdp_md *ctx)
{
	__u32 hash = ctx->rx_queue_index;

	for (__u32 round = 0; round < 1000; round++) {
		hash = hash * 33 + round;
		mixed = hash;
	}
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
