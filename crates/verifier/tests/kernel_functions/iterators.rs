//! Open-coded iterators over objects of the kernel.

use super::{Form, Row, SYSCALL, TC, check, iterator_program, row};

const TASKS: Form = iterator_program("task");

const ALL_TASKS: &str = "
    kfunc bpf_rcu_read_lock
    r1 = r10
    r1 += -24
    r2 = 0
    r3 = 0
    kfunc bpf_iter_task_new
    r6 = 0
    again:
    r1 = r10
    r1 += -24
    kfunc bpf_iter_task_next
    if r0 == 0 goto end
    r6 += 1
    goto again
    end:
    r1 = r10
    r1 += -24
    kfunc bpf_iter_task_destroy
    kfunc bpf_rcu_read_unlock
    r0 = 0
    exit";

pub(crate) const ROWS: &[Row] = &[
    row("all tasks", SYSCALL, ALL_TASKS, ""),
    row("all tasks, where RCU always protects", TC, ALL_TASKS, ""),
    row(
        "tasks without protection",
        SYSCALL,
        "r1 = r10\n r1 += -24\n r2 = 0\n r3 = 0\n kfunc bpf_iter_task_new\n
         r1 = r10\n r1 += -24\n kfunc bpf_iter_task_destroy\n r0 = 0\n exit",
        "kernel func bpf_iter_task_new requires RCU critical section protection",
    ),
    row(
        "tasks without a section where RCU always protects",
        TC,
        "r1 = r10\n r1 += -24\n r2 = 0\n r3 = 0\n kfunc bpf_iter_task_new\n
         r1 = r10\n r1 += -24\n kfunc bpf_iter_task_next\n
         r1 = r10\n r1 += -24\n kfunc bpf_iter_task_destroy\n r0 = 0\n exit",
        "",
    ),
    row(
        "protection ends during the iteration",
        SYSCALL,
        "kfunc bpf_rcu_read_lock\n r1 = r10\n r1 += -24\n r2 = 0\n r3 = 0\n
         kfunc bpf_iter_task_new\n kfunc bpf_rcu_read_unlock\n
         r1 = r10\n r1 += -24\n kfunc bpf_iter_task_next\n
         r1 = r10\n r1 += -24\n kfunc bpf_iter_task_destroy\n r0 = 0\n exit",
        "expected an RCU CS when using bpf_iter_task_next",
    ),
    row(
        "another section does not protect it",
        SYSCALL,
        "kfunc bpf_rcu_read_lock\n r1 = r10\n r1 += -24\n r2 = 0\n r3 = 0\n
         kfunc bpf_iter_task_new\n kfunc bpf_rcu_read_unlock\n kfunc bpf_rcu_read_lock\n
         r1 = r10\n r1 += -24\n kfunc bpf_iter_task_destroy\n
         kfunc bpf_rcu_read_unlock\n r0 = 0\n exit",
        "expected an RCU CS when using bpf_iter_task_destroy",
    ),
    row(
        "an unprotected path meets a protected one",
        SYSCALL,
        "kfunc bpf_rcu_read_lock\n r1 = r10\n r1 += -24\n r2 = 0\n r3 = 0\n
         kfunc bpf_iter_task_new\n call bpf_get_prandom_u32\n if r0 != 0 goto met\n
         kfunc bpf_rcu_read_unlock\n kfunc bpf_rcu_read_lock\n
         met: r1 = r10\n r1 += -24\n kfunc bpf_iter_task_destroy\n
         kfunc bpf_rcu_read_unlock\n r0 = 0\n exit",
        "expected an RCU CS when using bpf_iter_task_destroy",
    ),
    row(
        "an iterator that is not ended",
        TC,
        "r1 = r10\n r1 += -24\n r2 = 0\n r3 = 0\n kfunc bpf_iter_task_new\n r0 = 0\n exit",
        "BPF_EXIT instruction in main prog would lead to reference leak",
    ),
    row(
        "the iterator of another kind",
        TC,
        "r1 = r10\n r1 += -24\n r2 = 0\n r3 = 0\n kfunc bpf_iter_task_new\n
         r1 = r10\n r1 += -24\n kfunc bpf_iter_css_next\n r0 = 0\n exit",
        "expected an initialized iter_css as arg #0",
    ),
    row(
        "a step after the end",
        TC,
        "r1 = r10\n r1 += -24\n r2 = 0\n r3 = 0\n kfunc bpf_iter_task_new\n
         r1 = r10\n r1 += -24\n kfunc bpf_iter_task_destroy\n
         r1 = r10\n r1 += -24\n kfunc bpf_iter_task_next\n r0 = 0\n exit",
        "expected an initialized iter_task as arg #0",
    ),
    row(
        "begun twice",
        TC,
        "r1 = r10\n r1 += -24\n r2 = 0\n r3 = 0\n kfunc bpf_iter_task_new\n
         r1 = r10\n r1 += -24\n r2 = 0\n r3 = 0\n kfunc bpf_iter_task_new\n r0 = 0\n exit",
        "expected uninitialized iter_task as arg #0",
    ),
    row(
        "one slot overwritten",
        TC,
        "r1 = r10\n r1 += -24\n r2 = 0\n r3 = 0\n kfunc bpf_iter_task_new\n
         *(u64 *)(r10 - 16) = 0\n
         r1 = r10\n r1 += -24\n kfunc bpf_iter_task_next\n r0 = 0\n exit",
        "expected an initialized iter_task as arg #0",
    ),
    row(
        "shifted by a slot",
        TC,
        "r1 = r10\n r1 += -32\n r2 = 0\n r3 = 0\n kfunc bpf_iter_task_new\n
         r1 = r10\n r1 += -24\n kfunc bpf_iter_task_next\n r0 = 0\n exit",
        "expected an initialized iter_task as arg #0",
    ),
    row(
        "no room on the stack",
        TC,
        "r1 = r10\n r1 += -16\n r2 = 0\n r3 = 0\n kfunc bpf_iter_task_new\n r0 = 0\n exit",
        "cannot pass in iter at an offset=-16",
    ),
    row(
        "an element that was not compared with NULL",
        TC,
        "r1 = r10\n r1 += -24\n r2 = 0\n r3 = 0\n kfunc bpf_iter_task_new\n
         r1 = r10\n r1 += -24\n kfunc bpf_iter_task_next\n r6 = *(u64 *)(r0 + 0)\n
         r1 = r10\n r1 += -24\n kfunc bpf_iter_task_destroy\n r0 = 0\n exit",
        "R0 invalid mem access 'scalar'",
    ),
    row(
        "an element is written to",
        TC,
        "r1 = r10\n r1 += -24\n r2 = 0\n r3 = 0\n kfunc bpf_iter_task_new\n
         r1 = r10\n r1 += -24\n kfunc bpf_iter_task_next\n if r0 == 0 goto end\n
         *(u64 *)(r0 + 0) = 0\n
         end: r1 = r10\n r1 += -24\n kfunc bpf_iter_task_destroy\n r0 = 0\n exit",
        "only read is supported",
    ),
    row(
        "an element is given back",
        TC,
        "r1 = r10\n r1 += -24\n r2 = 0\n r3 = 0\n kfunc bpf_iter_task_new\n
         r1 = r10\n r1 += -24\n kfunc bpf_iter_task_next\n if r0 == 0 goto end\n
         r1 = r0\n kfunc bpf_task_release\n
         end: r1 = r10\n r1 += -24\n kfunc bpf_iter_task_destroy\n r0 = 0\n exit",
        "R1 must be referenced or trusted",
    ),
    row(
        "an element is acquired and given back",
        TC,
        "r1 = r10\n r1 += -24\n r2 = 0\n r3 = 0\n kfunc bpf_iter_task_new\n
         r1 = r10\n r1 += -24\n kfunc bpf_iter_task_next\n if r0 == 0 goto end\n
         r1 = r0\n kfunc bpf_task_acquire\n if r0 == 0 goto end\n
         r1 = r0\n kfunc bpf_task_release\n
         end: r1 = r10\n r1 += -24\n kfunc bpf_iter_task_destroy\n r0 = 0\n exit",
        "",
    ),
    row(
        "an element after the section",
        SYSCALL,
        "kfunc bpf_rcu_read_lock\n r1 = r10\n r1 += -24\n r2 = 0\n r3 = 0\n
         kfunc bpf_iter_task_new\n r1 = r10\n r1 += -24\n kfunc bpf_iter_task_next\n r6 = r0\n
         r1 = r10\n r1 += -24\n kfunc bpf_iter_task_destroy\n kfunc bpf_rcu_read_unlock\n
         if r6 == 0 goto end\n r1 = r6\n kfunc bpf_task_acquire\n if r0 == 0 goto end\n
         r1 = r0\n kfunc bpf_task_release\n end: r0 = 0\n exit",
        "R1 must be a rcu pointer",
    ),
    row(
        "areas of this task",
        TC,
        "call bpf_get_current_task_btf\n r2 = r0\n r1 = r10\n r1 += -8\n r3 = 0\n
         kfunc bpf_iter_task_vma_new\n
         again: r1 = r10\n r1 += -8\n kfunc bpf_iter_task_vma_next\n if r0 == 0 goto end\n
         r1 = *(u64 *)(r0 + 0)\n goto again\n
         end: r1 = r10\n r1 += -8\n kfunc bpf_iter_task_vma_destroy\n r0 = 0\n exit",
        "",
    ),
    row(
        "areas of a task that may be NULL",
        TASKS,
        "r2 = *(u64 *)(r1 + 8)\n r1 = r10\n r1 += -8\n r3 = 0\n
         kfunc bpf_iter_task_vma_new\n
         r1 = r10\n r1 += -8\n kfunc bpf_iter_task_vma_destroy\n r0 = 0\n exit",
        "Possibly NULL pointer passed to trusted arg1",
    ),
    row(
        "areas of no task",
        TC,
        "r2 = 0\n r1 = r10\n r1 += -8\n r3 = 0\n kfunc bpf_iter_task_vma_new\n r0 = 0\n exit",
        "Possibly NULL pointer passed to trusted arg1",
    ),
    row(
        "areas of a task of which nothing is known",
        TC,
        "call bpf_get_current_task\n r2 = r0\n r1 = r10\n r1 += -8\n r3 = 0\n
         kfunc bpf_iter_task_vma_new\n r0 = 0\n exit",
        "arg#1 pointer type STRUCT task_struct must point to scalar, or struct with scalar",
    ),
    row(
        "groups below a control group",
        SYSCALL,
        "r1 = 1\n kfunc bpf_cgroup_from_id\n if r0 == 0 goto none\n r7 = r0\n
         kfunc bpf_rcu_read_lock\n r2 = r7\n r1 = r10\n r1 += -24\n r3 = 1\n
         kfunc bpf_iter_css_new\n
         again: r1 = r10\n r1 += -24\n kfunc bpf_iter_css_next\n if r0 == 0 goto end\n
         goto again\n
         end: r1 = r10\n r1 += -24\n kfunc bpf_iter_css_destroy\n
         kfunc bpf_rcu_read_unlock\n r1 = r7\n kfunc bpf_cgroup_release\n
         none: r0 = 0\n exit",
        "",
    ),
    row(
        "tasks of a control group, in a program that may sleep",
        SYSCALL,
        "r1 = 1\n kfunc bpf_cgroup_from_id\n if r0 == 0 goto none\n r7 = r0\n
         r2 = r7\n r1 = r10\n r1 += -8\n r3 = 1\n kfunc bpf_iter_css_task_new\n
         again: r1 = r10\n r1 += -8\n kfunc bpf_iter_css_task_next\n if r0 == 0 goto end\n
         goto again\n
         end: r1 = r10\n r1 += -8\n kfunc bpf_iter_css_task_destroy\n
         r1 = r7\n kfunc bpf_cgroup_release\n none: r0 = 0\n exit",
        "",
    ),
    row(
        "tasks of a control group, in a program that may not",
        TC,
        "r1 = 1\n kfunc bpf_cgroup_from_id\n if r0 == 0 goto none\n r7 = r0\n
         r2 = r7\n r1 = r10\n r1 += -8\n r3 = 1\n kfunc bpf_iter_css_task_new\n
         r1 = r10\n r1 += -8\n kfunc bpf_iter_css_task_destroy\n
         r1 = r7\n kfunc bpf_cgroup_release\n none: r0 = 0\n exit",
        "css_task_iter is only allowed in bpf_lsm, bpf_iter and sleepable progs",
    ),
    row(
        "a tail call during an iteration",
        TC,
        "r6 = r1\n r1 = r10\n r1 += -24\n r2 = 0\n r3 = 0\n kfunc bpf_iter_task_new\n
         r1 = r6\n r2 = map_by_idx(3) ll\n r3 = 0\n call bpf_tail_call\n
         r1 = r10\n r1 += -24\n kfunc bpf_iter_task_destroy\n r0 = 0\n exit",
        "tail_call would lead to reference leak",
    ),
    row(
        "an exception during an iteration",
        TC,
        "r1 = r10\n r1 += -24\n r2 = 0\n r3 = 0\n kfunc bpf_iter_task_new\n
         r1 = 0\n kfunc bpf_throw\n r0 = 0\n exit",
        "bpf_throw would lead to reference leak",
    ),
    row(
        "ended in another function",
        TC,
        "r1 = r10\n r1 += -24\n r2 = 0\n r3 = 0\n kfunc bpf_iter_task_new\n
         r1 = r10\n r1 += -24\n call end\n r0 = 0\n exit\n
         end: kfunc bpf_iter_task_destroy\n r0 = 0\n exit",
        "",
    ),
    row(
        "a helper that may sleep during an iteration, and a task from before it",
        SYSCALL,
        "kfunc bpf_rcu_read_lock\n r1 = r10\n r1 += -24\n r2 = 0\n r3 = 0\n
         kfunc bpf_iter_task_new\n
         r1 = r10\n r1 += -32\n r2 = 8\n r3 = 0\n call bpf_copy_from_user\n
         r1 = r10\n r1 += -24\n kfunc bpf_iter_task_destroy\n
         kfunc bpf_rcu_read_unlock\n r0 = 0\n exit",
        "sleepable helper bpf_copy_from_user#148 in rcu_read_lock region",
    ),
    row(
        "a task of a control group is acquired",
        SYSCALL,
        "r1 = 1\n kfunc bpf_cgroup_from_id\n if r0 == 0 goto none\n r7 = r0\n
         r2 = r7\n r1 = r10\n r1 += -8\n r3 = 1\n kfunc bpf_iter_css_task_new\n
         r1 = r10\n r1 += -8\n kfunc bpf_iter_css_task_next\n if r0 == 0 goto end\n
         r1 = r0\n kfunc bpf_task_acquire\n if r0 == 0 goto end\n
         r1 = r0\n kfunc bpf_task_release\n
         end: r1 = r10\n r1 += -8\n kfunc bpf_iter_css_task_destroy\n
         r1 = r7\n kfunc bpf_cgroup_release\n none: r0 = 0\n exit",
        "",
    ),
    row(
        "a group that is not given back",
        SYSCALL,
        "r1 = 1\n kfunc bpf_cgroup_from_id\n if r0 == 0 goto none\n
         r2 = r0\n r1 = r10\n r1 += -8\n r3 = 1\n kfunc bpf_iter_css_task_new\n
         r1 = r10\n r1 += -8\n kfunc bpf_iter_css_task_destroy\n none: r0 = 0\n exit",
        "BPF_EXIT instruction in main prog would lead to reference leak",
    ),
    row(
        "the tasks of a task",
        TC,
        "call bpf_get_current_task_btf\n r2 = r0\n r1 = r10\n r1 += -24\n r3 = 1\n
         kfunc bpf_iter_css_new\n r0 = 0\n exit",
        "kernel function bpf_iter_css_new args#1 expected pointer to STRUCT cgroup_subsys_state but R2 has a pointer to STRUCT task_struct",
    ),
    row(
        "caches",
        SYSCALL,
        "r1 = r10\n r1 += -8\n kfunc bpf_iter_kmem_cache_new\n
         again: r1 = r10\n r1 += -8\n kfunc bpf_iter_kmem_cache_next\n if r0 == 0 goto end\n
         goto again\n
         end: r1 = r10\n r1 += -8\n kfunc bpf_iter_kmem_cache_destroy\n r0 = 0\n exit",
        "",
    ),
    row(
        "caches in a program that may not sleep",
        TC,
        "r1 = r10\n r1 += -8\n kfunc bpf_iter_kmem_cache_new\n
         r1 = r10\n r1 += -8\n kfunc bpf_iter_kmem_cache_destroy\n r0 = 0\n exit",
        "program must be sleepable to call sleepable kfunc bpf_iter_kmem_cache_new",
    ),
    row(
        "caches where the program may not sleep",
        SYSCALL,
        "kfunc bpf_rcu_read_lock\n r1 = r10\n r1 += -8\n kfunc bpf_iter_kmem_cache_new\n
         r1 = r10\n r1 += -8\n kfunc bpf_iter_kmem_cache_destroy\n
         kfunc bpf_rcu_read_unlock\n r0 = 0\n exit",
        "kernel func bpf_iter_kmem_cache_new is sleepable within rcu_read_lock region",
    ),
    row(
        "shared buffers",
        SYSCALL,
        "r1 = r10\n r1 += -8\n kfunc bpf_iter_dmabuf_new\n
         again: r1 = r10\n r1 += -8\n kfunc bpf_iter_dmabuf_next\n if r0 == 0 goto end\n
         r1 = *(u64 *)(r0 + 0)\n goto again\n
         end: r1 = r10\n r1 += -8\n kfunc bpf_iter_dmabuf_destroy\n r0 = 0\n exit",
        "",
    ),
];

#[test]
fn elements_are_what_the_kernel_says() {
    check(ROWS);
}
