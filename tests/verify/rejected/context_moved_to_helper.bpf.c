// Hashes a packet by calling a helper with a pointer into the middle of the context.
// Wrong: helpers want the context's start.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("tc")
int context_moved_to_helper(struct __sk_buff *skb)
{
	skb->mark = bpf_get_hash_recalc((struct __sk_buff *)&skb->cb); // here
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
