// Lets only IPv4 and IPv6 packets leave a control group.
// Right: 0 drops the packet, 1 lets it go.
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

SEC("cgroup_skb/egress")
int return_value_cgroup(struct __sk_buff *skb)
{
	if (skb->protocol == bpf_htons(ETH_P_IP) || skb->protocol == bpf_htons(ETH_P_IPV6))
		return 1;
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
