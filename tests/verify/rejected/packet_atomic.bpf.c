// Marks every packet by setting a bit in its third byte.
// Wrong: atomic operations are not allowed on packets.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("xdp")
int packet_atomic(struct xdp_md *ctx)
{
	__u32 *word = (void *)(long)ctx->data;
	void *data_end = (void *)(long)ctx->data_end;

	if ((void *)(word + 1) > data_end)
		return XDP_PASS;
	__sync_fetch_and_add(word, 1U << 24); // here
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
