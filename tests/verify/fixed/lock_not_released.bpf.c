// Counts bytes up to a limit, under a lock.
// Right: the lock is released on both paths.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct account {
	struct bpf_spin_lock lock;
	__u64 bytes;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 64);
	__type(key, __u32);
	__type(value, struct account);
} accounts SEC(".maps");

SEC("tc")
int lock_not_released(struct __sk_buff *skb)
{
	__u32 interface = skb->ifindex;
	struct account *account = bpf_map_lookup_elem(&accounts, &interface);

	if (!account)
		return 0;
	bpf_spin_lock(&account->lock);
	if (account->bytes > 1000000) {
		bpf_spin_unlock(&account->lock);
		return 2;
	}
	account->bytes += skb->len;
	bpf_spin_unlock(&account->lock);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
