// Reads the EtherType of a packet.
// Wrong: the helper is for packets in a socket buffer; an XDP program has none yet.
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

SEC("xdp")
int helper_not_allowed(struct xdp_md *ctx)
{
	__be16 type = 0;

	if (bpf_skb_load_bytes(ctx, 12, &type, sizeof(type))) // here
		return XDP_PASS;
	return type == bpf_htons(ETH_P_IP) ? XDP_PASS : XDP_DROP;
}

char LICENSE[] SEC("license") = "GPL";
