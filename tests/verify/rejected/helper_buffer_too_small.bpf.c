// Notes the name of the running task.
// Wrong: names have up to 16 bytes, and the helper is told so; the buffer has eight.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

__u8 first_letter = 0;

SEC("tracepoint/syscalls/sys_enter_openat")
int helper_buffer_too_small(void *ctx)
{
	char name[8];

	if (bpf_get_current_comm(name, 16) == 0) // here
		first_letter = name[0];
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
