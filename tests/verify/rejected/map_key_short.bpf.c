// Looks up the rule for a VLAN.
// Wrong: the map's keys have four bytes, the variable whose address is passed has two.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, __u32);
	__type(value, __u32);
} rules SEC(".maps");

SEC("tc")
int map_key_short(struct __sk_buff *skb)
{
	__u16 vlan = skb->vlan_tci & 0xfff; // here
	__u32 *rule = bpf_map_lookup_elem(&rules, &vlan);

	return rule ? *rule : 0;
}

char LICENSE[] SEC("license") = "GPL";
