// Formats the number of an interface into a buffer.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char text[32];

SEC("xdp")
int format_unknown(struct xdp_md *ctx)
{
	static const char format[] = "%llu";
	__u64 arguments[1] = { ctx->ingress_ifindex };

	bpf_snprintf(text, sizeof(text), format, arguments, sizeof(arguments));
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
