// Copies a word from the memory of a process.
// Right: the section's name says that the program may sleep.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

__u64 word = 0;

SEC("uprobe.s")
int helper_might_sleep(void *ctx)
{
	__u64 copy = 0;

	if (bpf_copy_from_user(&copy, sizeof(copy), (void *)0x400000) == 0)
		word = copy;
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
