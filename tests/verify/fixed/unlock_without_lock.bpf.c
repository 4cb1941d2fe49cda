// Counts packets under a lock, large ones only.
// Right: whoever takes the lock releases it, and nobody else.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

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
int unlock_without_lock(struct __sk_buff *skb)
{
	__u32 interface = skb->ifindex;
	struct counter *counter = bpf_map_lookup_elem(&counters, &interface);

	if (!counter)
		return 0;
	if (skb->len > 1000) {
		bpf_spin_lock(&counter->lock);
		counter->packets += 1;
		bpf_spin_unlock(&counter->lock);
	}
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
