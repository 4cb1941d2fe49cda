// Everything an ordinary object may contain: several programs in a section, functions called
// across sections, callbacks, maps of every form of declaration, global data of every kind.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct value {
	__u64 packets;
	__u32 by_kind[4];
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 100);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32);
	__type(value, struct value);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} counts SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2);
	__uint(key_size, 4);
	__uint(value_size, 16);
} quiet SEC(".maps");

struct inner {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 3);
	__type(key, __u32);
	__type(value, __u64);
} first SEC(".maps"), second SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 4);
	__type(key, __u32);
	__array(values, struct inner);
} outer SEC(".maps") = {
	.values = { [0] = &first, [3] = &second },
};

struct {
	__uint(type, BPF_MAP_TYPE_BLOOM_FILTER);
	__uint(max_entries, 1000);
	__type(value, __u32);
	__uint(map_extra, 3);
} bloom SEC(".maps");

int step(struct xdp_md *ctx);

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 3);
	__uint(key_size, sizeof(__u32));
	__array(values, int(void *));
} steps SEC(".maps") = {
	.values = { [2] = (void *)&step },
};

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} events SEC(".maps");

int writable = 7;
__u64 zeroed[3];
const volatile int limit = 5;
static volatile int hidden_zero;
__attribute__((visibility("hidden"))) int private SEC(".bss.private_counter");
int apart SEC(".data.apart") = 9;
const char text[] SEC(".rodata.text") = "text";

__attribute__((noinline)) static int twice(int x)
{
	hidden_zero += x;
	return x * 2 + hidden_zero;
}

__attribute__((noinline)) int shared(struct xdp_md *ctx, int x)
{
	return ctx->ingress_ifindex + twice(x);
}

static long each(__u32 index, void *ctx)
{
	zeroed[index & 1] += twice(index) + private++;
	return 0;
}

SEC("xdp") int step(struct xdp_md *ctx)
{
	__u32 key = 0;
	__u64 *found;
	void *map = bpf_map_lookup_elem(&outer, &key);

	if (!map)
		return shared(ctx, 1);
	found = bpf_map_lookup_elem(map, &key);
	return found ? *found : XDP_PASS;
}

SEC("xdp") int start(struct xdp_md *ctx)
{
	struct value *value;
	__u32 key = limit;

	bpf_loop(limit, each, 0, 0);
	value = bpf_map_lookup_elem(&counts, &key);
	if (value)
		value->packets++;
	bpf_map_lookup_elem(&quiet, &key);
	bpf_map_push_elem(&bloom, &key, 0);
	bpf_tail_call(ctx, &steps, 2);
	bpf_printk("writable %d", writable + apart);
	return shared(ctx, text[key & 3]);
}

SEC("?tc") int later(struct __sk_buff *skb)
{
	void *record = bpf_ringbuf_reserve(&events, 8, 0);

	if (record)
		bpf_ringbuf_discard(record, 0);
	return twice(skb->len);
}

SEC("xdp_custom_name") int custom(struct xdp_md *ctx)
{
	return XDP_DROP;
}

char _license[] SEC("license") = "Dual MIT/GPL";
__u32 _version SEC("version") = 0x061200;
