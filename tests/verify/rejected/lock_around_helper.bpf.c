// Notes the time of the last packet, under a lock.
// Wrong: calls a helper while it holds the lock.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct last {
	struct bpf_spin_lock lock;
	__u64 at;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 64);
	__type(key, __u32);
	__type(value, struct last);
} last_packets SEC(".maps");

SEC("tc")
int lock_around_helper(struct __sk_buff *skb)
{
	__u32 interface = skb->ifindex;
	struct last *last = bpf_map_lookup_elem(&last_packets, &interface);

	if (!last)
		return 0;
	bpf_spin_lock(&last->lock);
	last->at = bpf_ktime_get_ns(); // here
	bpf_spin_unlock(&last->lock);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
