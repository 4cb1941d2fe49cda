// Skips VLAN tags and tunnels, with two functions that call each other.
// Wrong: global functions are verified one by one, but who calls whom is still followed.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

int after_tunnel(struct __sk_buff *skb, __u32 offset);

__noinline int after_tag(struct __sk_buff *skb, __u32 offset)
{
	__u8 kind = 0;

	if (bpf_skb_load_bytes(skb, offset, &kind, sizeof(kind)))
		return -1;
	return kind == 4 ? after_tunnel(skb, offset + 20) + 1 : 0;
}

__noinline int after_tunnel(struct __sk_buff *skb, __u32 offset)
{
	__u8 kind = 0;

	if (bpf_skb_load_bytes(skb, offset + 9, &kind, sizeof(kind)))
		return -1;
	return kind == 0x81 ? after_tag(skb, offset + 4) + 1 : 0; // here
}

SEC("tc")
int recursion_mutual(struct __sk_buff *skb)
{
	skb->mark = after_tag(skb, 12);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
