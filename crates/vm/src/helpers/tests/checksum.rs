//! Checksums against the live kernel's.

use skep_bpf::codec::Slot;
use skep_bpf::platform::{HelperId, ProgType};
use skep_bpf::text::parse::assemble;

use super::{Bench, Numbers, kernel_is_here, kernel_program, kernel_run};

/// A program that returns the difference between `from` and `to` bytes of its packet.
fn diff(from: usize, to: usize, seed: u32) -> String {
    let load = |register: &str, at: usize, len: usize, stack: i32| {
        if len == 0 {
            return format!("{register} = 0\n");
        }
        format!(
            "r1 = r6\nr2 = {at}\nr3 = r10\nr3 += {stack}\nr4 = {len}\ncall bpf_xdp_load_bytes
             {register} = r10\n{register} += {stack}\n"
        )
    };
    format!(
        "r6 = r1\n{}{}r1 = r7\nr2 = {from}\nr3 = r8\nr4 = {to}\nw5 = {seed}
         call bpf_csum_diff\nexit",
        load("r7", 0, from, -256),
        load("r8", 256, to, -512)
    )
}

#[test]
fn differences_are_the_kernels() {
    if !kernel_is_here() {
        return;
    }
    let mut bench = Bench::new();
    let mut numbers = Numbers(21);
    let lens = [0, 4, 8, 12, 16, 20, 24, 40, 64, 128, 252, 256, 1, 2, 3, 6, 250];
    let mut compared = 0;
    for from in lens {
        for to in lens {
            for seed in [0, 1, 0xffff, 0xffff_ffff, numbers.next() as u32, 0x1_0000, 0xfffe_ffff] {
                let program = kernel_program(ProgType::XDP, &diff(from, to, seed));
                for pattern in 0..4 {
                    let packet = match pattern {
                        0 => vec![0; 512],
                        1 => vec![0xff; 512],
                        _ => numbers.bytes(512),
                    };
                    let there = kernel_run(&program, &packet, &[]).unwrap().retval as i32;
                    let at = bench.place(&packet);
                    let args = [at, from as u64, at + 256, to as u64, seed.into()];
                    let here = bench.call(HelperId::CSUM_DIFF, args).unwrap() as i64;
                    bench.machine.memory().free(at as u32);
                    assert_eq!(here, i64::from(there), "{from} {to} {seed:#x} {pattern}");
                    compared += 1;
                }
            }
        }
    }
    println!("{compared} checksum differences compared");
}

#[test]
fn long_buffers_are_summed() {
    let mut bench = Bench::new();
    let at = bench.place(&vec![0x01; 4096]);
    // 2048 words of 0x0101, folded.
    let expected = ((2048 * 0x0101) & 0xffff) + ((2048 * 0x0101) >> 16);
    assert_eq!(bench.call(HelperId::CSUM_DIFF, [0, 0, at, 4096, 0]), Ok(expected));
    let error = bench.call(HelperId::CSUM_DIFF, [0, 0, at, 8192, 0]).unwrap_err();
    assert!(error.to_string().starts_with("argument 3 of bpf_csum_diff"), "{error}");
}

/// `bpf_l3_csum_replace` and `bpf_l4_csum_replace` in a packet, with their errors.
#[test]
fn checksums_are_replaced_as_in_the_kernel() {
    if !kernel_is_here() {
        return;
    }
    let mut bench = Bench::new();
    let mut numbers = Numbers(22);
    let mut compared = 0;
    for helper in ["bpf_l3_csum_replace", "bpf_l4_csum_replace"] {
        for flags in
            [0, 2, 4, 1, 6, 0x10, 0x14, 0x12, 0x20, 0x24, 0x60, 0x64, 0x80, 0x84, 0x94, 0x100]
        {
            for round in 0..12 {
                let offset = *numbers.pick(&[24, 25, 36, 50, 72, 73, 74, 0xffff, 0x1_0000]);
                let offset = if round < 8 { 24 } else { offset };
                let from = if flags & 0xf == 0 && round != 3 { 0 } else { numbers.next() as u32 };
                let to =
                    *numbers.pick(&[0, 0xffff_ffff, numbers.0 as u32, (numbers.0 >> 32) as u32]);
                let mut packet = numbers.bytes(74);
                packet[12..14].copy_from_slice(&[8, 0]);
                match round {
                    0 => packet[24..26].fill(0),
                    1 => packet[24..26].fill(0xff),
                    _ => {}
                }
                let text = format!(
                    "r2 = {offset}\nw3 = {from}\nw4 = {to}\nr5 = {flags}\ncall {helper}\nexit"
                );
                let code: Vec<Slot> = assemble(&text).unwrap().slots;
                bench.compare_skb(ProgType::SCHED_CLS, code, &packet);
                compared += 1;
            }
        }
    }
    println!("{compared} checksum replacements compared");
}
