//! Room for headers, and what a machine does not have, against the live kernel.

use skep_bpf::platform::{MapType, ProgType};
use skep_bpf::text::parse::assemble;

use super::{Bench, Numbers, kernel_is_here, map_spec};

fn compare(bench: &mut Bench, prog_type: ProgType, text: &str, packet: &[u8]) -> u32 {
    let assembly = assemble(text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    bench.compare_skb(prog_type, assembly.slots, packet)
}

/// A packet of IPv4, IPv6 or ARP.
fn packet(numbers: &mut Numbers) -> Vec<u8> {
    let len = *numbers.pick(&[54_usize, 60, 74, 100, 1000]);
    let mut packet = numbers.bytes(len);
    let proto: [u8; 2] = *numbers.pick(&[[8, 0], [8, 0], [0x86, 0xdd], [0x86, 0xdd], [8, 6]]);
    packet[12..14].copy_from_slice(&proto);
    packet[14] = if proto == [8, 0] { 0x45 } else { 0x60 };
    packet
}

/// Appends that the result of a call and some fields of the context go into what is returned.
const NOTE: &str = "r7 *= 16777619
    r7 ^= r0
    r1 = *(u32 *)(r6 + 0)
    r7 *= 31
    r7 ^= r1
    r1 = *(u32 *)(r6 + 16)
    r7 *= 31
    r7 ^= r1
    ";

#[test]
fn room_is_made_and_taken_as_in_the_kernel() {
    if !kernel_is_here() {
        return;
    }
    let mut bench = Bench::new();
    let mut numbers = Numbers(8);
    let flags = [
        0_u64,
        1,
        2,
        4,
        6,
        1 << 5,
        2 | 8,
        2 | 16,
        4 | 8,
        4 | 16,
        2 | 24,
        1 << 7,
        1 << 8,
        3 << 7,
        1 << 9,
        2 | 1 << 6,
        2 | 1 << 6 | 14 << 56,
        4 | 14 << 56,
        2 | 40 << 56,
        1 << 63,
    ];
    let differences =
        [-4096, -4095, -200, -40, -21, -20, -8, -1, 0, 1, 8, 20, 28, 40, 200, 4095, 4096];
    for _ in 0..1500 {
        let mut text = "r6 = r1\nr7 = 0\n".to_owned();
        for _ in 0..1 + numbers.below(3) {
            let difference = numbers.pick(&differences);
            let (mode, flags) = (numbers.below(3), *numbers.pick(&flags) as i64);
            text += &match numbers.below(8) {
                0 => format!(
                    "r1 = r6\nr2 = {}\nr3 = 0\ncall bpf_skb_change_proto\n",
                    numbers.pick(&[8, 0xdd86, 0x0800])
                ),
                1 => {
                    // Behind a packet shorter than its headers the kernel's memory shows.
                    let len = numbers.pick(&[54, 60, 500]);
                    format!("r1 = r6\nr2 = {len}\nr3 = 0\ncall bpf_skb_change_tail\n")
                }
                _ => format!(
                    "r1 = r6\nr2 = {difference}\nr3 = {mode}\nr4 = {flags} ll\n\
                     call bpf_skb_adjust_room\n"
                ),
            };
            text += NOTE;
        }
        text += "r0 = r7\nexit";
        let packet = packet(&mut numbers);
        compare(&mut bench, ProgType::SCHED_CLS, &text, &packet);
    }
}

#[test]
fn protocols_change_as_in_the_kernel() {
    if !kernel_is_here() {
        return;
    }
    let mut bench = Bench::new();
    let mut numbers = Numbers(9);
    for _ in 0..60 {
        let packet = packet(&mut numbers);
        for proto in [8, 0xdd86, 0x800, 0x608, 0x1_0008] {
            for flags in [0, 1] {
                let text = format!(
                    "r6 = r1
                     r7 = 0
                     r2 = {proto}
                     r3 = {flags}
                     call bpf_skb_change_proto
                     {NOTE}
                     r0 = r7
                     exit"
                );
                compare(&mut bench, ProgType::SCHED_CLS, &text, &packet);
            }
        }
    }
}

#[test]
fn what_is_not_there_is_answered_as_in_the_kernel() {
    if !kernel_is_here() {
        return;
    }
    let mut bench = Bench::new();
    let mut packet = vec![0; 64];
    packet[12..14].copy_from_slice(&[8, 6]);
    for call in [
        "call bpf_get_cgroup_classid",
        "call bpf_get_route_realm",
        "r2 = 0\ncall bpf_csum_level",
        "r2 = 1\ncall bpf_csum_level",
        "r2 = 3\ncall bpf_csum_level",
        "r2 = 4\ncall bpf_csum_level",
        "r2 = 77\ncall bpf_csum_update",
        "r2 = r10\nr2 += -64\n*(u32 *)(r10 - 64) = 1\nr3 = 28\nr4 = 0\ncall bpf_skb_get_tunnel_key",
        "r2 = r10\nr2 += -64\nr3 = 8\ncall bpf_skb_get_tunnel_opt",
    ] {
        let zeros: String =
            (1..=8).map(|word| format!("*(u64 *)(r10 - {}) = 5\n", 8 * word)).collect();
        let text = format!("{zeros}{call}\nr1 = *(u64 *)(r10 - 64)\nr0 *= 31\nr0 ^= r1\nexit");
        compare(&mut bench, ProgType::SCHED_CLS, &text, &packet);
    }
    for family in [0, 2, 10, 1] {
        for interface in [0, 1, 0x7fff_ff00] {
            for (len, flags) in [(64, 0), (63, 0), (64, 1), (64, 2), (64, 4), (64, 64)] {
                let zeros: String =
                    (1..=8).map(|word| format!("*(u64 *)(r10 - {}) = 0\n", 8 * word)).collect();
                let text = format!(
                    "{zeros}*(u8 *)(r10 - 64) = {family}
                     *(u32 *)(r10 - 56) = {interface}
                     r2 = r10
                     r2 += -64
                     r3 = {len}
                     r4 = {flags}
                     call bpf_fib_lookup
                     r1 = *(u64 *)(r10 - 56)
                     r0 *= 31
                     r0 ^= r1
                     exit"
                );
                compare(&mut bench, ProgType::SCHED_CLS, &text, &packet);
            }
        }
    }
}

/// A fresh value is zero, and what is written stays for the next run.
#[test]
fn storage_of_the_group_is_kept() {
    let mut bench = Bench::new();
    for map_type in [MapType::CGROUP_STORAGE, MapType::PERCPU_CGROUP_STORAGE] {
        let id = bench.machine.create_map(map_spec(map_type, 16, 8, 0)).unwrap();
        let text = "r1 = map_by_idx(0)
            r2 = 0
            call bpf_get_local_storage
            r1 = *(u64 *)(r0 + 0)
            r1 += 1
            *(u64 *)(r0 + 0) = r1
            r0 = r1
            exit";
        let program = skep_bpf::program::Program::new(&super::slots(text).into()).unwrap();
        let loaded = bench.machine.load("test", ProgType::CGROUP_SKB, program, &[id]).unwrap();
        let options = crate::run::Options::default();
        for expected in 1..4 {
            let mut packet = crate::context::Skb::new(ProgType::CGROUP_SKB, vec![0; 64]);
            let finished = loaded.run(&mut bench.cpu, &mut packet, options).unwrap();
            assert_eq!(finished.r0, expected);
        }
        let map = bench.machine.map(id).unwrap();
        let key = map.next_key(None).unwrap().unwrap();
        assert_eq!(map.read(&key).unwrap()[..8], 3_u64.to_le_bytes());
    }
}
