// Adds a word of user memory to a sum.
// Wrong: passes the destination of the copy by value instead of by address.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct registers { // the start of x86-64's struct pt_regs, up to the first argument
	__u64 saved[14];
	__u64 first_argument;
};

__u64 sum = 0;

SEC("kprobe/do_sys_poll")
int helper_scalar_for_pointer(struct registers *ctx)
{
	__u64 word = 0;

	if (bpf_probe_read_user((void *)word, sizeof(word), (void *)ctx->first_argument)) // here
		return 0;
	sum += word;
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
