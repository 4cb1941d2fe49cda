// Marks packets for which somebody listens.
// Right: releases the socket once, on all paths.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("tc")
int socket_released_twice(struct __sk_buff *skb)
{
	struct bpf_sock_tuple tuple = { .ipv4 = { .dport = 0x5000 } };
	struct bpf_sock *sk = bpf_sk_lookup_tcp(skb, &tuple, sizeof(tuple.ipv4), -1, 0);

	if (!sk)
		return 0;
	if (sk->state == BPF_TCP_LISTEN)
		skb->mark = 1;
	bpf_sk_release(sk);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
