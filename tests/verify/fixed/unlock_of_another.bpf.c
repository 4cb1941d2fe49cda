// Adds a packet's bytes to the account of the interface it goes to, if it has room.
// Right: releases the lock that it took.
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
int unlock_of_another(struct __sk_buff *skb)
{
	__u32 from_key = skb->ingress_ifindex, to_key = skb->ifindex;
	struct account *from = bpf_map_lookup_elem(&accounts, &from_key);
	struct account *to = bpf_map_lookup_elem(&accounts, &to_key);

	if (!from || !to)
		return 0;
	bpf_spin_lock(&to->lock);
	to->bytes += skb->len;
	bpf_spin_unlock(&to->lock);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
