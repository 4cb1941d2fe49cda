// Reports the length of packets with a tag.
// Wrong: reserves the size of a pointer instead of that of the struct.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct report {
	__u64 at;
	__u64 length;
};

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} events SEC(".maps");

SEC("tc")
int ringbuf_past_end(struct __sk_buff *skb)
{
	struct report *report;

	report = bpf_ringbuf_reserve(&events, sizeof(report), 0); // here
	if (!report)
		return 0;
	report->at = bpf_ktime_get_ns();
	report->length = skb->len;
	bpf_ringbuf_submit(report, 0);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
