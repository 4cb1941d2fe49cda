// Hashes a packet.
// Right: the helper gets the context itself.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("tc")
int context_moved_to_helper(struct __sk_buff *skb)
{
	skb->mark = bpf_get_hash_recalc(skb);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
