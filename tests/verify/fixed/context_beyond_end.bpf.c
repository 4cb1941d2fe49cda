// Reads a field of the context by its name.
// Right: the name has an offset within the context.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

__u32 last_word = 0;

SEC("sk_skb/stream_verdict")
int context_beyond_end(struct __sk_buff *skb)
{
	last_word = skb->remote_port;
	return SK_PASS;
}

char LICENSE[] SEC("license") = "GPL";
