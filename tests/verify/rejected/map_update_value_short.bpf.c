// Remembers when an interface last received a packet.
// Wrong: the map's values have 24 bytes, the variable whose address is passed has eight.
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
	__u64 seen = bpf_ktime_get_ns();

	bpf_map_update_elem(&last_seen, &interface, &seen, BPF_ANY); // here
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
