// Reads the byte of the Ethernet header that the mark names.
// Right: the index is compared with the size of the buffer.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("tc")
int stack_index_unbounded(struct __sk_buff *skb)
{
	__u8 header[14] = {};
	__u32 index = skb->mark;

	if (bpf_skb_load_bytes(skb, 0, header, sizeof(header)))
		return 0;
	if (index >= sizeof(header))
		return 0;
	skb->priority = header[index];
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
