// Copies a payload whose length stands in the packet, less the header.
// Right: lengths below one are refused before the copy.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char payload[64];

SEC("tc")
int helper_size_negative(struct __sk_buff *skb)
{
	__s64 length = (__s64)skb->len - 54;

	if (length > (__s64)sizeof(payload) || length < 1)
		return 0;
	bpf_skb_load_bytes(skb, 54, payload, length);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
