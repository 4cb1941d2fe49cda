//! Keys and values that iterators over elements give.

use super::{Form, Row, check, iterator_program, row};

const ELEMENTS: Form = iterator_program("bpf_map_elem");
const SOCKETS: Form = iterator_program("sockmap");
const STORAGES: Form = iterator_program("bpf_sk_storage_map");

pub(crate) const ROWS: &[Row] = &[
    row(
        "keys are read, values written",
        ELEMENTS,
        "r6 = *(u64 *)(r1 + 16)\n r7 = *(u64 *)(r1 + 24)\n r0 = 0\n
         if r6 == 0 goto end\n if r7 == 0 goto end\n
         r2 = *(u64 *)(r6 + 8)\n *(u64 *)(r7 + 4096) = r2\n end: exit",
        "",
    ),
    row(
        "a key that may be NULL",
        ELEMENTS,
        "r6 = *(u64 *)(r1 + 16)\n r0 = *(u8 *)(r6 + 0)\n r0 = 0\n exit",
        "R6 invalid mem access 'rdonly_buf_or_null'",
    ),
    row(
        "a value that may be NULL",
        ELEMENTS,
        "r6 = *(u64 *)(r1 + 24)\n *(u8 *)(r6 + 0) = 1\n r0 = 0\n exit",
        "R6 invalid mem access 'buf_or_null'",
    ),
    row(
        "a key is written to",
        ELEMENTS,
        "r6 = *(u64 *)(r1 + 16)\n r0 = 0\n if r6 == 0 goto end\n *(u8 *)(r6 + 0) = 1\n end: exit",
        "R6 cannot write into rdonly_buf",
    ),
    row(
        "an atomic operation on a key",
        ELEMENTS,
        "r6 = *(u64 *)(r1 + 16)\n r0 = 0\n if r6 == 0 goto end\n r2 = 1\n
         lock *(u64 *)(r6 + 0) += r2\n end: exit",
        "R6 cannot write into rdonly_buf",
    ),
    row(
        "an atomic operation on a value",
        ELEMENTS,
        "r6 = *(u64 *)(r1 + 24)\n r0 = 0\n if r6 == 0 goto end\n r2 = 1\n
         lock *(u64 *)(r6 + 0) += r2\n end: exit",
        "",
    ),
    row(
        "before a key",
        ELEMENTS,
        "r6 = *(u64 *)(r1 + 16)\n r0 = 0\n if r6 == 0 goto end\n r2 = *(u8 *)(r6 - 1)\n end: exit",
        "R6 invalid rdonly buffer access: off=-1, size=1",
    ),
    row(
        "before a value",
        ELEMENTS,
        "r6 = *(u64 *)(r1 + 24)\n r0 = 0\n if r6 == 0 goto end\n r2 = *(u8 *)(r6 - 1)\n end: exit",
        "R6 invalid rdwr buffer access: off=-1, size=1",
    ),
    row(
        "somewhere in a key",
        ELEMENTS,
        "r6 = *(u64 *)(r1 + 16)\n r0 = 0\n if r6 == 0 goto end\n r2 = *(u8 *)(r6 + 0)\n
         r2 &= 7\n r6 += r2\n r2 = *(u8 *)(r6 + 0)\n end: exit",
        "R6 invalid variable buffer offset: off=0, var_off=(0x0; 0x7)",
    ),
    row(
        "a constant further",
        ELEMENTS,
        "r6 = *(u64 *)(r1 + 16)\n r0 = 0\n if r6 == 0 goto end\n r6 += 8\n
         r2 = *(u8 *)(r6 - 8)\n end: exit",
        "",
    ),
    row(
        "half of the pointer",
        ELEMENTS,
        "r6 = *(u32 *)(r1 + 16)\n r0 = 0\n exit",
        "invalid bpf_context access off=16 size=4",
    ),
    row(
        "a key as memory that a helper reads",
        ELEMENTS,
        "r6 = r1\n r7 = *(u64 *)(r1 + 16)\n r0 = 0\n if r7 == 0 goto end\n
         r1 = *(u64 *)(r6 + 0)\n r1 = *(u64 *)(r1 + 0)\n r2 = r7\n r3 = 8\n
         call bpf_seq_write\n r0 = 0\n end: exit",
        "",
    ),
    row(
        "a key as memory that a helper writes",
        ELEMENTS,
        "r7 = *(u64 *)(r1 + 16)\n r0 = 0\n if r7 == 0 goto end\n r1 = r7\n r2 = 8\n r3 = 0\n
         call bpf_probe_read_kernel\n r0 = 0\n end: exit",
        "R1 type=rdonly_buf expected=fp, pkt, pkt_meta, map_key, map_value, mem, ringbuf_mem, buf, trusted_ptr_",
    ),
    row(
        "a value as memory that a helper writes",
        ELEMENTS,
        "r7 = *(u64 *)(r1 + 24)\n r0 = 0\n if r7 == 0 goto end\n r1 = r7\n r2 = 8\n r3 = 0\n
         call bpf_probe_read_kernel\n r0 = 0\n end: exit",
        "",
    ),
    row(
        "a key as a key",
        ELEMENTS,
        "r7 = *(u64 *)(r1 + 16)\n r0 = 0\n if r7 == 0 goto end\n r2 = r7\n
         r1 = map_by_idx(1) ll\n call bpf_map_lookup_elem\n r0 = 0\n end: exit",
        "R2 type=rdonly_buf expected=fp, pkt, pkt_meta, map_key, map_value, mem, ringbuf_mem, buf, trusted_ptr_",
    ),
    row(
        "a value as a key",
        ELEMENTS,
        "r7 = *(u64 *)(r1 + 24)\n r0 = 0\n if r7 == 0 goto end\n r2 = r7\n
         r1 = map_by_idx(1) ll\n call bpf_map_lookup_elem\n r0 = 0\n end: exit",
        "",
    ),
    row(
        "a key and a value meet",
        ELEMENTS,
        "r6 = *(u64 *)(r1 + 16)\n r7 = *(u64 *)(r1 + 24)\n r0 = 0\n
         if r6 == 0 goto end\n if r7 == 0 goto end\n r2 = *(u8 *)(r7 + 0)\n
         if r2 == 0 goto met\n r7 = r6\n met: *(u8 *)(r7 + 0) = 1\n end: exit",
        "R7 cannot write into rdonly_buf",
    ),
    row(
        "a buffer is returned",
        ELEMENTS,
        "r0 = *(u64 *)(r1 + 24)\n exit",
        "At program exit the register R0 is not a known value (buf_or_null)",
    ),
    row(
        "the key of a map of sockets is written to",
        SOCKETS,
        "r6 = *(u64 *)(r1 + 16)\n r0 = 0\n if r6 == 0 goto end\n *(u8 *)(r6 + 0) = 1\n end: exit",
        "R6 cannot write into rdonly_buf",
    ),
    row(
        "what a socket stores is written to",
        STORAGES,
        "r6 = *(u64 *)(r1 + 24)\n r0 = 0\n if r6 == 0 goto end\n *(u8 *)(r6 + 0) = 1\n end: exit",
        "",
    ),
];

#[test]
fn buffers_are_used_as_they_may_be() {
    check(ROWS);
}
