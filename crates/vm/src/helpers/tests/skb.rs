//! Socket buffer helpers against the live kernel.

use skep_bpf::platform::ProgType;
use skep_bpf::text::parse::assemble;

use super::{Bench, Numbers, kernel_is_here};

fn compare(bench: &mut Bench, prog_type: ProgType, text: &str, packet: &[u8]) {
    let assembly = assemble(text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    bench.compare_skb(prog_type, assembly.slots, packet);
}

/// Folds the result and sixteen bytes of the stack into what the program returns.
const RESULT: &str = "r0 *= 16777619
    r1 = *(u64 *)(r10 - 16)
    r0 ^= r1
    r0 *= 16777619
    r1 = *(u64 *)(r10 - 8)
    r0 ^= r1
    exit";

#[test]
fn bytes_are_copied_as_in_the_kernel() {
    if !kernel_is_here() {
        return;
    }
    let mut bench = Bench::new();
    let mut packet = Numbers(31).bytes(80);
    packet[12..14].copy_from_slice(&[8, 6]);
    let offsets =
        [0i64, 1, 14, 50, 52, 64, 65, 66, 72, 73, 79, 80, 0xffff, 0x1_0000, 0x7fff_ffff, -1, -14];
    for (helper, fifth) in [
        ("bpf_skb_load_bytes", 0),
        ("bpf_skb_load_bytes_relative", 0),
        ("bpf_skb_load_bytes_relative", 1),
        ("bpf_skb_load_bytes_relative", 2),
        ("bpf_skb_store_bytes", 0),
        ("bpf_skb_store_bytes", 3),
        ("bpf_skb_store_bytes", 4),
    ] {
        for offset in offsets {
            for len in [1, 8, 16] {
                for prog_type in [ProgType::SCHED_CLS, ProgType::SOCKET_FILTER] {
                    if helper.contains("store") && prog_type == ProgType::SOCKET_FILTER {
                        continue;
                    }
                    let text = format!(
                        "*(u64 *)(r10 - 16) = 0x11223344
                         *(u64 *)(r10 - 8) = 0x55667788
                         r2 = {offset}
                         r3 = r10
                         r3 += -16
                         r4 = {len}
                         r5 = {fifth}
                         call {helper}
                         {RESULT}"
                    );
                    compare(&mut bench, prog_type, &text, &packet);
                }
            }
        }
    }
}

#[test]
fn lengths_change_as_in_the_kernel() {
    if !kernel_is_here() {
        return;
    }
    let mut bench = Bench::new();
    let mut packet = Numbers(32).bytes(80);
    packet[12..14].copy_from_slice(&[8, 0]);
    for prog_type in [ProgType::SCHED_CLS, ProgType::LWT_XMIT] {
        for len in [0, 1, 13, 14, 15, 65, 66, 67, 79, 80, 81, 82, 200, 3000, 3600] {
            for flags in [0, 1] {
                let text = format!(
                    "r6 = r1
                     r2 = {len}
                     r3 = {flags}
                     call bpf_skb_change_tail
                     r1 = *(u32 *)(r6 + 0)
                     r0 <<= 16
                     r0 ^= r1
                     exit"
                );
                compare(&mut bench, prog_type, &text, &packet);
            }
            let text = format!("r2 = {len}\ncall bpf_skb_pull_data\nexit");
            compare(&mut bench, prog_type, &text, &packet);
        }
    }
    for len in [16_063, 16_064, 16_065, 20_000, -1i64] {
        let text = format!("r2 = {len}\nr3 = 0\ncall bpf_skb_change_tail\nexit");
        let code = format!(
            "r6 = r1\n{}",
            text.replace(
                "exit",
                "r7 = r0\nr1 = r6\nr2 = 80\nr3 = 0
            call bpf_skb_change_tail\nr0 = r7\nexit"
            )
        );
        compare(&mut bench, ProgType::SCHED_CLS, &code, &packet);
    }
}

#[test]
fn a_hash_is_set_and_cleared() {
    if !kernel_is_here() {
        return;
    }
    let mut bench = Bench::new();
    let hash = skep_bpf::platform::context::SK_BUFF.field("hash").unwrap().offset;
    for next in ["call bpf_set_hash_invalid", "r2 = 7\ncall bpf_set_hash"] {
        let text = format!(
            "r6 = r1
             w2 = 0x12345678
             call bpf_set_hash
             r7 = *(u32 *)(r6 + {hash})
             r1 = r6
             {next}
             r0 = *(u32 *)(r6 + {hash})
             r0 ^= r7
             exit"
        );
        compare(&mut bench, ProgType::SCHED_CLS, &text, &[0; 60]);
    }
}

#[test]
fn redirections_return_what_the_kernel_returns() {
    if !kernel_is_here() {
        return;
    }
    let mut bench = Bench::new();
    for flags in [0, 1, 2, 3, 1 << 16] {
        let text = format!("r1 = 5\nr2 = {flags}\ncall bpf_redirect\nexit");
        compare(&mut bench, ProgType::SCHED_CLS, &text, &[0; 60]);
        super::xdp::compare(&mut bench, &text, &[0; 60]);
    }
}
