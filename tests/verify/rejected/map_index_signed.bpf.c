// Adds up packet lengths in the bucket that a map names.
// Wrong: the index is signed and has only an upper bound; it may be negative.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#define BUCKETS 8

struct histogram {
	__s32 bucket;
	__u32 reserved;
	__u64 bytes[BUCKETS];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct histogram);
} histograms SEC(".maps");

SEC("socket")
int map_index_signed(struct __sk_buff *skb)
{
	__u32 key = 0;
	struct histogram *histogram = bpf_map_lookup_elem(&histograms, &key);
	__s64 bucket;

	if (!histogram)
		return 0;
	bucket = histogram->bucket;
	if (bucket >= BUCKETS) // here
		return 0;
	histogram->bytes[bucket] += skb->len;
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
