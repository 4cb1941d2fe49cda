// Notes the first bytes of the structure that a kernel function is called with.
// Right: reads through the pointer with bpf_probe_read_kernel.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct registers { // the start of x86-64's struct pt_regs, up to the first argument
	__u64 saved[14];
	__u64 first_argument;
};

__u64 first_word = 0;

SEC("kprobe/vfs_read")
int pointer_from_kernel(struct registers *ctx)
{
	__u64 *file = (__u64 *)ctx->first_argument;
	__u64 word;

	if (bpf_probe_read_kernel(&word, sizeof(word), file) == 0)
		first_word = word;
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
