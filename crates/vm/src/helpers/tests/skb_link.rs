//! Link layer helpers and numbers in text, against the live kernel.

use skep_bpf::platform::ProgType;
use skep_bpf::text::parse::assemble;

use super::{Bench, Numbers, kernel_is_here};

fn compare(bench: &mut Bench, prog_type: ProgType, text: &str, packet: &[u8]) -> u32 {
    let assembly = assemble(text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    bench.compare_skb(prog_type, assembly.slots, packet)
}

/// Runs of pushing and popping tags; what the context says of them goes into the result.
#[test]
fn tags_are_pushed_and_popped_as_in_the_kernel() {
    if !kernel_is_here() {
        return;
    }
    let mut bench = Bench::new();
    let mut numbers = Numbers(3);
    let fields = [0, 16, 20, 24, 28];
    for round in 0..300 {
        let mut text = "r6 = r1\nr7 = 0\n".to_owned();
        for _ in 0..1 + numbers.below(5) {
            text += "r1 = r6\n";
            if numbers.below(2) == 0 {
                let proto = numbers.pick(&[0x0081, 0xa888, 0x8100, 0, 0x10081]);
                let tci = numbers.pick(&[0, 1, 0xfff, 0x1234, 0xffff, 0x1_0005]);
                text += &format!("r2 = {proto}\nr3 = {tci}\ncall bpf_skb_vlan_push\n");
            } else {
                text += "call bpf_skb_vlan_pop\n";
            }
            text += "r7 *= 16777619\nr7 ^= r0\n";
            for field in fields {
                text += &format!("r1 = *(u32 *)(r6 + {field})\nr7 *= 31\nr7 ^= r1\n");
            }
        }
        text += "r0 = r7\nexit";
        let mut packet = numbers.bytes([14, 17, 18, 60, 22][round % 5]);
        packet[12..14].copy_from_slice(numbers.pick::<[u8; 2]>(&[
            [0x81, 0],
            [0x88, 0xa8],
            [8, 6],
            [0, 40],
        ]));
        for at in [16, 20] {
            if packet.len() > at + 2 && numbers.below(3) != 0 {
                let types = [[0x81, 0], [0x88, 0xa8], [8, 0], [0, 4]];
                packet[at..at + 2].copy_from_slice(numbers.pick::<[u8; 2]>(&types));
            }
        }
        compare(&mut bench, ProgType::SCHED_CLS, &text, &packet);
    }
}

#[test]
fn heads_grow_as_in_the_kernel() {
    if !kernel_is_here() {
        return;
    }
    let mut bench = Bench::new();
    let packet = Numbers(4).bytes(60);
    for prog_type in [ProgType::SCHED_CLS, ProgType::LWT_XMIT] {
        for room in [0, 1, 14, 63, 64, 65, 200, 15_000, 16_003, 16_004, 16_018, 16_019, -1, -60] {
            for flags in [0, 1] {
                let text = format!(
                    "r6 = r1
                     r2 = {room}
                     r3 = {flags}
                     call bpf_skb_change_head
                     r1 = *(u32 *)(r6 + 0)
                     r0 *= 16777619
                     r0 ^= r1
                     exit"
                );
                let mut packet = packet.clone();
                packet[12..14].copy_from_slice(&[8, 6]);
                compare_start(&mut bench, prog_type, &text, &packet);
            }
        }
    }
}

/// As [`compare`], of packets whose Ethernet header moves: the rest is compared.
fn compare_start(bench: &mut Bench, prog_type: ProgType, text: &str, packet: &[u8]) {
    if prog_type == ProgType::SCHED_CLS {
        compare(bench, prog_type, text, packet);
        return;
    }
    let loaded = super::load(&bench.machine, prog_type, text);
    let mut here = crate::context::Skb::new(prog_type, packet);
    let r0 = bench.run(&loaded, &mut here).r0 as u32;
    let kernel = super::kernel_program(prog_type, text);
    let there = super::kernel_run(&kernel, packet, &[]).unwrap();
    assert_eq!(r0, there.retval, "{text}");
}

#[test]
fn types_and_lengths_are_checked_as_in_the_kernel() {
    if !kernel_is_here() {
        return;
    }
    let mut bench = Bench::new();
    let mut packet = vec![0; 60];
    packet[12..14].copy_from_slice(&[8, 6]);
    for new in [0, 1, 3, 4, 7, -1] {
        let text = format!(
            "r6 = r1
             r2 = {new}
             call bpf_skb_change_type
             r1 = *(u32 *)(r6 + 4)
             r0 *= 31
             r0 ^= r1
             exit"
        );
        compare(&mut bench, ProgType::SCHED_CLS, &text, &packet);
    }
    for ifindex in [0, 1, 0x7fff_0000] {
        for wanted in [0_i32, 1, 65_536, 65_537, -1] {
            for difference in [0, 1, -60, 65_490, 65_491, i32::MAX, i32::MIN] {
                for flags in [0, 1, 2] {
                    let text = format!(
                        "*(u32 *)(r10 - 4) = {wanted}
                         r2 = {ifindex}
                         r3 = r10
                         r3 += -4
                         r4 = {difference}
                         r5 = {flags}
                         call bpf_check_mtu
                         r1 = *(u32 *)(r10 - 4)
                         r0 *= 31
                         r0 ^= r1
                         exit"
                    );
                    compare(&mut bench, ProgType::SCHED_CLS, &text, &packet);
                }
            }
        }
    }
}

/// Text in eight bytes of the stack, of lengths up to all of them.
#[test]
fn numbers_are_read_as_in_the_kernel() {
    if !kernel_is_here() {
        return;
    }
    let mut bench = Bench::new();
    let texts: [&[u8]; 24] = [
        b"12345678",
        b"-1234567",
        b" \t\n 42 x",
        b"0x1f",
        b"0x",
        b"0xg",
        b"0755",
        b"08",
        b"ff",
        b"-0xff",
        b"+5",
        b"--5",
        b"-",
        b" ",
        b"0",
        b"00000000",
        b"9z",
        b"\xa0 7",
        b"0b101",
        b"\x0b\x0c\x0d1",
        b"7fffffff",
        b"\x001",
        b"1 2",
        b"- 1",
    ];
    for text in texts {
        let mut bytes = [0; 8];
        bytes[..text.len()].copy_from_slice(text);
        let bytes = i64::from_le_bytes(bytes);
        for helper in ["bpf_strtol", "bpf_strtoul"] {
            for (len, flags) in [
                (8, 0),
                (8, 8),
                (8, 10),
                (8, 16),
                (8, 2),
                (8, 32),
                (8, 42),
                (1, 0),
                (2, 0),
                (3, 0),
                (4, 16),
            ] {
                let program = format!(
                    "r1 = {bytes} ll
                     *(u64 *)(r10 - 16) = r1
                     *(u64 *)(r10 - 8) = 77
                     r1 = r10
                     r1 += -16
                     r2 = {len}
                     r3 = {flags}
                     r4 = r10
                     r4 += -8
                     call {helper}
                     r1 = *(u64 *)(r10 - 8)
                     r0 *= 16777619
                     r0 ^= r1
                     r1 >>= 32
                     r0 *= 31
                     r0 ^= r1
                     exit"
                );
                compare(&mut bench, ProgType::SCHED_CLS, &program, &[0; 60]);
            }
        }
    }
}

/// Longer digits, up to what does not fit.
#[test]
fn long_numbers_are_read_as_in_the_kernel() {
    if !kernel_is_here() {
        return;
    }
    let mut bench = Bench::new();
    let texts = [
        "9223372036854775807",
        "9223372036854775808",
        "-9223372036854775808",
        "-9223372036854775809",
        "18446744073709551615",
        "18446744073709551616",
        "0xffffffffffffffff",
        "0x1ffffffffffffffff",
        "000000000000000000000000000000000000000000000000000000000000000000000001",
        "0000000000000000000000000000000000000000000000000000000000000001",
        "                                                                      12",
    ];
    for text in texts {
        let mut stores = String::new();
        let mut padded = text.as_bytes().to_vec();
        padded.resize(80, 0);
        for (index, part) in padded.chunks_exact(8).enumerate() {
            let word = i64::from_le_bytes(part.try_into().unwrap());
            stores += &format!("r1 = {word} ll\n*(u64 *)(r10 - {}) = r1\n", 96 - 8 * index);
        }
        for helper in ["bpf_strtol", "bpf_strtoul"] {
            for len in [text.len(), 63, 64, 65, 80] {
                let program = format!(
                    "{stores}
                     *(u64 *)(r10 - 8) = 77
                     r1 = r10
                     r1 += -96
                     r2 = {len}
                     r3 = 0
                     r4 = r10
                     r4 += -8
                     call {helper}
                     r1 = *(u64 *)(r10 - 8)
                     r0 *= 16777619
                     r0 ^= r1
                     r1 >>= 32
                     r0 *= 31
                     r0 ^= r1
                     exit"
                );
                compare(&mut bench, ProgType::SCHED_CLS, &program, &[0; 60]);
            }
        }
    }
}
