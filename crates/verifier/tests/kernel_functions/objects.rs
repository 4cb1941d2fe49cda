//! Sockets that iterators give, and sessions of probes.

use super::{Form, Row, TC, check, form, iterator_program, row};
use skep_bpf::platform::{AttachType, ProgType};

const TCP: Form = iterator_program("tcp");
const UDP: Form = iterator_program("udp");
const SESSION: Form =
    Form { attach_type: AttachType::TRACE_KPROBE_SESSION, ..form(ProgType::KPROBE) };
const PROBE: Form = form(ProgType::KPROBE);
const SWITCH: Form = Form {
    attach_type: AttachType::TRACE_RAW_TP,
    target: Some("sched_switch"),
    ..form(ProgType::TRACING)
};

pub(crate) const ROWS: &[Row] = &[
    row(
        "a socket is destroyed",
        TCP,
        "r1 = *(u64 *)(r1 + 8)\n if r1 == 0 goto end\n kfunc bpf_sock_destroy\n end: r0 = 0\n exit",
        "",
    ),
    row(
        "a socket of another type is destroyed",
        UDP,
        "r1 = *(u64 *)(r1 + 8)\n if r1 == 0 goto end\n kfunc bpf_sock_destroy\n end: r0 = 0\n exit",
        "",
    ),
    row(
        "a socket that may be NULL is destroyed",
        TCP,
        "r1 = *(u64 *)(r1 + 8)\n kfunc bpf_sock_destroy\n r0 = 0\n exit",
        "Possibly NULL pointer passed to trusted arg0",
    ),
    row(
        "something else is destroyed",
        TCP,
        "r1 = *(u64 *)(r1 + 0)\n kfunc bpf_sock_destroy\n r0 = 0\n exit",
        "kernel function bpf_sock_destroy args#0 expected pointer to STRUCT sock_common but R1 has a pointer to STRUCT bpf_iter_meta",
    ),
    row(
        "destroyed elsewhere",
        SWITCH,
        "r1 = *(u64 *)(r1 + 8)\n kfunc bpf_sock_destroy\n r0 = 0\n exit",
        "calling kernel function bpf_sock_destroy is not allowed",
    ),
    row(
        "destroyed by a program of another type",
        TC,
        "kfunc bpf_sock_destroy\n r0 = 0\n exit",
        "calling kernel function bpf_sock_destroy is not allowed",
    ),
    row(
        "the cookie of a session",
        SESSION,
        "kfunc bpf_session_cookie\n *(u64 *)(r0 + 0) = 1\n kfunc bpf_session_is_return\n
         r0 = 0\n exit",
        "",
    ),
    row(
        "beyond the cookie",
        SESSION,
        "kfunc bpf_session_cookie\n *(u64 *)(r0 + 8) = 1\n r0 = 0\n exit",
        "R0 min value is outside of the allowed memory range",
    ),
    row(
        "before the cookie",
        SESSION,
        "kfunc bpf_session_cookie\n r0 = *(u8 *)(r0 - 1)\n r0 = 0\n exit",
        "R0 min value is outside of the allowed memory range",
    ),
    row(
        "a probe without a session",
        PROBE,
        "kfunc bpf_session_cookie\n r0 = 0\n exit",
        "calling kernel function bpf_session_cookie is not allowed",
    ),
];

#[test]
fn objects_are_for_those_who_may_have_them() {
    check(ROWS);
}
