// Computes how many bytes of a packet lie beyond the first 64.
// Wrong: takes the packet's start away from a number; of pointers, only one of the same packet can
// be taken away from another.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

volatile __u64 beyond = 0;

SEC("xdp")
int pointer_negated(struct xdp_md *ctx)
{
	__u64 start = ctx->data;
	__u64 end = ctx->data_end;

	beyond = 64 - start; // here
	beyond += end;
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
