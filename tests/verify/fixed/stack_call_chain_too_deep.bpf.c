// Copies two parts of a packet, one in each of two functions.
// Right: with 200 bytes each the frames fit into 512 bytes together.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#define PART 200

static __noinline int second_part(struct __sk_buff *skb)
{
	volatile __u8 part[PART];

	if (bpf_skb_load_bytes(skb, PART, (void *)part, sizeof(part)))
		return 0;
	return part[0];
}

static __noinline int first_part(struct __sk_buff *skb)
{
	volatile __u8 part[PART];

	if (bpf_skb_load_bytes(skb, 0, (void *)part, sizeof(part)))
		return 0;
	return second_part(skb) + part[0];
}

SEC("tc")
int stack_call_chain_too_deep(struct __sk_buff *skb)
{
	skb->mark = first_part(skb);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
