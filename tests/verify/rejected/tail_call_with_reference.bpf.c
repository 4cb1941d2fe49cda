// Looks for a TCP socket and goes on in another program if there is one.
// Wrong: calls the other program while it holds a reference to the socket, which nobody would
// release.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, __u32);
} next SEC(".maps");

SEC("tc")
int tail_call_with_reference(struct __sk_buff *skb)
{
	struct bpf_sock_tuple tuple = { .ipv4 = { .dport = 0x5000 } };
	struct bpf_sock *sk = bpf_sk_lookup_tcp(skb, &tuple, sizeof(tuple.ipv4), -1, 0);

	if (!sk)
		return 0;
	bpf_tail_call(skb, &next, 0); // here
	bpf_sk_release(sk);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
