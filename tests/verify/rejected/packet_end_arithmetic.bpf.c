// Reads the last byte of every packet.
// Wrong: counts back from data_end. The end of the packet is for comparing only; no pointer into
// the packet can be made from it.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

__u32 last_byte = 0;

SEC("xdp")
int packet_end_arithmetic(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data;
	void *data_end = (void *)(long)ctx->data_end;
	__u8 *last = data_end - 1; // here

	if ((void *)last < data)
		return XDP_PASS;
	last_byte = *last;
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
