// Cuts packets to 128 bytes.
// Right: asks the kernel to cut, with bpf_skb_change_tail.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("tc")
int context_write_read_only(struct __sk_buff *skb)
{
	if (skb->len > 128)
		bpf_skb_change_tail(skb, 128, 0);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
