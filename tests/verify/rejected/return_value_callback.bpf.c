// Sums up the first bytes of a packet with bpf_loop.
// Wrong: the callback returns the byte. 0 means to go on, 1 to stop, and nothing else is allowed.
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
	return byte; // here
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
