// Finds the IPv4 header with a function of its own and reads the time to live.
// Right: the function always sets the pointer, to NULL for other packets, and the caller asks.
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

struct headers {
	struct iphdr *ip;
};

static __noinline int find_headers(struct xdp_md *ctx, struct headers *headers)
{
	void *data = (void *)(long)ctx->data;
	void *data_end = (void *)(long)ctx->data_end;
	struct ethhdr *eth = data;

	headers->ip = NULL;
	if ((void *)(eth + 1) + sizeof(struct iphdr) > data_end)
		return -1;
	if (eth->h_proto != bpf_htons(ETH_P_IP))
		return -1;
	headers->ip = (void *)(eth + 1);
	return 0;
}

SEC("xdp")
int stack_uninitialised(struct xdp_md *ctx)
{
	struct headers headers;

	find_headers(ctx, &headers);
	if (!headers.ip)
		return XDP_PASS;
	return headers.ip->ttl < 2 ? XDP_DROP : XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
