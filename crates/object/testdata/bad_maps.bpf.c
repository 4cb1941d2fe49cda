// Declarations that cannot be used, or not all of them, beside good ones.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#define __ulong(name, val) enum { name##_value = val } name

int number SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__uint(key_size, 8);
	__type(key, int);
	__type(value, int);
} contradiction SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__uint(colour, 3);
	__type(key, int);
	__type(value, int);
} colourful SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	int max_entries;
} unnumbered SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	void *key;
} keyless SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, int);
	__array(values, int(void *));
} no_holder SEC(".maps");

struct inner {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, int);
	__type(value, int);
} inner SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 2);
	__type(key, int);
	__array(values, struct inner);
} misfit SEC(".maps") = {
	.values = { [0] = &inner, [1] = (void *)&number },
};

struct {
	__uint(type, BPF_MAP_TYPE_BLOOM_FILTER);
	__uint(max_entries, 1);
	__type(value, int);
	__ulong(map_extra, 0x123456789abc);
} wide SEC(".maps");

SEC("xdp") int good(struct xdp_md *ctx)
{
	return bpf_map_push_elem(&wide, &(int){1}, 0) + bpf_map_delete_elem(&colourful, &(int){1});
}

SEC("xdp") int bad(struct xdp_md *ctx)
{
	return bpf_map_delete_elem(&contradiction, &(int){1});
}
