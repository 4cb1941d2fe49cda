// Divides the length of packets in assembly.
// Right: divides by a constant other than zero.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("tc")
int division_by_zero(struct __sk_buff *skb)
{
	__u64 share = skb->len;

	asm volatile("%0 /= 4" : "+r"(share));
	skb->mark = share;
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
