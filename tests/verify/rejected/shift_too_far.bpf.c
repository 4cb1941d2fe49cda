// Clears a 64-bit number with a shift in assembly.
// Wrong: 64-bit registers are shifted by 0 to 63.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("tc")
int shift_too_far(struct __sk_buff *skb)
{
	__u64 bits = skb->hash;

	asm volatile("%0 >>= 64" : "+r"(bits)); // here
	skb->mark = bits;
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
