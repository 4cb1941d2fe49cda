//! Dynamic pointers and locks, here and in the live kernel.

use skep_bpf::op::Size;
use skep_bpf::platform::{HelperId, MapType, ProgType};

use super::{Bench, kernel_is_here, map_spec};
use crate::memory::{PAGE_BYTES, Perm};
use crate::region::Purpose;

/// Makes dynamic pointers to parts of a value, and reads, writes and looks through them within and
/// beyond their bounds.
#[test]
fn local_ones_keep_their_bounds_as_in_the_kernel() {
    if !kernel_is_here() {
        return;
    }
    let mut bench = Bench::new();
    for (size, flags) in [(0, 0), (1, 0), (16, 0), (32, 0), (32, 1)] {
        for (offset, len) in [(0, 0), (0, 8), (8, 8), (9, 8), (24, 8), (25, 8), (32, 0), (33, 0)] {
            let text = format!(
                "r1 = map_val_by_idx(0, 0) ll
                 r2 = {size}
                 r3 = {flags}
                 r4 = r10
                 r4 += -16
                 call bpf_dynptr_from_mem
                 r6 = r0
                 r1 = r10
                 r1 += -24
                 *(u64 *)(r10 - 24) = 0x1234
                 r2 = {len}
                 r3 = r10
                 r3 += -16
                 r4 = {offset}
                 r5 = 0
                 call bpf_dynptr_read
                 r6 *= 16777619
                 r6 ^= r0
                 r1 = *(u64 *)(r10 - 24)
                 r6 *= 16777619
                 r6 ^= r1
                 r1 = r10
                 r1 += -16
                 r2 = {offset}
                 r3 = r10
                 r3 += -24
                 r4 = {len}
                 r5 = {flags}
                 call bpf_dynptr_write
                 r6 *= 16777619
                 r6 ^= r0
                 r1 = r10
                 r1 += -16
                 r2 = {offset}
                 r3 = 8
                 call bpf_dynptr_data
                 r6 *= 16777619
                 if r0 == 0 goto done
                 r1 = *(u64 *)(r0 + 0)
                 r1 += 1
                 *(u64 *)(r0 + 0) = r1
                 r6 ^= r1
                 done:
                 r0 = r6
                 exit"
            );
            let specs = [map_spec(MapType::ARRAY, 4, 32, 1)];
            let twins = bench.twins(ProgType::XDP, &text, &specs);
            for round in 0..3 {
                let what = format!("{size} {flags} {offset} {len} {round}");
                bench.compare(&twins, &[0; 64], &what);
            }
        }
    }
}

/// Records whose size only the program knows.
#[test]
fn records_are_reserved_as_in_the_kernel() {
    if !kernel_is_here() {
        return;
    }
    let mut bench = Bench::new();
    for (size, flags) in [(8, 0), (0, 0), (13, 0), (8, 1), (4088, 0), (5000, 0), (1 << 24, 0)] {
        for call in ["submit", "discard"] {
            let text = format!(
                "r1 = map_by_idx(0)
                 r2 = {size}
                 r3 = {flags}
                 r4 = r10
                 r4 += -16
                 call bpf_ringbuf_reserve_dynptr
                 r6 = r0
                 *(u64 *)(r10 - 24) = 7
                 r1 = r10
                 r1 += -16
                 r2 = 0
                 r3 = r10
                 r3 += -24
                 r4 = 8
                 r5 = 0
                 call bpf_dynptr_write
                 r6 *= 16777619
                 r6 ^= r0
                 r1 = r10
                 r1 += -16
                 r2 = 0
                 call bpf_ringbuf_{call}_dynptr
                 r1 = map_by_idx(0)
                 r2 = 3
                 call bpf_ringbuf_query
                 r6 *= 16777619
                 r6 ^= r0
                 r0 = r6
                 exit"
            );
            let specs = [map_spec(MapType::RINGBUF, 0, 0, PAGE_BYTES)];
            let twins = bench.twins(ProgType::XDP, &text, &specs);
            for round in 0..5 {
                bench.compare(&twins, &[0; 64], &format!("{size} {flags} {call} {round}"));
            }
        }
    }
}

/// A lock is held by one processor at a time, until it is released.
#[test]
fn locks_exclude() {
    let mut bench = Bench::new();
    let memory = bench.machine.memory();
    let lock = memory.alloc(8, Perm::ReadWrite, Purpose::Memory).unwrap();
    let args = [u64::from(lock), 0, 0, 0, 0];
    let word = |bench: &Bench| bench.machine.memory().window().load(lock, Size::W).unwrap();
    let error = bench.call(HelperId::SPIN_UNLOCK, args).unwrap_err();
    assert!(error.to_string().contains("the lock that is held"), "{error}");
    bench.call(HelperId::SPIN_LOCK, args).unwrap();
    assert_eq!(word(&bench), 1);
    let error = bench.call(HelperId::SPIN_LOCK, args).unwrap_err();
    assert!(error.to_string().contains("no other lock"), "{error}");
    bench.call(HelperId::SPIN_UNLOCK, args).unwrap();
    assert_eq!(word(&bench), 0);
    let odd = bench.call(HelperId::SPIN_LOCK, [u64::from(lock) + 1, 0, 0, 0, 0]).unwrap_err();
    assert!(odd.to_string().contains("multiple of four"), "{odd}");
    // What is held at the end of a run is released.
    bench.call(HelperId::SPIN_LOCK, args).unwrap();
    crate::helpers::release_lock(&bench.machine, &mut bench.cpu.state);
    assert_eq!(word(&bench), 0);
    // Nobody waits for a lock that nobody holds, whatever its word says.
    bench.machine.memory().window().store(lock, Size::W, 7).unwrap();
    bench.call(HelperId::SPIN_LOCK, args).unwrap();
    assert_eq!(word(&bench), 1);
    bench.call(HelperId::SPIN_UNLOCK, args).unwrap();
}
