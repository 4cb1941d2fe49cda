// As little as has all: a map, a variable, a function called across sections, lines.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, int);
	__type(value, long);
} m SEC(".maps");

int v = 1;

__attribute__((noinline)) static int f(int x)
{
	return x + v;
}

SEC("xdp") int p(struct xdp_md *c)
{
	return f(bpf_map_delete_elem(&m, &v));
}
