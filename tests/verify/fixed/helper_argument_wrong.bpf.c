// Reads the source port of a TCP packet.
// Right: the helper gets the context, and finds the data itself.
#include <linux/bpf.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

SEC("tc")
int helper_argument_wrong(struct __sk_buff *skb)
{
	__u16 port = 0;

	if (bpf_skb_load_bytes(skb, 34, &port, sizeof(port)))
		return 0;
	skb->mark = bpf_ntohs(port);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
