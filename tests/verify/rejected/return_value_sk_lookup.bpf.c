// Hands connections to a socket from a map.
// Wrong: returns what bpf_sk_assign returned, which may be an error number; the answer must be
// SK_DROP or SK_PASS.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_SOCKMAP);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} servers SEC(".maps");

SEC("sk_lookup")
int return_value_sk_lookup(struct bpf_sk_lookup *ctx)
{
	__u32 key = 0;
	struct bpf_sock *server = bpf_map_lookup_elem(&servers, &key);
	long error;

	if (!server)
		return SK_PASS;
	error = bpf_sk_assign(ctx, server, 0);
	bpf_sk_release(server);
	return error; // here
}

char LICENSE[] SEC("license") = "GPL";
