//! XDP helpers against the live kernel.

use skep_bpf::platform::ProgType;

use super::{Bench, Numbers, kernel_is_here, kernel_program, kernel_run, load};
use crate::context::Xdp;

/// A program that calls `helper` with the context and the number `delta`, and returns the result.
fn moves(helper: &str, delta: i64) -> String {
    format!("r2 = {delta}\ncall {helper}\nexit")
}

/// Runs a program here and in the kernel: results and packets are equal.
pub(super) fn compare(bench: &mut Bench, text: &str, packet: &[u8]) -> u32 {
    let loaded = load(&bench.machine, ProgType::XDP, text);
    let mut here = Xdp::new(packet);
    let r0 = bench.run(&loaded, &mut here).r0 as u32;
    let there = kernel_run(&kernel_program(ProgType::XDP, text), packet, &[]).unwrap();
    assert_eq!(r0 as i32, there.retval as i32, "{text} on {} bytes", packet.len());
    let out = [&here.meta[..], &here.packet].concat();
    assert_eq!(out, there.data_out, "{text} on {} bytes", packet.len());
    r0
}

#[test]
fn ends_move_as_in_the_kernel() {
    if !kernel_is_here() {
        return;
    }
    let mut bench = Bench::new();
    let mut numbers = Numbers(1);
    let mut moved = 0;
    let mut compared = 0;
    for len in [14, 15, 60, 64, 1500, 3519, 3520] {
        let packet = numbers.bytes(len);
        let exact = len as i64;
        let mut deltas =
            vec![0, 1, 2, 4, -1, -4, 40, 216, i32::MAX.into(), i32::MIN.into(), 1 << 32];
        for edge in [216, 217, 256, 252, 253, 212, exact, exact - 14, exact - 13, 3520 - exact] {
            deltas.extend([edge, -edge, edge + 1, -edge - 1, edge - 1]);
        }
        for helper in ["bpf_xdp_adjust_head", "bpf_xdp_adjust_tail", "bpf_xdp_adjust_meta"] {
            for delta in &deltas {
                let r0 = compare(&mut bench, &moves(helper, *delta as i32 as i64), &packet);
                moved += u32::from(r0 == 0);
                compared += 1;
            }
        }
    }
    println!("{compared} moves compared, of which {moved} took place");
    assert!(moved > 100 && moved < compared);
}

#[test]
fn moves_build_on_each_other_as_in_the_kernel() {
    if !kernel_is_here() {
        return;
    }
    let mut bench = Bench::new();
    let mut numbers = Numbers(2);
    for _ in 0..150 {
        // Every step's result is added to r7, shifted so that no two look the same.
        let mut text = String::from("r6 = r1\nr7 = 0\n");
        for _ in 0..6 {
            let (helper, delta) = match numbers.below(4) {
                0 => ("bpf_xdp_adjust_head", numbers.below(120) as i64 - 60),
                1 => ("bpf_xdp_adjust_tail", numbers.below(400) as i64 - 60),
                2 => ("bpf_xdp_adjust_meta", 4 * (numbers.below(30) as i64 - 15)),
                _ => ("bpf_xdp_get_buff_len", 0),
            };
            text += &format!("r1 = r6\nr2 = {delta}\ncall {helper}\nr7 *= 5\nr7 += r0\n");
        }
        text += "r0 = r7\nexit";
        let packet = numbers.bytes(64);
        // The kernel leaves what was in the headroom, which is zero in a fresh frame of both.
        compare(&mut bench, &text, &packet);
    }
}

#[test]
fn bytes_are_copied_as_in_the_kernel() {
    if !kernel_is_here() {
        return;
    }
    let mut bench = Bench::new();
    let mut numbers = Numbers(3);
    let packet = numbers.bytes(80);
    for helper in ["bpf_xdp_load_bytes", "bpf_xdp_store_bytes"] {
        for (offset, len) in [(0, 8), (3, 16), (64, 16), (65, 16), (79, 1), (80, 1), (0x1_0000, 8)]
        {
            let text = format!(
                "r6 = r1
                 *(u64 *)(r10 - 16) = 0x11223344
                 *(u64 *)(r10 - 8) = 0x55667788
                 r2 = {offset}
                 r3 = r10
                 r3 += -16
                 r4 = {len}
                 call {helper}
                 r0 *= 16777619
                 r1 = *(u64 *)(r10 - 16)
                 r0 ^= r1
                 r0 *= 16777619
                 r1 = *(u64 *)(r10 - 8)
                 r0 ^= r1
                 exit"
            );
            compare(&mut bench, &text, &packet);
        }
    }
}

#[test]
fn the_context_follows_the_packet() {
    let mut bench = Bench::new();
    let text = "r6 = r1
        r2 = -8
        call bpf_xdp_adjust_head
        r1 = r6
        r2 = 4
        call bpf_xdp_adjust_tail
        r1 = *(u32 *)(r6 + 0)
        r0 = *(u32 *)(r6 + 4)
        r0 -= r1
        r2 = *(u32 *)(r6 + 8)
        r1 -= r2
        r0 += r1
        *(u8 *)(r2 + 0) = 77
        exit";
    let loaded = load(&bench.machine, ProgType::XDP, text);
    let mut packet = Xdp::new(vec![1; 20]);
    assert_eq!(bench.run(&loaded, &mut packet).r0, 32);
    let mut out = vec![77, 0, 0, 0, 0, 0, 0, 0];
    out.extend([1; 20]);
    out.extend([0; 4]);
    assert_eq!((packet.packet, packet.meta), (out, vec![]));
}
