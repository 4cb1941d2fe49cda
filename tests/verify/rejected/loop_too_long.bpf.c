// Mixes a hash many times.
// Wrong: the loop has a bound, but the verifier walks it round by round and has a budget of one
// million instructions.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

volatile __u32 mixed = 0;

SEC("xdp")
int loop_too_long(struct xdp_md *ctx)
{
	__u32 hash = ctx->rx_queue_index;

	for (__u32 round = 0; round < 500000; round++) { // here
		hash = hash * 33 + round;
		mixed = hash;
	}
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
