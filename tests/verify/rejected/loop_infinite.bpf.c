// Waits until another program or the user sets a flag.
// Wrong: nothing in the loop can end it; the verifier meets the same state again and gives up.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

volatile __u32 ready = 0;

SEC("xdp")
int loop_infinite(struct xdp_md *ctx)
{
	while (!ready) // here
		;
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
