// Drops one packet in a hundred; the loader may set the rate.
// Right: counts in a variable of its own and leaves the constant alone.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

const volatile __u32 rate = 100;
__u32 countdown = 0;

SEC("xdp")
int rodata_written(struct xdp_md *ctx)
{
	if (countdown < rate) {
		countdown += 1;
		return XDP_PASS;
	}
	countdown = 0;
	return XDP_DROP;
}

char LICENSE[] SEC("license") = "GPL";
