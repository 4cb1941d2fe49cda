// Clears the first bytes of packets, and notes what they were.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>

extern int bpf_dynptr_from_skb(struct __sk_buff *skb, __u64 flags, struct bpf_dynptr *dynptr) __ksym;
extern void *bpf_dynptr_slice(const struct bpf_dynptr *dynptr, __u32 offset, void *buffer,
			      __u32 size) __ksym;

SEC("tc")
int dynptr_slice_after_write(struct __sk_buff *skb)
{
	__u32 buffer = 0, zero = 0;
	struct bpf_dynptr packet;
	volatile __u32 *first;

	bpf_dynptr_from_skb(skb, 0, &packet);
	first = bpf_dynptr_slice(&packet, 0, &buffer, sizeof(buffer));
	if (!first)
		return 0;
	skb->mark = *first;
	bpf_dynptr_write(&packet, 0, &zero, sizeof(zero), 0);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
