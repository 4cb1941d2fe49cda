// Reads the source port of a TCP packet.
// Wrong: the helper wants the context; it gets the packet's data.
#include <linux/bpf.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

SEC("tc")
int helper_argument_wrong(struct __sk_buff *skb)
{
	void *data = (void *)(long)skb->data;
	__u16 port = 0;

	if (bpf_skb_load_bytes(data, 34, &port, sizeof(port))) // here
		return 0;
	skb->mark = bpf_ntohs(port);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
