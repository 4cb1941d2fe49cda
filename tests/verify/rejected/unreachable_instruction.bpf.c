// Sets a result in assembly and jumps over what would change it.
// Wrong: no path leads to the instruction behind the jump, and instructions without a path to them
// are not allowed.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("socket")
int unreachable_instruction(struct __sk_buff *skb)
{
	__u64 length = skb->len;

	asm volatile("goto +1; %0 = 0" : "+r"(length)); // here
	return length;
}

char LICENSE[] SEC("license") = "GPL";
