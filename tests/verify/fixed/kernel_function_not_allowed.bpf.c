// Reads the first byte of a packet through a dynptr.
// Right: bpf_dynptr_from_xdp does the same for XDP programs.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

extern int bpf_dynptr_from_xdp(struct xdp_md *ctx, __u64 flags,
			       struct bpf_dynptr *dynptr) __ksym;

SEC("xdp")
int kernel_function_not_allowed(struct xdp_md *ctx)
{
	struct bpf_dynptr packet;
	__u8 first = 0;

	bpf_dynptr_from_xdp(ctx, 0, &packet);
	bpf_dynptr_read(&first, sizeof(first), &packet, 0, 0);
	return first == 0xff ? XDP_DROP : XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
