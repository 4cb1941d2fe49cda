// Counts the values of the low bits of the mark on the stack.
// Wrong: six bits make an index up to 63, the table has 32 places.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("tc")
int stack_write_out_of_range(struct __sk_buff *skb)
{
	volatile __u8 table[32] = {};

	table[skb->mark & 63] = 1; // here
	skb->priority = table[0];
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
