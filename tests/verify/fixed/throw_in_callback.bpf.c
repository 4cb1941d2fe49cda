// Looks for an odd byte among the first of a packet.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct search {
	struct __sk_buff *skb;
	__u32 found;
};

static int look_at(__u64 index, struct search *search)
{
	__u8 byte = 0;

	if (bpf_skb_load_bytes(search->skb, index, &byte, sizeof(byte)))
		return 1;
	if (byte & 1) {
		search->found = index;
		return 1;
	}
	return 0;
}

SEC("tc")
int throw_in_callback(struct __sk_buff *skb)
{
	struct search search = { skb, 0 };

	bpf_loop(64, look_at, &search, 0);
	skb->mark = search.found;
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
