// Reports packets and marks them as reported.
// Wrong: reads the record after it was submitted; it is the reader's then.
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
	bpf_ringbuf_submit((void *)length, 0);
	skb->mark = *length; // here
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
