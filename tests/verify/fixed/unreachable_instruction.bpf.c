// Sets a result in assembly and jumps over what would change it, for small packets.
// Right: the jump has a condition, so that both ways can be taken.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("socket")
int unreachable_instruction(struct __sk_buff *skb)
{
	__u64 length = skb->len;

	asm volatile("if %0 < 64 goto +1; %0 = 64" : "+r"(length));
	return length;
}

char LICENSE[] SEC("license") = "GPL";
