// Counts packets under a lock and goes on in another program.
// Wrong: the tail call comes before the lock is released.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, __u32);
} next SEC(".maps");

struct counter {
	struct bpf_spin_lock lock;
	__u64 packets;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 64);
	__type(key, __u32);
	__type(value, struct counter);
} counters SEC(".maps");

SEC("tc")
int tail_call_under_lock(struct __sk_buff *skb)
{
	__u32 interface = skb->ifindex;
	struct counter *counter = bpf_map_lookup_elem(&counters, &interface);

	if (!counter)
		return 0;
	bpf_spin_lock(&counter->lock);
	counter->packets += 1;
	bpf_tail_call(skb, &next, 0); // here
	bpf_spin_unlock(&counter->lock);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
