// Notes the name of the running task.
// Right: the buffer has the 16 bytes that the helper is told of.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

__u8 first_letter = 0;

SEC("tracepoint/syscalls/sys_enter_openat")
int helper_buffer_too_small(void *ctx)
{
	char name[16];

	if (bpf_get_current_comm(name, 16) == 0)
		first_letter = name[0];
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
