// Reads the EtherType of a packet with a helper that it declares by hand.
// Wrong: the declaration lacks the last argument, so that nobody sets the register for it.
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <bpf/bpf_helpers.h>

static long (*load_bytes)(const struct __sk_buff *skb, __u32 offset, void *to) =
	(void *)BPF_FUNC_skb_load_bytes;

SEC("socket")
int register_uninitialised(struct __sk_buff *skb)
{
	__u16 type = 0;

	if (load_bytes(skb, 12, &type)) // here
		return 0;
	return type == 0x0008 ? skb->len : 0;
}

char LICENSE[] SEC("license") = "GPL";
