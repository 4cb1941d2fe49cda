//! Addresses as pointers to types of the kernel.

use super::{Row, SYSCALL, TC, check, row};

pub(crate) const ROWS: &[Row] = &[
    row(
        "a number becomes a task, and its fields numbers and pointers",
        TC,
        "r1 = 0\n r2 = @task_struct\n kfunc bpf_rdonly_cast\n r1 = *(u64 *)(r0 + 0)\n r0 = 0\n exit",
        "",
    ),
    row(
        "the argument need not be there",
        TC,
        "r2 = @task_struct\n kfunc bpf_rdonly_cast\n r0 = 0\n exit",
        "",
    ),
    row(
        "the context as anything",
        TC,
        "r2 = @sk_buff\n kfunc bpf_rdonly_cast\n r0 = *(u32 *)(r0 + 112)\n exit",
        "",
    ),
    row(
        "a write through it",
        TC,
        "r2 = @task_struct\n kfunc bpf_rdonly_cast\n *(u64 *)(r0 + 0) = 0\n r0 = 0\n exit",
        "only read is supported",
    ),
    row(
        "a read beyond the structure",
        TC,
        "r2 = @list_head\n kfunc bpf_rdonly_cast\n r0 = *(u64 *)(r0 + 16)\n exit",
        "access beyond struct list_head at off 16 size 8",
    ),
    row(
        "a read before the structure",
        TC,
        "r2 = @list_head\n kfunc bpf_rdonly_cast\n r0 = *(u64 *)(r0 - 8)\n exit",
        "R0 is ptr_list_head invalid negative access: off=-8",
    ),
    row(
        "passed where an object must live",
        TC,
        "r2 = @task_struct\n kfunc bpf_rdonly_cast\n r1 = r0\n kfunc bpf_task_acquire\n
         r0 = 0\n exit",
        "R1 must be a rcu pointer",
    ),
    row(
        "given back though nothing was acquired",
        TC,
        "r2 = @task_struct\n kfunc bpf_rdonly_cast\n r1 = r0\n kfunc bpf_task_release\n
         r0 = 0\n exit",
        "R1 must be referenced or trusted",
    ),
    row(
        "passed to a helper",
        TC,
        "r2 = @sock\n kfunc bpf_rdonly_cast\n r1 = r0\n call bpf_skc_to_tcp_sock\n r0 = 0\n exit",
        "R1 type=untrusted_ptr_ expected=sock_common, sock, tcp_sock, xdp_sock, ptr_, trusted_ptr_",
    ),
    row(
        "a type that is not known",
        TC,
        "r6 = *(u32 *)(r1 + 0)\n r2 = r6\n kfunc bpf_rdonly_cast\n r0 = 0\n exit",
        "R2 must be a known constant",
    ),
    row(
        "a type that is not there",
        TC,
        "r2 = 100000000\n kfunc bpf_rdonly_cast\n r0 = 0\n exit",
        "Unknown type ID 100000000 passed to kfunc bpf_rdonly_cast",
    ),
    row(
        "a type that is no structure",
        TC,
        "r2 = 1\n kfunc bpf_rdonly_cast\n r0 = 0\n exit",
        "kfunc bpf_rdonly_cast type ID argument must be of a struct or void",
    ),
    row(
        "no type at all: memory",
        SYSCALL,
        "r2 = 0\n kfunc bpf_rdonly_cast\n r0 = *(u64 *)(r0 + 4096)\n exit",
        "",
    ),
    row(
        "a write to memory of no type",
        TC,
        "r2 = 0\n kfunc bpf_rdonly_cast\n *(u8 *)(r0 + 0) = 0\n r0 = 0\n exit",
        "R0 cannot write into rdonly_untrusted_mem",
    ),
    row(
        "an atomic operation on memory of no type",
        TC,
        "r2 = 0\n kfunc bpf_rdonly_cast\n r1 = 1\n lock *(u64 *)(r0 + 0) += r1\n r0 = 0\n exit",
        "R0 cannot write into rdonly_untrusted_mem",
    ),
    row(
        "no memory for helpers",
        TC,
        "r2 = 0\n kfunc bpf_rdonly_cast\n r1 = r0\n r2 = 8\n r3 = 0\n r4 = 0\n r5 = 0\n
         call bpf_csum_diff\n r0 = 0\n exit",
        "R1 type=rdonly_untrusted_mem expected=fp, pkt, pkt_meta, map_key, map_value, mem, ringbuf_mem, buf, trusted_ptr_",
    ),
];

#[test]
fn what_is_cast_may_only_be_read() {
    check(ROWS);
}
