// Copies the start of a packet.
// Right: packets without a single byte to copy are left out.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char start[64];

SEC("tc")
int helper_size_zero(struct __sk_buff *skb)
{
	__u64 length = skb->len;

	if (length > sizeof(start) || length == 0)
		return 0;
	bpf_skb_load_bytes(skb, 0, start, length);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
