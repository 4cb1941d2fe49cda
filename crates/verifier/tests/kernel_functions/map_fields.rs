//! Fields of maps.

use super::{Row, TC, check, row};

pub(crate) const ROWS: &[Row] = &[
    row("the type of an array", TC, "r1 = map_by_idx(0) ll\n r0 = *(u32 *)(r1 + 64)\n exit", ""),
    row("what only arrays have", TC, "r1 = map_by_idx(0) ll\n r0 = *(u32 *)(r1 + 296)\n exit", ""),
    row("what only hashes have", TC, "r1 = map_by_idx(1) ll\n r0 = *(u32 *)(r1 + 752)\n exit", ""),
    row(
        "beyond an array",
        TC,
        "r1 = map_by_idx(0) ll\n r0 = *(u64 *)(r1 + 704)\n exit",
        "access beyond struct bpf_array at off 704 size 8",
    ),
    row(
        "before a map",
        TC,
        "r1 = map_by_idx(0) ll\n r0 = *(u64 *)(r1 - 8)\n exit",
        "R1 is bpf_array invalid negative access: off=-8",
    ),
    row(
        "a write to an array",
        TC,
        "r1 = map_by_idx(0) ll\n *(u32 *)(r1 + 64) = 1\n r0 = 0\n exit",
        "only read from bpf_array is supported",
    ),
    row(
        "a write to a hash",
        TC,
        "r1 = map_by_idx(1) ll\n *(u32 *)(r1 + 64) = 1\n r0 = 0\n exit",
        "only read from bpf_htab is supported",
    ),
    row(
        "a write to a tree",
        TC,
        "r1 = map_by_idx(2) ll\n *(u32 *)(r1 + 64) = 1\n r0 = 0\n exit",
        "only read from lpm_trie is supported",
    ),
    row(
        "a write before a map",
        TC,
        "r1 = map_by_idx(0) ll\n *(u64 *)(r1 - 8) = 1\n r0 = 0\n exit",
        "R1 is bpf_array invalid negative access: off=-8",
    ),
    row(
        "part of a pointer",
        TC,
        "r1 = map_by_idx(0) ll\n r0 = *(u32 *)(r1 + 40)\n exit",
        "cannot access ptr member ops with moff 40 in struct bpf_map with off 40 size 4",
    ),
    row(
        "a pointer in a map is followed",
        TC,
        "r1 = map_by_idx(0) ll\n r1 = *(u64 *)(r1 + 40)\n r1 = *(u64 *)(r1 + 0)\n r0 = 0\n exit",
        "",
    ),
    row(
        "a pointer in a map is written through",
        TC,
        "r1 = map_by_idx(0) ll\n r1 = *(u64 *)(r1 + 40)\n *(u64 *)(r1 + 0) = 0\n r0 = 0\n exit",
        "only read is supported",
    ),
    row(
        "an atomic operation on a map",
        TC,
        "r1 = map_by_idx(0) ll\n r2 = 1\n lock *(u32 *)(r1 + 64) += r2\n r0 = 0\n exit",
        "only read from bpf_array is supported",
    ),
    row(
        "a map moved",
        TC,
        "r1 = map_by_idx(0) ll\n r1 += 8\n r0 = *(u32 *)(r1 + 56)\n exit",
        "R1 pointer arithmetic on map_ptr prohibited",
    ),
    row(
        "one instruction for maps of two types",
        TC,
        "r6 = *(u32 *)(r1 + 0)\n r1 = map_by_idx(0) ll\n if r6 == 0 goto met\n
         r1 = map_by_idx(1) ll\n met: r0 = *(u32 *)(r1 + 752)\n exit",
        "access beyond struct bpf_array at off 752 size 4",
    ),
];

#[test]
fn fields_of_maps_are_read() {
    check(ROWS);
}
