// Copies a word from the memory of a process.
// Wrong: bpf_copy_from_user may have to wait for a page, and this program must not sleep.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

__u64 word = 0;

SEC("uprobe")
int helper_might_sleep(void *ctx)
{
	__u64 copy = 0;

	if (bpf_copy_from_user(&copy, sizeof(copy), (void *)0x400000) == 0) // here
		word = copy;
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
