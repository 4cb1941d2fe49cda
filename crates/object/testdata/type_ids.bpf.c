// Numbers of types that are asked for: those of the object's own BTF, and those of the kernel's.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>

struct sample {
	int a;
};

struct sample___own {
	int b;
};

struct absent {
	int c;
};

struct sample kept;

SEC("socket") int ids(struct __sk_buff *skb)
{
	skb->mark = bpf_core_type_id_kernel(struct sample___own);
	skb->priority = bpf_core_type_id_kernel(struct absent);
	return bpf_core_type_id_local(struct sample___own);
}
