// Copies a whole small packet to the stack.
// Wrong: a program has 512 bytes of stack, the buffer alone has 600.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("tc")
int stack_too_deep(struct __sk_buff *skb)
{
	__u8 buffer[600];

	if (bpf_skb_load_bytes(skb, 0, buffer, sizeof(buffer))) // here
		return 0;
	skb->mark = buffer[599];
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
