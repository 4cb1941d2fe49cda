// Weighs a length by halves and thirds, with a function that calls itself.
// Wrong: a function may not call itself; at most eight frames may be open at once, and nothing here
// tells that it ends before.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

static __noinline __u32 weight(__u32 length)
{
	if (length < 2)
		return 1;
	return weight(length / 2) + weight(length / 3); // here
}

SEC("tc")
int recursion(struct __sk_buff *skb)
{
	skb->mark = weight(skb->len);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
