// Reports the length of every packet to user space.
// Wrong: bpf_ringbuf_output wants a ring buffer, but the map is a perf event array.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(__u32));
} events SEC(".maps");

SEC("tc")
int map_kind_wrong(struct __sk_buff *skb)
{
	__u32 length = skb->len;

	bpf_ringbuf_output(&events, &length, sizeof(length), 0); // here
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
