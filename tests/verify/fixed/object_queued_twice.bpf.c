// Queues the length of packets, for two readers.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>

/* As in newer headers of the kernel. */
struct bpf_list_head {
	__u64 __opaque[2];
} __attribute__((aligned(8)));
struct bpf_list_node {
	__u64 __opaque[3];
} __attribute__((aligned(8)));

struct item {
	__u64 length;
	struct bpf_list_node node;
};

extern void *bpf_obj_new_impl(__u64 local_type_id, void *meta) __ksym;
extern void bpf_obj_drop_impl(void *object, void *meta) __ksym;
extern int bpf_list_push_front_impl(struct bpf_list_head *head, struct bpf_list_node *node,
				    void *meta, __u64 offset) __ksym;

/* A lock guards the lists beside it. */
SEC(".data.queue") __hidden struct bpf_spin_lock lock __attribute__((aligned(8)));
SEC(".data.queue") __hidden struct bpf_list_head queue
	__attribute__((aligned(8), btf_decl_tag("contains:item:node")));
SEC(".data.queue") __hidden struct bpf_list_head other
	__attribute__((aligned(8), btf_decl_tag("contains:item:node")));

static void add(struct bpf_list_head *head, __u64 length)
{
	struct item *item = bpf_obj_new_impl(bpf_core_type_id_local(struct item), NULL);

	if (!item)
		return;
	item->length = length;
	bpf_spin_lock(&lock);
	bpf_list_push_front_impl(head, &item->node, NULL, 0);
	bpf_spin_unlock(&lock);
}

SEC("tc")
int object_queued_twice(struct __sk_buff *skb)
{
	add(&queue, skb->len);
	add(&other, skb->len);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
