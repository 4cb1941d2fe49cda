// Weighs a length by halves and thirds, with a function that is called in a loop.
// Right: a loop with a bound takes the place of the function's calls to itself.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

static __noinline __u32 weight(__u32 length)
{
	if (length < 2)
		return 1;
	return length / 2 + length / 3;
}

SEC("tc")
int recursion(struct __sk_buff *skb)
{
	__u32 length = skb->len;

	for (int round = 0; round < 8; round++)
		length = weight(length);
	skb->mark = length;
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
