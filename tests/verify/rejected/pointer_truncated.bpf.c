// Keeps a pointer to the packet in a 32-bit variable, because the context's field has 32 bits.
// Wrong: the field becomes a 64-bit pointer when it is read; cut to 32 bits it is one no more.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

static __noinline int first_byte(struct xdp_md *ctx)
{
	__u32 start = ctx->data;
	__u8 *at;

	asm volatile("" : "+r"(start)); // keeps the compiler from undoing the cut
	at = (__u8 *)(long)start; // here
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
