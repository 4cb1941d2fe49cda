// Drops packets for which nobody listens.
// Wrong: the socket that the lookup returned is referenced, and never released.
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>

SEC("tc")
int socket_not_released(struct __sk_buff *skb)
{
	struct bpf_sock_tuple tuple = { .ipv4 = { .dport = 0x5000 } };
	struct bpf_sock *sk = bpf_sk_lookup_tcp(skb, &tuple, sizeof(tuple.ipv4), -1, 0);

	if (!sk)
		return TC_ACT_SHOT;
	return TC_ACT_OK; // here
}

char LICENSE[] SEC("license") = "GPL";
