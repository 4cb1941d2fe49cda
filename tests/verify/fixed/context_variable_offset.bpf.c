// Reads one of the five control words of a packet, the one that the mark names.
// Right: copies the words to the stack at constant offsets and picks there.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("tc")
int context_variable_offset(struct __sk_buff *skb)
{
	__u32 index = skb->mark;
	volatile __u32 words[5];

	if (index >= 5)
		return 0;
	words[0] = skb->cb[0];
	words[1] = skb->cb[1];
	words[2] = skb->cb[2];
	words[3] = skb->cb[3];
	words[4] = skb->cb[4];
	skb->priority = words[index];
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
