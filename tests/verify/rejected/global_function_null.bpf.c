// Classifies packets with a global function.
// Wrong: a global function is verified by itself, for every argument that its types allow, NULL
// among them.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct rule {
	__u32 longest;
	__u32 mark;
};

__noinline int classify(struct rule *rule, __u32 length)
{
	return length > rule->longest ? 0 : rule->mark; // here
}

SEC("tc")
int global_function_null(struct __sk_buff *skb)
{
	struct rule rule = { 1500, skb->mark + 1 };

	skb->mark = classify(&rule, skb->len);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
