// Drops one packet in a hundred; the loader may set the rate.
// Wrong: changes a constant. What is const lies in .rodata, which is frozen before the program
// loads.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

const volatile __u32 rate = 100;

SEC("xdp")
int rodata_written(struct xdp_md *ctx)
{
	volatile __u32 *countdown = (volatile __u32 *)&rate;

	if (*countdown > 0) {
		*countdown -= 1; // here
		return XDP_PASS;
	}
	return XDP_DROP;
}

char LICENSE[] SEC("license") = "GPL";
