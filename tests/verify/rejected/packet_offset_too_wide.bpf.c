// Reads the last byte of an IPv4 packet, found by the total length of its header.
// Wrong: the length may be up to 65535, and with the Ethernet header before it the offset can pass
// 65535, beyond which the verifier draws no conclusion from a comparison with data_end.
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

__u32 last_byte = 0;

SEC("xdp")
int packet_offset_too_wide(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data;
	void *data_end = (void *)(long)ctx->data_end;
	struct iphdr *ip = data + sizeof(struct ethhdr);
	__u64 length;
	__u8 *last;

	if ((void *)(ip + 1) > data_end)
		return XDP_PASS;
	length = bpf_ntohs(ip->tot_len);
	if (length == 0)
		return XDP_PASS;
	last = (void *)ip + length;
	if ((void *)last > data_end)
		return XDP_PASS;
	last_byte = *(last - 1); // here
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
