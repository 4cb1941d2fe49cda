//! Tunnels, and where packets are sent, against the live kernel.

use skep_bpf::platform::ProgType;
use skep_bpf::text::parse::assemble;

use super::{Bench, Numbers, kernel_is_here, load};
use crate::context::{Redirect, Skb};

fn packet() -> Vec<u8> {
    let mut packet = vec![7; 64];
    packet[12..14].copy_from_slice(&[8, 6]);
    packet
}

fn compare(bench: &mut Bench, text: &str) -> u32 {
    let assembly = assemble(text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    bench.compare_skb(ProgType::SCHED_CLS, assembly.slots, &packet())
}

/// Folds a number of words of the stack into what the program returns.
fn fold(words: i32) -> String {
    (1..=words)
        .map(|word| {
            format!("r1 = *(u64 *)(r10 - {})\nr7 *= 31\nr7 ^= r1\nr1 >>= 32\nr7 ^= r1\n", 8 * word)
        })
        .collect()
}

#[test]
fn tunnels_are_set_and_read_as_in_the_kernel() {
    if !kernel_is_here() {
        return;
    }
    let mut bench = Bench::new();
    let mut numbers = Numbers(12);
    let sizes = [44, 44, 44, 28, 24, 22, 8, 7, 40, 48];
    for round in 0..400 {
        let mut text = "r6 = r1\nr7 = 0\n".to_owned();
        let label = if numbers.below(2) == 0 { 0 } else { numbers.next() as i32 };
        for word in 1..=12 {
            text +=
                &format!("r1 = {} ll\n*(u64 *)(r10 - {}) = r1\n", numbers.next() as i64, 8 * word);
        }
        // The field after the time to live is only for reading; that before is the label.
        if numbers.below(5) != 0 {
            text += "*(u16 *)(r10 - 26) = 0\n";
        }
        text += &format!("*(u32 *)(r10 - 24) = {label}\n");
        let (size, flags) =
            (numbers.pick(&sizes), numbers.below(if round % 4 == 0 { 128 } else { 16 }));
        text += &format!(
            "r1 = r6\nr2 = r10\nr2 += -48\nr3 = {size}\nr4 = {flags}\ncall bpf_skb_set_tunnel_key\nr7 ^= r0\n"
        );
        if numbers.below(2) == 0 {
            let size = numbers.pick(&[4, 8, 5, 24]);
            text += &format!(
                "r1 = r6\nr2 = r10\nr2 += -48\nr3 = {size}\ncall bpf_skb_set_tunnel_opt\nr7 *= 31\nr7 ^= r0\n"
            );
        }
        let flags = *numbers.pick(&[flags & 1, flags & 1, flags & 1 | 16, 0, 1, 32]);
        let size = numbers.pick(&sizes);
        text += &format!(
            "r1 = r6\nr2 = r10\nr2 += -96\nr3 = {size}\nr4 = {flags}\ncall bpf_skb_get_tunnel_key\nr7 *= 31\nr7 ^= r0\n"
        );
        text += &fold(12);
        let size = numbers.pick(&[4, 8, 24, 40]);
        text += &format!(
            "r1 = r6\nr2 = r10\nr2 += -96\nr3 = {size}\ncall bpf_skb_get_tunnel_opt\nr7 *= 31\nr7 ^= r0\n"
        );
        text += &fold(12);
        text += "r0 = r7\nexit";
        compare(&mut bench, &text);
    }
}

#[test]
fn packets_are_sent_on_as_in_the_kernel() {
    if !kernel_is_here() {
        return;
    }
    let mut bench = Bench::new();
    for flags in [0, 1, 2] {
        compare(&mut bench, &format!("r1 = 1\nr2 = {flags}\ncall bpf_redirect_peer\nexit"));
        for len in [0, 20, 24, 19] {
            let text = format!(
                "*(u64 *)(r10 - 24) = 2
                 *(u64 *)(r10 - 16) = 9
                 *(u64 *)(r10 - 8) = 0
                 r1 = 1
                 r2 = r10
                 r2 += -24
                 r3 = {len}
                 r4 = {flags}
                 call bpf_redirect_neigh
                 exit"
            );
            compare(&mut bench, &text);
        }
        for interface in [0, 0x7fff_0000] {
            compare(
                &mut bench,
                &format!("r2 = {interface}\nr3 = {flags}\ncall bpf_clone_redirect\nexit"),
            );
        }
    }
}

#[test]
fn the_host_sees_where_packets_go() {
    let mut bench = Bench::new();
    let text = "r6 = r1
        r2 = 1
        r3 = 0
        call bpf_clone_redirect
        r1 = 5
        r2 = 0
        call bpf_redirect_peer
        exit";
    let loaded = load(&bench.machine, ProgType::SCHED_CLS, text);
    let mut here = Skb::new(ProgType::SCHED_CLS, packet());
    assert_eq!(bench.run(&loaded, &mut here).r0, 7);
    assert_eq!(here.redirect, Some(Redirect::Peer { ifindex: 5 }));
    assert_eq!(here.clones.len(), 1);
    assert_eq!((here.clones[0].ifindex, &here.clones[0].packet), (1, &packet()));
}
