// Formats a number into a buffer.
// Right: the format is a constant in .rodata.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

static const char format[] = "%d";
char text[32];

SEC("xdp")
int format_not_constant(struct xdp_md *ctx)
{
	__u64 arguments[1] = { ctx->ingress_ifindex };

	bpf_snprintf(text, sizeof(text), format, arguments, sizeof(arguments));
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
