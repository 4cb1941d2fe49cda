// Counts packets, and has a timer reset the counter.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct packets {
	__u64 count;
	struct bpf_timer timer;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct packets);
	__uint(max_entries, 1);
} counters SEC(".maps");

static int reset(void *map, __u32 *key, struct packets *packets)
{
	packets->count = 0;
	return 0;
}

SEC("tc")
int return_value_timer(struct __sk_buff *skb)
{
	__u32 key = 0;
	struct packets *packets = bpf_map_lookup_elem(&counters, &key);

	if (!packets)
		return 0;
	if (packets->count++ == 0) {
		bpf_timer_init(&packets->timer, &counters, 1 /* CLOCK_MONOTONIC */);
		bpf_timer_set_callback(&packets->timer, reset);
		bpf_timer_start(&packets->timer, 1000000000, 0);
	}
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
