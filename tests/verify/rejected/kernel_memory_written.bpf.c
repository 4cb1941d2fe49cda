// Marks the task that is put on a processor, in the task's own structure.
// Wrong: writes to memory of the kernel. Tracing programs may follow typed pointers, but only read.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

__u64 first_word = 0;

SEC("tp_btf/sched_switch")
int kernel_memory_written(__u64 *ctx)
{
	__u64 *next = (__u64 *)ctx[2];

	*next |= 1; // here
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
