//! Functions on strings, which cope with any addresses.

use super::{Row, TC, check, row};

pub(crate) const ROWS: &[Row] = &[
    row(
        "two addresses that are none",
        TC,
        "r1 = 0\n r2 = 1\n kfunc bpf_strcmp\n r0 = 0\n exit",
        "",
    ),
    row("the context as a string", TC, "kfunc bpf_strlen\n r0 = 0\n exit", ""),
    row("nothing was passed", TC, "kfunc bpf_strstr\n r0 = 0\n exit", ""),
    row("a letter that is not there", TC, "kfunc bpf_strchr\n r0 = 0\n exit", "R2 is not a scalar"),
    row(
        "a letter that is an address",
        TC,
        "r2 = r10\n kfunc bpf_strrchr\n r0 = 0\n exit",
        "R2 is not a scalar",
    ),
    row("a length", TC, "r2 = 5\n kfunc bpf_strnlen\n r0 = 0\n exit", ""),
    row(
        "a length that is not there",
        TC,
        "r3 = r10\n kfunc bpf_strnstr\n r0 = 0\n exit",
        "R3 is not a scalar",
    ),
    row(
        "the result is any number",
        TC,
        "r1 = r10\n r1 += -8\n *(u64 *)(r10 - 8) = 0\n kfunc bpf_strlen\n r1 = r10\n r1 += -8\n
         r1 += r0\n r0 = *(u8 *)(r1 + 0)\n exit",
        "math between fp pointer and register with unbounded min value is not allowed",
    ),
];

#[test]
fn strings_may_lie_anywhere() {
    check(ROWS);
}
