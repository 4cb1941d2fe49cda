//! Helpers that need no context: time, task, memory that may not be there, strings, tail calls.

use skep_bpf::platform::{HelperId, ProgType};
use skep_kernel::{Map, MapSpec, relocate, uapi};

use super::{Bench, Numbers, kernel_is_here, kernel_load, kernel_run, slots};
use crate::errno::Errno;
use crate::memory::PAGE_BYTES;
use crate::trap::TrapKind;

#[test]
fn the_host_is_asked() {
    let mut bench = Bench::new();
    for (helper, answer) in [
        (HelperId::KTIME_GET_NS, 1_000_000_007),
        (HelperId::KTIME_GET_BOOT_NS, 2_000_000_007),
        (HelperId::KTIME_GET_TAI_NS, 3_000_000_007),
        (HelperId::KTIME_GET_COARSE_NS, 1_000_000_000),
        (HelperId::JIFFIES64, 0xffff_ffff - 75_000 + 1 + 250),
        (HelperId::GET_PRANDOM_U32, 0xdead_beef),
        (HelperId::GET_SMP_PROCESSOR_ID, 0),
        (HelperId::GET_NUMA_NODE_ID, 0),
        (HelperId::GET_CURRENT_PID_TGID, 7 << 32 | 8),
        (HelperId::GET_CURRENT_UID_GID, 9 << 32 | 10),
    ] {
        assert_eq!(bench.call(helper, [0; 5]), Ok(answer), "{helper}");
    }
}

#[test]
fn a_name_is_cut_and_padded() {
    let mut bench = Bench::new();
    let at = bench.place(&[0xaa; 40]);
    for (len, expected) in [
        (16, &b"fifteen bytes..\0"[..]),
        (8, b"fifteen\0"),
        (1, b"\0"),
        (20, b"fifteen bytes..\0\0\0\0\0"),
    ] {
        assert_eq!(bench.call(HelperId::GET_CURRENT_COMM, [at, len, 0, 0, 0]), Ok(0));
        assert_eq!(bench.read(at, len as usize), expected);
    }
    assert_eq!(bench.read(at + 20, 20), [0xaa; 20]);
    assert!(bench.call(HelperId::GET_CURRENT_COMM, [at, 1 << 20, 0, 0, 0]).is_err());
}

#[test]
fn probing_reads_what_is_there() {
    let mut bench = Bench::new();
    let end = bench.place(&[b'x'; PAGE_BYTES as usize]) + u64::from(PAGE_BYTES);
    let to = bench.place(&[0xaa; 16]);
    let [efault, erange] = [Errno::EFAULT, Errno::ERANGE].map(Errno::to_return);
    for (helper, below_kernel) in [
        (HelperId::PROBE_READ, efault),
        (HelperId::PROBE_READ_USER, efault),
        (HelperId::PROBE_READ_KERNEL, erange),
        (HelperId::PROBE_READ_STR, efault),
        (HelperId::PROBE_READ_USER_STR, efault),
        (HelperId::PROBE_READ_KERNEL_STR, erange),
    ] {
        let is_string = helper.row().unwrap().name.ends_with("str");
        for (from, expected) in [
            (end - 8, Ok(if is_string { 8 } else { 0 })),
            (end - 7, Err(efault)),
            (0, Err(below_kernel)),
            (end, Err(below_kernel)),
            (1 << 32, Err(efault)),
            (u64::MAX - 3, Err(efault)),
        ] {
            bench.machine.memory().window().fill(to as u32, 16, 0xaa).unwrap();
            let result = bench.call(helper, [to, 8, from, 0, 0]).unwrap();
            assert_eq!(result, expected.unwrap_or_else(|error| error), "{helper} {from:#x}");
            let read = if is_string { b"xxxxxxx\0" } else { b"xxxxxxxx" };
            let read = if expected.is_ok() { *read } else { [0; 8] };
            assert_eq!(bench.read(to, 8), read, "{helper} {from:#x}");
            assert_eq!(bench.read(to + 8, 8), [0xaa; 8]);
        }
        assert!(matches!(
            bench.call(helper, [64, 8, to, 0, 0]),
            Err(TrapKind::HelperMemory { arg: 1, .. })
        ));
    }
}

/// The upper half of numbers whose lower half is an offset in the strings.
const STRINGS_MARK: u32 = 0x7abc_def0;

/// Runs a program in the kernel with strings in a map, which is frozen and read-only.
fn with_strings(text: &str, strings: &[u8]) -> i32 {
    let spec = MapSpec {
        map_type: uapi::map_type::ARRAY,
        key_size: 4,
        value_size: strings.len() as u32,
        max_entries: 1,
        flags: uapi::map_flag::RDONLY_PROG,
        ..MapSpec::default()
    };
    let map = Map::create(&spec).unwrap();
    map.update(&[0; 4], strings, 0).unwrap();
    map.freeze().unwrap();
    let mut code: Vec<[u8; 8]> = slots(text).into_iter().map(|slot| slot.to_bytes()).collect();
    for first in 1..code.len() {
        if code[first - 1][0] == 0x18 && code[first][4..] == STRINGS_MARK.to_le_bytes() {
            let offset = code[first - 1][4..].to_vec();
            code[first - 1][1] |= 6 << 4;
            code[first - 1][4..].fill(0);
            code[first][4..].copy_from_slice(&offset);
        }
    }
    relocate(&mut code, &[&map]).unwrap();
    let program = kernel_load(ProgType::XDP, &code).unwrap_or_else(|error| panic!("{error}"));
    kernel_run(&program, &[0; 64], &[]).unwrap().retval as i32
}

const STRINGS: &[u8] = b"equal\0equal\0equals\0a\0\x80\0\0\xff\0longer string\0";

#[test]
fn strings_compare_as_in_the_kernel() {
    if !kernel_is_here() {
        return;
    }
    let mut bench = Bench::new();
    let at = bench.place(STRINGS);
    let starts = [0, 6, 12, 19, 21, 23, 24, 26];
    for first in starts {
        for second in starts {
            for len in [1, 2, 5, 6, 8] {
                let text = format!(
                    "r1 = {STRINGS_MARK:#x}{first:08x} ll
                     r2 = {len}
                     r3 = {STRINGS_MARK:#x}{second:08x} ll
                     call bpf_strncmp
                     exit"
                );
                let there = with_strings(&text, STRINGS);
                let args = [at + first, len, at + second, 0, 0];
                let here = bench.call(HelperId::STRNCMP, args).unwrap();
                assert_eq!(here as i64, i64::from(there), "{first} {second} {len}");
            }
        }
    }
}

#[test]
fn kernel_memory_is_probed_as_in_the_kernel() {
    if !kernel_is_here() {
        return;
    }
    let mut bench = Bench::new();
    let at = bench.place(STRINGS);
    let mut numbers = Numbers(41);
    for (helper, id) in [
        ("bpf_probe_read_kernel", HelperId::PROBE_READ_KERNEL),
        ("bpf_probe_read_kernel_str", HelperId::PROBE_READ_KERNEL_STR),
    ] {
        for _ in 0..40 {
            let (start, len) = (numbers.below(30), numbers.below(17));
            let (source, from) = match numbers.below(3) {
                0 => (format!("r3 = {STRINGS_MARK:#x}{start:08x} ll"), at + start),
                1 => ("r3 = 0".to_owned(), 0),
                _ => ("r3 = 4096".to_owned(), 4096),
            };
            let text = format!(
                "*(u64 *)(r10 - 16) = 0x11223344
                 *(u64 *)(r10 - 8) = 0x55667788
                 r1 = r10
                 r1 += -16
                 r2 = {len}
                 {source}
                 call {helper}
                 r0 *= 16777619
                 r1 = *(u64 *)(r10 - 16)
                 r0 ^= r1
                 r0 *= 16777619
                 r1 = *(u64 *)(r10 - 8)
                 r0 ^= r1
                 exit"
            );
            let there = with_strings(&text, STRINGS) as u32;
            let stack = [0x1122_3344u64, 0x5566_7788].map(u64::to_le_bytes).concat();
            let to = bench.place(&stack);
            let result = bench.call(id, [to, len, from, 0, 0]).unwrap();
            let after = bench.read(to, 16);
            let word = |at: usize| u64::from_le_bytes(after[at..at + 8].try_into().unwrap());
            let here = result.wrapping_mul(16_777_619) ^ word(0);
            let here = here.wrapping_mul(16_777_619) ^ word(8);
            assert_eq!(here as u32, there, "{helper} {source} {len}");
        }
    }
}

#[test]
fn helpers_without_their_context_trap() {
    let mut bench = Bench::new();
    for (helper, needed) in [
        (HelperId::XDP_ADJUST_HEAD, "bpf_xdp_adjust_head needs the context of an XDP program"),
        (HelperId::SKB_LOAD_BYTES, "bpf_skb_load_bytes needs a socket buffer as context"),
        (HelperId::REDIRECT, "bpf_redirect needs a packet"),
        (HelperId::MAP_LOOKUP_ELEM, "argument 1 of bpf_map_lookup_elem is 0x0, which is no map"),
    ] {
        assert_eq!(bench.call(helper, [0; 5]).unwrap_err().to_string(), needed);
    }
}
