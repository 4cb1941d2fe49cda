// Reads the first byte of a packet through a dynptr.
// Wrong: bpf_dynptr_from_skb is for programs that get a socket buffer; an XDP program has none yet.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

extern int bpf_dynptr_from_skb(struct __sk_buff *skb, __u64 flags,
			       struct bpf_dynptr *dynptr) __ksym;

SEC("xdp")
int kernel_function_not_allowed(struct xdp_md *ctx)
{
	struct bpf_dynptr packet;
	__u8 first = 0;

	bpf_dynptr_from_skb((void *)ctx, 0, &packet); // here
	bpf_dynptr_read(&first, sizeof(first), &packet, 0, 0);
	return first == 0xff ? XDP_DROP : XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
