// Clears a word on the stack by hand.
// Right: addresses the stack relative to r10 and leaves r10 alone.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("socket")
int frame_pointer_modified(struct __sk_buff *skb)
{
	asm volatile("*(u64 *)(r10 - 8) = %0" : : "r"(0ULL) : "memory");
	return skb->len;
}

char LICENSE[] SEC("license") = "GPL";
