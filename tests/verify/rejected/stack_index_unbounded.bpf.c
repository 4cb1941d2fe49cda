// Reads the byte of the Ethernet header that the mark names.
// Wrong: the index may be anything, the buffer has 14 bytes.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("tc")
int stack_index_unbounded(struct __sk_buff *skb)
{
	__u8 header[14] = {};
	__u32 index = skb->mark;

	if (bpf_skb_load_bytes(skb, 0, header, sizeof(header)))
		return 0;
	skb->priority = header[index]; // here
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
