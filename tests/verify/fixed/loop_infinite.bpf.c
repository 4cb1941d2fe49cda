// Waits until another program or the user sets a flag, for at most a hundred rounds.
// Right: the loop counts its rounds.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

volatile __u32 ready = 0;

SEC("xdp")
int loop_infinite(struct xdp_md *ctx)
{
	for (int round = 0; round < 100 && !ready; round++)
		;
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
