// Reads one of the five control words of a packet, the one that the mark names.
// Wrong: fields of the context can only be reached at constant offsets.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("tc")
int context_variable_offset(struct __sk_buff *skb)
{
	__u32 index = skb->mark;

	if (index >= 5)
		return 0;
	skb->priority = skb->cb[index]; // here
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
