// Writes a length with a tag before it into a buffer.
// Right: the compiler knows that the number is not aligned and stores it in pieces.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} events SEC(".maps");

struct record {
	__u8 tag;
	__u64 length;
} __attribute__((packed));

SEC("tc")
int misaligned_stack(struct __sk_buff *skb)
{
	struct record record = { 'L', skb->len };

	bpf_ringbuf_output(&events, &record, sizeof(record), 0);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
