// Reports packets and marks them as reported.
// Right: does everything with the record before it is submitted.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} events SEC(".maps");

SEC("tc")
int ringbuf_used_after_submit(struct __sk_buff *skb)
{
	volatile __u64 *length = bpf_ringbuf_reserve(&events, sizeof(*length), 0);

	if (!length)
		return 0;
	*length = skb->len;
	skb->mark = *length;
	bpf_ringbuf_submit((void *)length, 0);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
