// Notes the first bytes of the structure that a kernel function is called with.
// Wrong: follows a pointer of the kernel directly. What lies in a register of the traced function
// is a number to the verifier.
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

	first_word = *file; // here
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
