// Adds one to the mark of every packet.
// Right: a read and a store; the packet belongs to this program while it runs.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("tc")
int context_atomic(struct __sk_buff *skb)
{
	skb->mark += 1;
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
