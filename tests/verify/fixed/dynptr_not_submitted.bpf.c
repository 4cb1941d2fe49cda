// Reports the length of packets through a dynptr to a ring buffer.
// Right: if the write fails, the record is discarded.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} events SEC(".maps");

SEC("tc")
int dynptr_not_submitted(struct __sk_buff *skb)
{
	__u32 length = skb->len;
	struct bpf_dynptr record;

	bpf_ringbuf_reserve_dynptr(&events, length, 0, &record);
	if (bpf_dynptr_write(&record, 0, &length, sizeof(length), 0)) {
		bpf_ringbuf_discard_dynptr(&record, 0);
		return 0;
	}
	bpf_ringbuf_submit_dynptr(&record, 0);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
