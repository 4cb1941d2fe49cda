// Reads the last byte of every packet.
// Right: asks for the length, and lets a helper read at that offset, which checks it itself.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

__u32 last_byte = 0;

SEC("xdp")
int packet_end_arithmetic(struct xdp_md *ctx)
{
	__u64 length = bpf_xdp_get_buff_len(ctx);
	__u8 last;

	if (bpf_xdp_load_bytes(ctx, length - 1, &last, sizeof(last)))
		return XDP_PASS;
	last_byte = last;
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
