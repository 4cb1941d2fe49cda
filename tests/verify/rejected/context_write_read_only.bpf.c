// Cuts packets by changing their length.
// Wrong: the length of a packet in its context can only be read.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("tc")
int context_write_read_only(struct __sk_buff *skb)
{
	if (skb->len > 128)
		skb->len = 128; // here
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
