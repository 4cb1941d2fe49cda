// Sums up the first bytes of a packet with bpf_loop.
// Right: the callback returns 0 to go on and 1 to stop.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct sum {
	struct __sk_buff *skb;
	__u32 total;
};

static int add_byte(__u64 index, struct sum *sum)
{
	__u8 byte = 0;

	if (bpf_skb_load_bytes(sum->skb, index, &byte, sizeof(byte)))
		return 1;
	sum->total += byte;
	return 0;
}

SEC("tc")
int return_value_callback(struct __sk_buff *skb)
{
	struct sum sum = { skb, 0 };

	bpf_loop(64, add_byte, &sum, 0);
	skb->mark = sum.total;
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
