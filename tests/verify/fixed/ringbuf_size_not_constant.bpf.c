// Reports up to 64 bytes for a packet.
// Right: the size of the record is a constant.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} events SEC(".maps");

SEC("tc")
int ringbuf_size_not_constant(struct __sk_buff *skb)
{
	const __u64 size = 64;
	__u8 *record;

	record = bpf_ringbuf_reserve(&events, size, 0);
	if (!record)
		return 0;
	record[0] = 0;
	bpf_ringbuf_submit(record, 0);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
