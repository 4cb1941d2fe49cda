// Reports the length of packets and notes what was reported.
// Right: uses the slice before the record is submitted.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} events SEC(".maps");

SEC("tc")
int dynptr_slice_after_submit(struct __sk_buff *skb)
{
	struct bpf_dynptr record;
	volatile __u64 *length;

	bpf_ringbuf_reserve_dynptr(&events, 64, 0, &record);
	length = bpf_dynptr_data(&record, 0, sizeof(*length));
	if (!length) {
		bpf_ringbuf_discard_dynptr(&record, 0);
		return 0;
	}
	*length = skb->len;
	skb->mark = *length;
	bpf_ringbuf_submit_dynptr(&record, 0);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
