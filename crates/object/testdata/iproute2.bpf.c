// Maps and sections as iproute2 loads them; compiled without BTF.
#include <linux/bpf.h>

#define SEC(name) __attribute__((section(name), used))

struct bpf_elf_map {
	__u32 type, size_key, size_value, max_elem, flags, id, pinning, inner_id, inner_idx;
};

struct bpf_elf_map SEC("maps") jumps = {
	.type = BPF_MAP_TYPE_PROG_ARRAY, .size_key = 4, .size_value = 4, .max_elem = 8, .id = 2,
	.pinning = 1,
};
struct bpf_elf_map SEC("maps") inner = {
	.type = BPF_MAP_TYPE_ARRAY, .size_key = 4, .size_value = 8, .max_elem = 1, .id = 5,
	.inner_idx = 3,
};
struct bpf_elf_map SEC("maps") outer = {
	.type = BPF_MAP_TYPE_ARRAY_OF_MAPS, .size_key = 4, .size_value = 4, .max_elem = 4,
	.inner_id = 5,
};

static void (*tail_call)(void *, void *, __u32) = (void *)BPF_FUNC_tail_call;
static void *(*lookup)(void *, void *) = (void *)BPF_FUNC_map_lookup_elem;

SEC("2/7") int seventh(struct __sk_buff *skb)
{
	return -1;
}

SEC("classifier") int entry(struct __sk_buff *skb)
{
	__u32 key = 3;

	if (lookup(&outer, &key))
		tail_call(skb, &jumps, 7);
	return 0;
}

char __license[] SEC("license") = "GPL";
