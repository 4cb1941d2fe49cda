// Adds up numbers with a numbers iterator.
// Right: bpf_iter_num_new makes the iterator.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct bpf_iter_num {
	__u64 opaque[1];
};

extern int bpf_iter_num_new(struct bpf_iter_num *it, int start, int end) __ksym;
extern int *bpf_iter_num_next(struct bpf_iter_num *it) __ksym;
extern void bpf_iter_num_destroy(struct bpf_iter_num *it) __ksym;

SEC("tc")
int iterator_not_initialised(struct __sk_buff *skb)
{
	struct bpf_iter_num it;
	__u32 sum = 0;
	int *number;

	bpf_iter_num_new(&it, 0, 10);
	while ((number = bpf_iter_num_next(&it)))
		sum += *number;
	bpf_iter_num_destroy(&it);
	skb->mark = sum;
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
