// Takes the first number of a numbers iterator.
// Wrong: the iterator may have no number left; its answer is used without asking for NULL.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct bpf_iter_num {
	__u64 opaque[1];
};

extern int bpf_iter_num_new(struct bpf_iter_num *it, int start, int end) __ksym;
extern int *bpf_iter_num_next(struct bpf_iter_num *it) __ksym;
extern void bpf_iter_num_destroy(struct bpf_iter_num *it) __ksym;

SEC("tc")
int iterator_null_unchecked(struct __sk_buff *skb)
{
	struct bpf_iter_num it;
	int *first;

	bpf_iter_num_new(&it, 3, 10);
	first = bpf_iter_num_next(&it);
	skb->mark = *first; // here
	bpf_iter_num_destroy(&it);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
