// Classifies packets with a global function.
// Right: the function asks whether its argument is NULL.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct rule {
	__u32 longest;
	__u32 mark;
};

__noinline int classify(struct rule *rule, __u32 length)
{
	if (!rule)
		return 0;
	return length > rule->longest ? 0 : rule->mark;
}

SEC("tc")
int global_function_null(struct __sk_buff *skb)
{
	struct rule rule = { 1500, skb->mark + 1 };

	skb->mark = classify(&rule, skb->len);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
