// Programs that need something of the kernel, beside one that does not.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>

extern unsigned long CONFIG_HZ __kconfig;
extern const int bpf_prog_active __ksym;
extern void bpf_rcu_read_lock(void) __ksym __weak;
extern int undeclared(int x);

struct task_struct {
	int pid;
	int tgid;
} __attribute__((preserve_access_index));

// libbpf refuses static maps; their section stands for them in relocations.
struct quiet {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2);
	__type(key, int);
	__type(value, int);
};
static struct quiet first_quiet SEC(".maps");
static struct quiet second_quiet SEC(".maps");

SEC("xdp") int kconfig(struct xdp_md *ctx)
{
	return CONFIG_HZ;
}

SEC("xdp") int ksym(struct xdp_md *ctx)
{
	return (long)&bpf_prog_active;
}

SEC("xdp") int kfunc(struct xdp_md *ctx)
{
	bpf_rcu_read_lock();
	return 0;
}

SEC("tp_btf/sched_switch") int core(__u64 *args)
{
	struct task_struct *task = (void *)args[1];

	return task->tgid;
}

SEC("xdp") int local_type(struct xdp_md *ctx)
{
	return bpf_core_type_id_local(struct task_struct);
}

SEC("xdp") int plain(struct xdp_md *ctx)
{
	bpf_map_delete_elem(&second_quiet, &(int){1});
	bpf_map_delete_elem(&first_quiet, &(int){1});
	return XDP_PASS;
}

SEC("xdp") int lost(struct xdp_md *ctx)
{
	return undeclared(1);
}

// Data cannot hold addresses.
static int target = 1;
int *volatile pointer = &target;
static int callee(void) { return 3; }
int (*volatile function)(void) = callee;

int strange SEC("elsewhere") = 1;
SEC("xdp") int odd(struct xdp_md *ctx)
{
	return strange++;
}

char _license[] SEC("license") = "GPL";
