// Writes a length with a tag before it into a buffer.
// Wrong: stores eight bytes at an odd place of the stack; there, unlike in packets and map values,
// alignment is always asked for.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} events SEC(".maps");

SEC("tc")
int misaligned_stack(struct __sk_buff *skb)
{
	__u8 record[16] = { 'L' };

	*(volatile __u64 *)(record + 1) = skb->len; // here
	bpf_ringbuf_output(&events, record, sizeof(record), 0);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
