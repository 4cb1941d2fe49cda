// Adds one to the mark of every packet.
// Wrong: atomic operations do not work on fields of the context.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("tc")
int context_atomic(struct __sk_buff *skb)
{
	__sync_fetch_and_add(&skb->mark, 1); // here
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
