// Counts packets.
// Wrong: the function does not return a value on any path; the compiler only warns of that.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

__u64 packets = 0;

SEC("xdp")
int return_missing(struct xdp_md *ctx)
{
	__sync_fetch_and_add(&packets, 1);
} // here

char LICENSE[] SEC("license") = "GPL";
