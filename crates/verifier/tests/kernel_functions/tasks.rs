//! Functions on tasks, processors, caches and packets.

use super::{Form, Row, SYSCALL, TC, check, form, row};
use skep_bpf::platform::ProgType;

const XDP: Form = form(ProgType::XDP);
const SOCK_OPS: Form = form(ProgType::SOCK_OPS);

pub(crate) const ROWS: &[Row] = &[
    row(
        "the cache of an address",
        TC,
        "r1 = 5\n kfunc bpf_get_kmem_cache\n if r0 == 0 goto end\n r0 = *(u64 *)(r0 + 0)\n
         end: r0 = 0\n exit",
        "",
    ),
    row(
        "the cache of no address",
        TC,
        "r1 = 5\n kfunc bpf_get_kmem_cache\n r0 = *(u64 *)(r0 + 0)\n r0 = 0\n exit",
        "",
    ),
    row(
        "a cache is written to",
        TC,
        "r1 = 5\n kfunc bpf_get_kmem_cache\n if r0 == 0 goto end\n *(u64 *)(r0 + 0) = 0\n
         end: r0 = 0\n exit",
        "only read is supported",
    ),
    row(
        "a signal to this task",
        TC,
        "call bpf_get_current_task_btf\n r1 = r0\n r2 = 9\n r3 = 0\n r4 = 0\n
         kfunc bpf_send_signal_task\n r0 = 0\n exit",
        "",
    ),
    row(
        "a signal to no task",
        TC,
        "r1 = 0\n r2 = 9\n r3 = 0\n r4 = 0\n kfunc bpf_send_signal_task\n r0 = 0\n exit",
        "Possibly NULL pointer passed to trusted arg0",
    ),
    row(
        "a signal to any address",
        TC,
        "r2 = @task_struct\n kfunc bpf_rdonly_cast\n r1 = r0\n r2 = 9\n r3 = 0\n r4 = 0\n
         kfunc bpf_send_signal_task\n r0 = 0\n exit",
        "R1 must be referenced or trusted",
    ),
    row(
        "a text of a task is copied",
        SYSCALL,
        "call bpf_get_current_task_btf\n r4 = r0\n r1 = r10\n r1 += -16\n r2 = 16\n r3 = 0\n
         r5 = 0\n kfunc bpf_copy_from_user_task_str\n r0 = 0\n exit",
        "",
    ),
    row(
        "a text is copied beyond the stack",
        SYSCALL,
        "call bpf_get_current_task_btf\n r4 = r0\n r1 = r10\n r1 += -16\n r2 = 17\n r3 = 0\n
         r5 = 0\n kfunc bpf_copy_from_user_task_str\n r0 = 0\n exit",
        "arg#0 arg#1 memory, len pair leads to invalid memory access",
    ),
    row(
        "a text of any address is copied",
        SYSCALL,
        "r2 = @task_struct\n kfunc bpf_rdonly_cast\n r4 = r0\n r1 = r10\n r1 += -16\n
         r2 = 16\n r3 = 0\n r5 = 0\n kfunc bpf_copy_from_user_task_str\n r0 = 0\n exit",
        "arg#3 is untrusted_ptr_ expected ptr_ or socket",
    ),
    row(
        "a text of no task is copied",
        SYSCALL,
        "r4 = 0\n r1 = r10\n r1 += -16\n
         r2 = 16\n r3 = 0\n r5 = 0\n kfunc bpf_copy_from_user_task_str\n r0 = 0\n exit",
        "arg#3 pointer type STRUCT task_struct must point to scalar, or struct with scalar",
    ),
    row(
        "a text is copied where the program must not sleep",
        TC,
        "call bpf_get_current_task_btf\n r4 = r0\n r1 = r10\n r1 += -16\n r2 = 16\n r3 = 0\n
         r5 = 0\n kfunc bpf_copy_from_user_task_str\n r0 = 0\n exit",
        "program must be sleepable to call sleepable kfunc bpf_copy_from_user_task_str",
    ),
    row(
        "a set of processors is filled",
        SYSCALL,
        "kfunc bpf_cpumask_create\n if r0 == 0 goto end\n r6 = r0\n *(u64 *)(r10 - 8) = 0\n
         r1 = r6\n r2 = r10\n r2 += -8\n r3 = 8\n kfunc bpf_cpumask_populate\n
         r1 = r6\n kfunc bpf_cpumask_release\n end: r0 = 0\n exit",
        "",
    ),
    row(
        "no set of processors is filled",
        SYSCALL,
        "r1 = 0\n r2 = r10\n r2 += -8\n r3 = 8\n kfunc bpf_cpumask_populate\n r0 = 0\n exit",
        "Possibly NULL pointer passed to trusted arg0",
    ),
    row(
        "a set of processors is not given back",
        SYSCALL,
        "kfunc bpf_cpumask_create\n if r0 == 0 goto end\n *(u64 *)(r10 - 8) = 0\n
         r1 = r0\n r2 = r10\n r2 += -8\n r3 = 8\n kfunc bpf_cpumask_populate\n
         end: r0 = 0\n exit",
        "BPF_EXIT instruction in main prog would lead to reference leak",
    ),
    row(
        "the times of a socket",
        SOCK_OPS,
        "kfunc bpf_cast_to_kern_ctx\n r1 = r0\n r2 = 0\n
         kfunc bpf_sock_ops_enable_tx_tstamp\n r0 = 0\n exit",
        "",
    ),
    row("more of a packet", XDP, "r2 = 64\n kfunc bpf_xdp_pull_data\n r0 = 2\n exit", ""),
    row(
        "a packet read where it was",
        XDP,
        "r6 = *(u32 *)(r1 + 0)\n r7 = *(u32 *)(r1 + 4)\n r2 = r6\n r2 += 14\n
         if r2 > r7 goto end\n r2 = 64\n kfunc bpf_xdp_pull_data\n r0 = *(u8 *)(r6 + 0)\n
         end: r0 = 2\n exit",
        "R6 invalid mem access 'scalar'",
    ),
    row(
        "more of no packet",
        XDP,
        "r1 = 0\n r2 = 64\n kfunc bpf_xdp_pull_data\n r0 = 2\n exit",
        "arg#0 expected pointer to ctx, but got scalar",
    ),
];

#[test]
fn functions_take_what_the_kernel_wants() {
    check(ROWS);
}
