// Skips an instruction in assembly.
// Right: the jump leads to the instruction behind the next.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("socket")
int jump_out_of_program(struct __sk_buff *skb)
{
	__u64 length = skb->len;

	asm volatile("if %0 < 64 goto +1; %0 = 64" : "+r"(length));
	return length;
}

char LICENSE[] SEC("license") = "GPL";
