// Reports large packets to user space.
// Right: for small packets the record is discarded.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} events SEC(".maps");

SEC("tc")
int ringbuf_not_submitted(struct __sk_buff *skb)
{
	__u64 *length = bpf_ringbuf_reserve(&events, sizeof(*length), 0);

	if (!length)
		return 0;
	*length = skb->len;
	if (*length < 1000) {
		bpf_ringbuf_discard(length, 0);
		return 0;
	}
	bpf_ringbuf_submit(length, 0);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
