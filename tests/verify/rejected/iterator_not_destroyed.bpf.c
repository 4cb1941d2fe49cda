// Looks for a zero byte in a packet with a numbers iterator.
// Wrong: leaves through a return within the loop, where the iterator is not destroyed.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct bpf_iter_num {
	__u64 opaque[1];
};

extern int bpf_iter_num_new(struct bpf_iter_num *it, int start, int end) __ksym;
extern int *bpf_iter_num_next(struct bpf_iter_num *it) __ksym;
extern void bpf_iter_num_destroy(struct bpf_iter_num *it) __ksym;

SEC("tc")
int iterator_not_destroyed(struct __sk_buff *skb)
{
	struct bpf_iter_num it;
	int *offset;

	bpf_iter_num_new(&it, 0, 64);
	while ((offset = bpf_iter_num_next(&it))) {
		__u8 byte = 0xff;

		bpf_skb_load_bytes(skb, *offset, &byte, sizeof(byte));
		if (byte == 0)
			return 2; // here
	}
	bpf_iter_num_destroy(&it);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
