// Notes the first word of the structure of the task that is put on a processor.
// Right: the structure is only read.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

__u64 first_word = 0;

SEC("tp_btf/sched_switch")
int kernel_memory_written(__u64 *ctx)
{
	__u64 *next = (__u64 *)ctx[2];

	first_word = *next;
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
