// Writes into a record of a ring buffer through a slice of a dynptr.
// Wrong: bpf_dynptr_data returns NULL where the record is too small, and nobody asks.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} events SEC(".maps");

SEC("tc")
int dynptr_slice_unchecked(struct __sk_buff *skb)
{
	struct bpf_dynptr record;
	__u64 *length;

	bpf_ringbuf_reserve_dynptr(&events, skb->len, 0, &record);
	length = bpf_dynptr_data(&record, 0, sizeof(*length));
	*length = skb->len; // here
	bpf_ringbuf_submit_dynptr(&record, 0);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
