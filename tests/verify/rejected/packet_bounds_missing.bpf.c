// Drops everything but IPv4 and ARP.
// Wrong: reads the Ethernet header without having compared its end with data_end.
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

SEC("xdp")
int packet_bounds_missing(struct xdp_md *ctx)
{
	struct ethhdr *eth = (void *)(long)ctx->data;

	switch (bpf_ntohs(eth->h_proto)) { // here
	case ETH_P_IP:
	case ETH_P_ARP:
		return XDP_PASS;
	}
	return XDP_DROP;
}

char LICENSE[] SEC("license") = "GPL";
