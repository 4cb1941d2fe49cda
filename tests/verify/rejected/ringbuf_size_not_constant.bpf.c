// Reports as many zero bytes as a packet has.
// Wrong: the size of a record must be a constant; bpf_ringbuf_output takes what varies.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} events SEC(".maps");

SEC("tc")
int ringbuf_size_not_constant(struct __sk_buff *skb)
{
	__u64 size = skb->len;
	__u8 *record;

	if (size == 0 || size > 64)
		return 0;
	record = bpf_ringbuf_reserve(&events, size, 0); // here
	if (!record)
		return 0;
	record[0] = 0;
	bpf_ringbuf_submit(record, 0);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
