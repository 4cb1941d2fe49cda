// Keeps the longest packet in a map, as an object of its own.
// Wrong: what was in the map before is owned by the program now, and lost.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>

struct item {
	__u64 length;
};

struct slot {
	struct item __kptr *item;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct slot);
} slots SEC(".maps");

extern void *bpf_obj_new_impl(__u64 local_type_id, void *meta) __ksym;
extern void bpf_obj_drop_impl(void *object, void *meta) __ksym;

/* Lets the type be part of the type information. */
struct item *unused;

SEC("tc")
int pointer_in_map_dropped(struct __sk_buff *skb)
{
	__u32 key = 0;
	struct slot *slot = bpf_map_lookup_elem(&slots, &key);
	struct item *item;

	if (!slot)
		return 0;
	item = bpf_obj_new_impl(bpf_core_type_id_local(struct item), NULL);
	if (!item)
		return 0;
	item->length = skb->len;
	bpf_kptr_xchg(&slot->item, item); // here
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
