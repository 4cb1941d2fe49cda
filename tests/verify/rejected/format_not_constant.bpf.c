// Formats a number into a buffer.
// Wrong: the format is put together on the stack; the kernel checks formats when the program loads,
// and so wants a constant.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char text[32];

SEC("xdp")
int format_not_constant(struct xdp_md *ctx)
{
	char format[4] = "%d";
	__u64 arguments[1] = { ctx->ingress_ifindex };

	bpf_snprintf(text, sizeof(text), format, arguments, sizeof(arguments)); // here
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
