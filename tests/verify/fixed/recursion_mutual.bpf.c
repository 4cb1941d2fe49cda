// Skips VLAN tags and tunnels, with a loop around two functions.
// Right: the depth has a bound, and neither function calls the other.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

__noinline int after_tag(struct __sk_buff *skb, __u32 offset)
{
	__u8 kind = 0;

	if (bpf_skb_load_bytes(skb, offset, &kind, sizeof(kind)))
		return -1;
	return kind;
}

__noinline int after_tunnel(struct __sk_buff *skb, __u32 offset)
{
	__u8 kind = 0;

	if (bpf_skb_load_bytes(skb, offset + 9, &kind, sizeof(kind)))
		return -1;
	return kind;
}

SEC("tc")
int recursion_mutual(struct __sk_buff *skb)
{
	__u32 offset = 12;
	int depth;

	for (depth = 0; depth < 4; depth++) {
		if (after_tag(skb, offset) != 4)
			break;
		offset += 20;
		if (after_tunnel(skb, offset) != 0x81)
			break;
		offset += 4;
	}
	skb->mark = depth;
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
