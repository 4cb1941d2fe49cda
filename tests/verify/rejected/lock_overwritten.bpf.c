// Resets a counter that has a lock.
// Wrong: clears the lock along with the counter; a lock is touched by its helpers only.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct counter {
	struct bpf_spin_lock lock;
	__u32 resets;
	__u64 packets;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 64);
	__type(key, __u32);
	__type(value, struct counter);
} counters SEC(".maps");

SEC("tc")
int lock_overwritten(struct __sk_buff *skb)
{
	__u32 interface = skb->ifindex;
	struct counter *counter = bpf_map_lookup_elem(&counters, &interface);

	if (!counter)
		return 0;
	__builtin_memset(counter, 0, sizeof(*counter)); // here
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
