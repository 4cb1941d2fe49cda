// Keeps the upper bit of a 64-bit number with a shift in assembly.
// Right: the shift is below 64.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("tc")
int shift_too_far(struct __sk_buff *skb)
{
	__u64 bits = skb->hash;

	asm volatile("%0 >>= 63" : "+r"(bits));
	skb->mark = bits;
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
