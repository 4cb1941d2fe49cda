// Enters an RCU read section around a lookup.
// Wrong: returns from within the section where there is no entry.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 64);
	__type(key, __u32);
	__type(value, __u64);
} packets SEC(".maps");

extern void bpf_rcu_read_lock(void) __ksym;
extern void bpf_rcu_read_unlock(void) __ksym;

SEC("tc")
int rcu_not_unlocked(struct __sk_buff *skb)
{
	__u32 interface = skb->ifindex;
	__u64 *count;

	bpf_rcu_read_lock();
	count = bpf_map_lookup_elem(&packets, &interface);
	if (!count)
		return 0; // here
	*count += 1;
	bpf_rcu_read_unlock();
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
