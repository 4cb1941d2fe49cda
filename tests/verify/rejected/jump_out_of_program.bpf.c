// Leaves early in assembly.
// Wrong: the jump is counted wrongly and leads behind the program's last instruction.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("socket")
int jump_out_of_program(struct __sk_buff *skb)
{
	__u64 length = skb->len;

	asm volatile("if %0 < 64 goto +100; %0 = 64" : "+r"(length)); // here
	return length;
}

char LICENSE[] SEC("license") = "GPL";
