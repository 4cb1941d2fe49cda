// Computes how many bytes of a packet lie beyond the first 64.
// Right: the difference of two pointers into the same packet is a number like any other.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

volatile __u64 beyond = 0;

SEC("xdp")
int pointer_negated(struct xdp_md *ctx)
{
	__u64 start = ctx->data;
	__u64 end = ctx->data_end;

	beyond = end - start;
	beyond -= 64;
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
