//! Sections in which interrupts are forbidden.

use super::{Row, SYSCALL, TC, check, row};

const NESTED: &str = "
    r1 = r10
    r1 += -8
    kfunc bpf_local_irq_save
    r1 = r10
    r1 += -16
    kfunc bpf_local_irq_save
    r1 = r10
    r1 += -16
    kfunc bpf_local_irq_restore
    r1 = r10
    r1 += -8
    kfunc bpf_local_irq_restore
    r0 = 0
    exit";

pub(crate) const ROWS: &[Row] = &[
    row("sections one in the other", TC, NESTED, ""),
    row(
        "a section that is not ended",
        TC,
        "r1 = r10\n r1 += -8\n kfunc bpf_local_irq_save\n r0 = 0\n exit",
        "BPF_EXIT instruction in main prog cannot be used inside bpf_local_irq_save-ed region",
    ),
    row(
        "the outer section ended first",
        TC,
        "r1 = r10\n r1 += -8\n kfunc bpf_local_irq_save\n
         r1 = r10\n r1 += -16\n kfunc bpf_local_irq_save\n
         r1 = r10\n r1 += -8\n kfunc bpf_local_irq_restore\n
         r1 = r10\n r1 += -16\n kfunc bpf_local_irq_restore\n r0 = 0\n exit",
        "cannot restore irq state out of order, expected id=2 acquired at insn_idx=5",
    ),
    row(
        "nothing was saved",
        TC,
        "r1 = r10\n r1 += -8\n kfunc bpf_local_irq_restore\n r0 = 0\n exit",
        "expected an initialized irq flag as arg#0",
    ),
    row(
        "ended twice",
        TC,
        "r1 = r10\n r1 += -8\n kfunc bpf_local_irq_save\n
         r1 = r10\n r1 += -8\n kfunc bpf_local_irq_restore\n
         r1 = r10\n r1 += -8\n kfunc bpf_local_irq_restore\n r0 = 0\n exit",
        "expected an initialized irq flag as arg#0",
    ),
    row(
        "saved over what was saved",
        TC,
        "r1 = r10\n r1 += -8\n kfunc bpf_local_irq_save\n
         r1 = r10\n r1 += -8\n kfunc bpf_local_irq_save\n r0 = 0\n exit",
        "expected uninitialized irq flag as arg#0",
    ),
    row(
        "overwritten in part",
        TC,
        "r1 = r10\n r1 += -8\n kfunc bpf_local_irq_save\n *(u8 *)(r10 - 3) = 1\n
         r1 = r10\n r1 += -8\n kfunc bpf_local_irq_restore\n r0 = 0\n exit",
        "expected an initialized irq flag as arg#0",
    ),
    row(
        "read by a load",
        TC,
        "r1 = r10\n r1 += -8\n kfunc bpf_local_irq_save\n r0 = *(u64 *)(r10 - 8)\n exit",
        "invalid read from stack off -8+0 size 8",
    ),
    row(
        "not on the stack",
        TC,
        "kfunc bpf_local_irq_save\n r0 = 0\n exit",
        "arg#0 doesn't point to an irq flag on stack",
    ),
    row(
        "not a whole slot",
        TC,
        "r1 = r10\n r1 += -12\n kfunc bpf_local_irq_save\n r0 = 0\n exit",
        "cannot pass in irq_flag at an offset=-12",
    ),
    row(
        "above the stack",
        TC,
        "r1 = r10\n kfunc bpf_local_irq_save\n r0 = 0\n exit",
        "invalid write to stack R1 off=0 size=8",
    ),
    row(
        "restored from above the stack",
        TC,
        "r1 = r10\n kfunc bpf_local_irq_restore\n r0 = 0\n exit",
        "expected an initialized irq flag as arg#0",
    ),
    row(
        "a helper that may sleep within",
        SYSCALL,
        "r1 = r10\n r1 += -8\n kfunc bpf_local_irq_save\n
         r1 = r10\n r1 += -16\n r2 = 8\n r3 = 0\n call bpf_copy_from_user\n
         r1 = r10\n r1 += -8\n kfunc bpf_local_irq_restore\n r0 = 0\n exit",
        "sleepable helper bpf_copy_from_user#148 in IRQ-disabled region",
    ),
    row(
        "a helper that may sleep afterwards",
        SYSCALL,
        "r1 = r10\n r1 += -8\n kfunc bpf_local_irq_save\n
         r1 = r10\n r1 += -8\n kfunc bpf_local_irq_restore\n
         r1 = r10\n r1 += -16\n r2 = 8\n r3 = 0\n call bpf_copy_from_user\n r0 = 0\n exit",
        "",
    ),
    row(
        "a kernel function that may sleep within",
        SYSCALL,
        "r1 = r10\n r1 += -8\n kfunc bpf_local_irq_save\n
         r1 = r10\n r1 += -16\n r2 = 8\n r3 = 0\n r4 = 0\n kfunc bpf_copy_from_user_str\n
         r1 = r10\n r1 += -8\n kfunc bpf_local_irq_restore\n r0 = 0\n exit",
        "kernel func bpf_copy_from_user_str is sleepable within IRQ-disabled region",
    ),
    row(
        "an exception within",
        TC,
        "r1 = r10\n r1 += -8\n kfunc bpf_local_irq_save\n r1 = 0\n kfunc bpf_throw\n r0 = 0\n exit",
        "bpf_throw cannot be used inside bpf_local_irq_save-ed region",
    ),
    row(
        "a tail call within",
        TC,
        "r6 = r1\n r1 = r10\n r1 += -8\n kfunc bpf_local_irq_save\n
         r1 = r6\n r2 = map_by_idx(3) ll\n r3 = 0\n call bpf_tail_call\n
         r1 = r10\n r1 += -8\n kfunc bpf_local_irq_restore\n r0 = 0\n exit",
        "tail_call cannot be used inside bpf_local_irq_save-ed region",
    ),
    row(
        "a tail call afterwards",
        TC,
        "r6 = r1\n r1 = r10\n r1 += -8\n kfunc bpf_local_irq_save\n
         r1 = r10\n r1 += -8\n kfunc bpf_local_irq_restore\n
         r1 = r6\n r2 = map_by_idx(3) ll\n r3 = 0\n call bpf_tail_call\n r0 = 0\n exit",
        "",
    ),
    row(
        "an iterator that waits, within",
        SYSCALL,
        "r1 = r10\n r1 += -8\n kfunc bpf_local_irq_save\n
         r1 = r10\n r1 += -16\n kfunc bpf_iter_kmem_cache_new\n
         r1 = r10\n r1 += -16\n kfunc bpf_iter_kmem_cache_destroy\n
         r1 = r10\n r1 += -8\n kfunc bpf_local_irq_restore\n r0 = 0\n exit",
        "kernel func bpf_iter_kmem_cache_new is sleepable within IRQ-disabled region",
    ),
    row(
        "where an iterator is",
        TC,
        "r1 = r10\n r1 += -8\n r2 = 0\n r3 = 5\n kfunc bpf_iter_num_new\n
         r1 = r10\n r1 += -8\n kfunc bpf_local_irq_save\n
         r1 = r10\n r1 += -8\n kfunc bpf_iter_num_destroy\n r0 = 0\n exit",
        "expected an initialized iter_num as arg #0",
    ),
    row(
        "an iterator where what was saved is",
        TC,
        "r1 = r10\n r1 += -8\n kfunc bpf_local_irq_save\n
         r1 = r10\n r1 += -8\n r2 = 0\n r3 = 5\n kfunc bpf_iter_num_new\n
         r1 = r10\n r1 += -8\n kfunc bpf_local_irq_restore\n r0 = 0\n exit",
        "expected an initialized irq flag as arg#0",
    ),
    row(
        "overwritten by a number",
        TC,
        "r1 = r10\n r1 += -8\n kfunc bpf_local_irq_save\n r2 = 5\n *(u64 *)(r10 - 8) = r2\n
         r1 = r10\n r1 += -8\n kfunc bpf_local_irq_restore\n r0 = 0\n exit",
        "expected an initialized irq flag as arg#0",
    ),
    row(
        "read by a helper",
        TC,
        "r6 = r1\n r1 = r10\n r1 += -8\n kfunc bpf_local_irq_save\n
         r2 = r10\n r2 += -8\n r1 = map_by_idx(1) ll\n call bpf_map_lookup_elem\n
         r0 = 0\n exit",
        "invalid read from stack R2 off -8+0 size 4",
    ),
    row(
        "a loop with one more section in every turn",
        TC,
        "r6 = 0\n again: r1 = r10\n r1 += -8\n call save\n
         r6 += 1\n if r6 < 10 goto again\n r0 = 0\n exit\n
         save: r1 = r10\n r1 += -8\n kfunc bpf_local_irq_save\n r0 = 0\n exit",
        "BPF_EXIT instruction in main prog cannot be used inside bpf_local_irq_save-ed region",
    ),
    row(
        "a section in every turn of an iteration",
        TC,
        "r1 = r10\n r1 += -8\n r2 = 0\n r3 = 50\n kfunc bpf_iter_num_new\n
         again: r1 = r10\n r1 += -8\n kfunc bpf_iter_num_next\n if r0 == 0 goto end\n
         r1 = r10\n r1 += -16\n kfunc bpf_local_irq_save\n
         r1 = r10\n r1 += -16\n kfunc bpf_local_irq_restore\n goto again\n
         end: r1 = r10\n r1 += -8\n kfunc bpf_iter_num_destroy\n r0 = 0\n exit",
        "",
    ),
    row(
        "a section from one turn of an iteration to the next",
        TC,
        "r1 = r10\n r1 += -8\n r2 = 0\n r3 = 50\n kfunc bpf_iter_num_new\n
         r1 = r10\n r1 += -16\n kfunc bpf_local_irq_save\n
         again: r1 = r10\n r1 += -8\n kfunc bpf_iter_num_next\n if r0 == 0 goto end\n
         r1 = r10\n r1 += -16\n kfunc bpf_local_irq_restore\n
         r1 = r10\n r1 += -16\n kfunc bpf_local_irq_save\n goto again\n
         end: r1 = r10\n r1 += -8\n kfunc bpf_iter_num_destroy\n
         r1 = r10\n r1 += -16\n kfunc bpf_local_irq_restore\n r0 = 0\n exit",
        "",
    ),
    row(
        "a section that only some turns of an iteration end",
        TC,
        "r1 = r10\n r1 += -8\n r2 = 0\n r3 = 50\n kfunc bpf_iter_num_new\n
         r1 = r10\n r1 += -16\n kfunc bpf_local_irq_save\n
         again: r1 = r10\n r1 += -8\n kfunc bpf_iter_num_next\n if r0 == 0 goto end\n
         r1 = *(u32 *)(r0 + 0)\n if r1 == 7 goto again\n
         r1 = r10\n r1 += -16\n kfunc bpf_local_irq_restore\n goto again\n
         end: r1 = r10\n r1 += -8\n kfunc bpf_iter_num_destroy\n
         r1 = r10\n r1 += -16\n kfunc bpf_local_irq_restore\n r0 = 0\n exit",
        "expected an initialized irq flag as arg#0",
    ),
    row(
        "an old packet load within",
        TC,
        "r6 = r1\n r1 = r10\n r1 += -8\n kfunc bpf_local_irq_save\n
         r0 = *(u8 *)skb[0]\n exit",
        "BPF_LD_[ABS|IND] cannot be used inside bpf_local_irq_save-ed region",
    ),
    row(
        "begun and ended in functions",
        TC,
        "r1 = r10\n r1 += -8\n call save\n r1 = r10\n r1 += -8\n call restore\n r0 = 0\n exit\n
         save: kfunc bpf_local_irq_save\n r0 = 0\n exit\n
         restore: kfunc bpf_local_irq_restore\n r0 = 0\n exit",
        "",
    ),
    row(
        "left on the stack of a function that returns",
        TC,
        "call save\n r0 = 0\n exit\n
         save: r1 = r10\n r1 += -8\n kfunc bpf_local_irq_save\n r0 = 0\n exit",
        "BPF_EXIT instruction in main prog cannot be used inside bpf_local_irq_save-ed region",
    ),
    row(
        "begun on one of two paths",
        TC,
        "r2 = *(u32 *)(r1 + 0)\n r0 = 0\n if r2 == 0 goto end\n
         r1 = r10\n r1 += -8\n kfunc bpf_local_irq_save\n r0 = 0\n end: exit",
        "BPF_EXIT instruction in main prog cannot be used inside bpf_local_irq_save-ed region",
    ),
    row(
        "ended on one of two paths",
        TC,
        "r6 = *(u32 *)(r1 + 0)\n r1 = r10\n r1 += -8\n kfunc bpf_local_irq_save\n
         if r6 == 0 goto end\n
         r1 = r10\n r1 += -8\n kfunc bpf_local_irq_restore\n end: r0 = 0\n exit",
        "BPF_EXIT instruction in main prog cannot be used inside bpf_local_irq_save-ed region",
    ),
    row(
        "the order differs between two paths that meet",
        TC,
        "r6 = *(u32 *)(r1 + 0)\n if r6 == 0 goto other\n
         r1 = r10\n r1 += -8\n kfunc bpf_local_irq_save\n
         r1 = r10\n r1 += -16\n kfunc bpf_local_irq_save\n goto met\n
         other: r1 = r10\n r1 += -16\n kfunc bpf_local_irq_save\n
         r1 = r10\n r1 += -8\n kfunc bpf_local_irq_save\n
         met: r1 = r10\n r1 += -16\n kfunc bpf_local_irq_restore\n
         r1 = r10\n r1 += -8\n kfunc bpf_local_irq_restore\n r0 = 0\n exit",
        "cannot restore irq state out of order, expected id=4 acquired at insn_idx=14",
    ),
    row(
        "a section in every turn of a loop",
        TC,
        "r6 = 0\n again: r1 = r10\n r1 += -8\n kfunc bpf_local_irq_save\n
         r1 = r10\n r1 += -8\n kfunc bpf_local_irq_restore\n
         r6 += 1\n if r6 < 10 goto again\n r0 = 0\n exit",
        "",
    ),
    row(
        "RCU, preemption and interrupts crossed",
        TC,
        "kfunc bpf_rcu_read_lock\n kfunc bpf_preempt_disable\n
         r1 = r10\n r1 += -8\n kfunc bpf_local_irq_save\n kfunc bpf_rcu_read_unlock\n
         kfunc bpf_preempt_enable\n r1 = r10\n r1 += -8\n kfunc bpf_local_irq_restore\n
         r0 = 0\n exit",
        "",
    ),
];

#[test]
fn sections_are_ended_in_order() {
    check(ROWS);
}
