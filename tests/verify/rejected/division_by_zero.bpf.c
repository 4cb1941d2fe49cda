// Divides the length of packets in assembly.
// Wrong: divides by the constant zero.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("tc")
int division_by_zero(struct __sk_buff *skb)
{
	__u64 share = skb->len;

	asm volatile("%0 /= 0" : "+r"(share)); // here
	skb->mark = share;
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
