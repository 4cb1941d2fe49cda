// Sums up the context's fields as an array of words.
// Wrong: takes the context to be larger than it is.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

__u32 last_word = 0;

SEC("sk_skb/stream_verdict")
int context_beyond_end(struct __sk_buff *skb)
{
	__u32 *words = (__u32 *)skb;

	last_word = words[sizeof(*skb) / sizeof(__u32)]; // here
	return SK_PASS;
}

char LICENSE[] SEC("license") = "GPL";
