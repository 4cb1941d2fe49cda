// Remembers when an interface last received a packet.
// Right: the value passed is the whole struct that the map stores.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct seen {
	__u64 at;
	__u64 length;
	__u64 mark;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 64);
	__type(key, __u32);
	__type(value, struct seen);
} last_seen SEC(".maps");

SEC("tc")
int map_update_value_short(struct __sk_buff *skb)
{
	__u32 interface = skb->ifindex;
	struct seen seen = { bpf_ktime_get_ns(), skb->len, skb->mark };

	bpf_map_update_elem(&last_seen, &interface, &seen, BPF_ANY);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
