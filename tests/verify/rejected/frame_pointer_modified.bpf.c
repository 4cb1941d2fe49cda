// Makes room on the stack by hand.
// Wrong: r10 points to the end of the frame and cannot be written; every function has its 512
// bytes.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("socket")
int frame_pointer_modified(struct __sk_buff *skb)
{
	asm volatile("r10 += -16; *(u64 *)(r10 + 8) = %0" : : "r"(0ULL) : "memory"); // here
	return skb->len;
}

char LICENSE[] SEC("license") = "GPL";
