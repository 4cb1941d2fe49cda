// Copies the start of a packet.
// Wrong: the length is the packet's, and nothing limits it to the size of the buffer.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char start[64];

SEC("tc")
int helper_size_unbounded(struct __sk_buff *skb)
{
	__u64 length = skb->len;

	if (length == 0)
		return 0;
	bpf_skb_load_bytes(skb, 0, start, length); // here
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
