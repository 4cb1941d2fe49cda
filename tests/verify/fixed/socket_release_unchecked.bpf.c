// Looks for a socket and releases it.
// Right: releases the socket only if there is one.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("tc")
int socket_release_unchecked(struct __sk_buff *skb)
{
	struct bpf_sock_tuple tuple = { .ipv4 = { .dport = 0x5000 } };
	struct bpf_sock *sk = bpf_sk_lookup_tcp(skb, &tuple, sizeof(tuple.ipv4), -1, 0);

	if (sk)
		bpf_sk_release(sk);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
