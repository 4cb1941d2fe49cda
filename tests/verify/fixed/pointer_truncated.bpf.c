// Keeps a pointer to the packet in a pointer.
// Right: the field is cast to a pointer at once, by way of long.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

static __noinline int first_byte(struct xdp_md *ctx)
{
	__u8 *at = (void *)(long)ctx->data;

	if ((void *)(at + 1) > (void *)(long)ctx->data_end)
		return -1;
	return *at;
}

SEC("xdp")
int pointer_truncated(struct xdp_md *ctx)
{
	return first_byte(ctx) == 0xff ? XDP_DROP : XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
