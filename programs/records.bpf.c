// Writes what it sees of packets to a ring buffer and to a perf event, and counts in a loop that
// the kernel steps.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

/* Headers older than Linux 6.4 have it not. */
struct bpf_iter_num {
	__u64 opaque;
} __attribute__((aligned(8)));

extern int bpf_iter_num_new(struct bpf_iter_num *it, int start, int end) __ksym;
extern int *bpf_iter_num_next(struct bpf_iter_num *it) __ksym;
extern void bpf_iter_num_destroy(struct bpf_iter_num *it) __ksym;

struct record {
	__u32 length;
	__u32 sum;
};

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} ring SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__uint(key_size, 4);
	__uint(value_size, 4);
} events SEC(".maps");

SEC("xdp")
int records(struct xdp_md *ctx)
{
	struct bpf_iter_num it;
	struct record *record;
	__u32 sum = 0;
	int *number;

	record = bpf_ringbuf_reserve(&ring, sizeof(*record), 0);
	if (!record)
		return XDP_ABORTED;
	bpf_iter_num_new(&it, 0, 10);
	while ((number = bpf_iter_num_next(&it)))
		sum += *number;
	bpf_iter_num_destroy(&it);
	record->length = ctx->data_end - ctx->data;
	record->sum = sum;
	bpf_ringbuf_submit(record, 0);
	bpf_perf_event_output(ctx, &events, BPF_F_CURRENT_CPU | (4ULL << 32), &sum, sizeof(sum));
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
