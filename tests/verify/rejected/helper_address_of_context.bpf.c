// Reads the EtherType of a packet.
// Wrong: passes the address of the variable that points to the context, not the context.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("tc")
int helper_address_of_context(struct __sk_buff *skb)
{
	__u16 type = 0;

	if (bpf_skb_load_bytes(&skb, 12, &type, sizeof(type))) // here
		return 0;
	skb->mark = type;
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
