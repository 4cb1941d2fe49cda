// Keeps the length of a packet in an object for a while.
// Wrong: there may be no memory for the object, and nobody asks.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>

struct item {
	__u64 length;
};

extern void *bpf_obj_new_impl(__u64 local_type_id, void *meta) __ksym;
extern void bpf_obj_drop_impl(void *object, void *meta) __ksym;

SEC("tc")
int object_unchecked(struct __sk_buff *skb)
{
	struct item *item = bpf_obj_new_impl(bpf_core_type_id_local(struct item), NULL);

	item->length = skb->len; // here
	bpf_obj_drop_impl(item, NULL);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
