//! Helpers on maps of records, here and in the live kernel; and what arrives at the host.

use skep_bpf::platform::{HelperId, MapType, ProgType};

use super::{Bench, kernel_is_here, kernel_map, load, map_spec};
use crate::context::Skb;
use crate::errno::Errno;
use crate::maps::MapSpec;
use crate::memory::PAGE_BYTES;
use crate::run::{Options, RunError};

/// Reserves, commits, discards and copies in records of lengths from the packet until nothing
/// fits, and asks about the buffer in between. Nobody consumes.
#[test]
fn ring_buffers_fill_up_as_in_the_kernel() {
    if !kernel_is_here() {
        return;
    }
    let mut bench = Bench::new();
    for (size, flags) in [(8, 0), (0, 0), (1, 1), (13, 2), (500, 0), (4080, 0), (4088, 0)] {
        for (call, query) in [("submit", 0), ("submit", 3), ("discard", 0), ("discard", 2)] {
            let text = format!(
                "r1 = map_by_idx(0)
                 r2 = {size}
                 r3 = {flags}
                 call bpf_ringbuf_reserve
                 r6 = 1
                 if r0 == 0 goto full
                 r6 = 2
                 r1 = r0
                 r2 = {flags}
                 call bpf_ringbuf_{call}
                 full:
                 r1 = map_by_idx(0)
                 r2 = r10
                 r2 += -16
                 *(u64 *)(r10 - 16) = 7
                 *(u64 *)(r10 - 8) = 7
                 r3 = {len}
                 r4 = {flags}
                 call bpf_ringbuf_output
                 r6 *= 16777619
                 r6 ^= r0
                 r1 = map_by_idx(0)
                 r2 = {query}
                 call bpf_ringbuf_query
                 r6 *= 16777619
                 r6 ^= r0
                 r0 = r6
                 exit",
                len = size % 17
            );
            let specs = [map_spec(MapType::RINGBUF, 0, 0, PAGE_BYTES)];
            let twins = bench.twins(ProgType::XDP, &text, &specs);
            for round in 0..60 {
                bench.compare(&twins, &[0; 64], &format!("{size} {flags} {call} {query} {round}"));
            }
        }
    }
    for query in [0, 1, 2, 3, 4, u32::MAX] {
        let text =
            format!("r1 = map_by_idx(0)\nr2 = {}\ncall bpf_ringbuf_query\nexit", query as i32);
        let specs = [map_spec(MapType::RINGBUF, 0, 0, 4 * PAGE_BYTES)];
        let twins = bench.twins(ProgType::SOCKET_FILTER, &text, &specs);
        let packet = [0; 64];
        let r0 = bench.compare_result(&twins, &packet);
        assert_eq!(r0, if query == 1 { 4 * PAGE_BYTES } else { 0 });
    }
}

/// Records that wrap are in one piece, and room that was consumed is used again.
#[test]
fn ring_buffers_deliver_records_in_order() {
    let mut bench = Bench::new();
    let id = bench.machine.create_map(map_spec(MapType::RINGBUF, 0, 0, PAGE_BYTES)).unwrap();
    let ring = u64::from(bench.machine.handle(id));
    let mut expected = 0_u64;
    for round in 0..2000_u64 {
        let len = 8 + round * 37 % 900;
        let at = bench.call(HelperId::RINGBUF_RESERVE, [ring, len, 0, 0, 0]).unwrap();
        assert_ne!(at, 0, "round {round}");
        let bytes: Vec<u8> = round.to_le_bytes().into_iter().cycle().take(len as usize).collect();
        bench.machine.memory().window().write(at as u32, &bytes).unwrap();
        let discarded = round.is_multiple_of(5);
        let helper = if discarded { HelperId::RINGBUF_DISCARD } else { HelperId::RINGBUF_SUBMIT };
        bench.call(helper, [at, 0, 0, 0, 0]).unwrap();
        let again = bench.call(helper, [at, 0, 0, 0, 0]).unwrap_err();
        assert!(again.to_string().contains("that is reserved"), "{again}");
        if round.is_multiple_of(3) {
            let map = bench.machine.map(id).unwrap();
            map.ring_buffer().unwrap().consume(|record| {
                expected += u64::from(expected.is_multiple_of(5));
                let mut number = [0; 8];
                number.copy_from_slice(&record[..8]);
                assert_eq!(u64::from_le_bytes(number), expected);
                assert_eq!(record.len() as u64, 8 + expected * 37 % 900);
                expected += 1;
            });
        }
    }
    assert!(expected > 1990);
}

/// Two producers and the host at once: each producer's records come whole and in order.
#[test]
fn ring_buffers_keep_threads_apart() {
    const RECORDS: u64 = 20_000;
    let bench = Bench::new();
    let id = bench.machine.create_map(map_spec(MapType::RINGBUF, 0, 0, PAGE_BYTES)).unwrap();
    let map = bench.machine.map(id).unwrap().clone();
    let ring = map.ring_buffer().unwrap();
    let window = bench.machine.memory().window();
    std::thread::scope(|scope| {
        for producer in 0..2_u64 {
            scope.spawn(move || {
                for number in 0..RECORDS {
                    let len = 16 + number % 100 * 8;
                    let at = loop {
                        match ring.reserve(len) {
                            Some(at) => break at,
                            None => std::thread::yield_now(),
                        }
                    };
                    let words = [producer, number].map(u64::to_le_bytes).concat();
                    let bytes: Vec<u8> = words.into_iter().cycle().take(len as usize).collect();
                    window.write(at, &bytes).unwrap();
                    assert!(ring.commit(at, number % 7 == 6, 0));
                }
            });
        }
        let mut next = [0_u64; 2];
        let expected = |next: u64| next + u64::from(next % 7 == 6);
        while next.iter().any(|next| expected(*next) < RECORDS) {
            ring.consume(|record| {
                let (pairs, rest) = record.as_chunks::<8>();
                let words: Vec<u64> = pairs.iter().map(|word| u64::from_le_bytes(*word)).collect();
                let next = &mut next[words[0] as usize];
                assert_eq!((words[1], rest.len()), (expected(*next), 0));
                assert_eq!(words.len() as u64, 2 + words[1] % 100);
                assert!(words.chunks(2).all(|pair| words.starts_with(pair)));
                *next = words[1] + 1;
            });
            std::thread::yield_now();
        }
    });
}

/// A record that is still written holds up those after it.
#[test]
fn ring_buffers_wait_for_the_first_record() {
    let mut bench = Bench::new();
    let id = bench.machine.create_map(map_spec(MapType::RINGBUF, 0, 0, PAGE_BYTES)).unwrap();
    let ring = u64::from(bench.machine.handle(id));
    let mut reserve = |len| bench.call(HelperId::RINGBUF_RESERVE, [ring, len, 0, 0, 0]).unwrap();
    let (first, second) = (reserve(8), reserve(16));
    assert_eq!(reserve(5000), 0);
    bench.call(HelperId::RINGBUF_SUBMIT, [second, 0, 0, 0, 0]).unwrap();
    let map = bench.machine.map(id).unwrap().clone();
    let buffer = map.ring_buffer().unwrap();
    assert!(!buffer.wait(std::time::Duration::ZERO));
    assert_eq!(buffer.consume(|_| {}), 0);
    assert_eq!(buffer.reserved_bytes(first as u32), Some(8));
    bench.call(HelperId::RINGBUF_SUBMIT, [first, 0, 0, 0, 0]).unwrap();
    assert!(buffer.wait(std::time::Duration::ZERO));
    let mut lengths = Vec::new();
    buffer.consume(|record| lengths.push(record.len()));
    assert_eq!(lengths, [8, 16]);
}

#[test]
fn a_record_ends_where_it_was_reserved() {
    let bench = &mut Bench::new();
    let id = bench.machine.create_map(map_spec(MapType::RINGBUF, 0, 0, PAGE_BYTES)).unwrap();
    let text = "r1 = map_by_idx(0)
        r2 = 16
        r3 = 0
        call bpf_ringbuf_reserve
        *(u64 *)(r0 + 8) = 1
        *(u8 *)(r0 + 16) = 1
        exit";
    let program = skep_bpf::program::Program::new(&super::slots(text).into()).unwrap();
    let loaded = bench.machine.load("test", ProgType::SCHED_CLS, program, &[id]).unwrap();
    let checked = Options { engine: crate::run::Engine::Checked, ..Options::default() };
    let mut packet = Skb::new(ProgType::SCHED_CLS, vec![0; 64]);
    let Err(RunError::Trap(trap)) = loaded.run(&mut bench.cpu, &mut packet, checked) else {
        panic!("it wrote behind its record");
    };
    assert_eq!(trap.slot.0, 6, "{trap}");
    assert!(trap.to_string().contains("a record of ring buffer map"), "{trap}");
}

/// Nobody listens in the kernel, so only refusals can be compared.
#[test]
fn perf_events_refuse_as_in_the_kernel() {
    if !kernel_is_here() {
        return;
    }
    let mut bench = Bench::new();
    for prog_type in [ProgType::XDP, ProgType::SCHED_CLS] {
        for flags in [0_u64, 1, 2, 3, 4, 0xffff_ffff, 1 << 32, 64 << 32, 65 << 32, 1 << 52, 1 << 63]
        {
            let text = format!(
                "*(u64 *)(r10 - 8) = 7
                 r2 = map_by_idx(0)
                 r3 = {} ll
                 r4 = r10
                 r4 += -8
                 r5 = 8
                 call bpf_perf_event_output
                 exit",
                flags as i64
            );
            let specs = [map_spec(MapType::PERF_EVENT_ARRAY, 4, 4, 3)];
            let twins = bench.twins(prog_type, &text, &specs);
            bench.compare(&twins, &[0; 64], &format!("{prog_type} {flags:#x}"));
        }
    }
}

#[test]
fn perf_events_deliver_records_and_packets() {
    let mut bench = Bench::new();
    let spec = map_spec(MapType::PERF_EVENT_ARRAY, 4, 4, 3);
    let id = bench.machine.create_map(spec).unwrap();
    let map = bench.machine.map(id).unwrap().clone();
    let events = map.perf_events().unwrap();
    let data = bench.place(b"record");
    let handle = u64::from(bench.machine.handle(id));
    let current = 0xffff_ffff;
    let mut write =
        |flags| bench.call(HelperId::PERF_EVENT_OUTPUT, [0, handle, flags, data, 6]).unwrap();
    assert_eq!(write(current), Errno::ENOENT.to_return());
    events.open(0, 0, 47).unwrap();
    events.open(1, 3, 64).unwrap();
    assert_eq!(events.open(3, 0, 64), Err(Errno::E2BIG));
    assert_eq!(write(current), 0);
    assert_eq!(write(1), Errno::EOPNOTSUPP.to_return());
    assert_eq!((write(0), write(0)), (Errno::ENOSPC.to_return(), Errno::ENOSPC.to_return()));
    let mut seen = Vec::new();
    assert_eq!(events.consume(0, |record| seen.push(record.to_vec())), Some(2));
    assert_eq!(seen, [b"record"]);
    assert_eq!(events.consume(0, |_| panic!("it is consumed")), Some(0));
    assert_eq!(events.consume(2, |_| {}), None);
    events.open(0, 0, 4096).unwrap();
    let text = "r2 = 0 ll
        *(u64 *)(r10 - 8) = 7
        r3 = 0x3ffffffff ll
        r4 = r10
        r4 += -8
        r5 = 4
        call bpf_perf_event_output
        exit";
    let text = text.replace("0 ll\n", "map_by_idx(0)\n");
    let program = skep_bpf::program::Program::new(&super::slots(&text).into()).unwrap();
    let loaded = bench.machine.load("test", ProgType::SCHED_CLS, program, &[id]).unwrap();
    let mut packet = Skb::new(ProgType::SCHED_CLS, (1..65).collect::<Vec<u8>>());
    assert_eq!(bench.run(&loaded, &mut packet).r0, 0);
    let mut seen = Vec::new();
    events.consume(0, |record| seen.push(record.to_vec()));
    assert!(seen.len() >= 2, "each engine wrote one");
    assert!(seen.iter().all(|record| *record == [7, 0, 0, 0, 1, 2, 3]), "{seen:?}");
}

/// An entry that is there, one that is not, and flags; what the host sees of it.
#[test]
fn packets_go_to_targets_as_in_the_kernel() {
    if !kernel_is_here() {
        return;
    }
    let mut bench = Bench::new();
    for map_type in [MapType::DEVMAP, MapType::DEVMAP_HASH, MapType::CPUMAP, MapType::XSKMAP] {
        for key in [0, 1, 9] {
            for flags in [0, 1, 2, 3, 4, 8, 16, 24, 32, 1 << 30] {
                let text = format!(
                    "r1 = map_by_idx(0)\nr2 = {key}\nr3 = {flags}\ncall bpf_redirect_map\nexit"
                );
                let twins = bench.twins(ProgType::XDP, &text, &[map_spec(map_type, 4, 4, 2)]);
                if map_type != MapType::XSKMAP {
                    // The loopback interface, or processor 1 with a queue of one.
                    let (index, value) = ([1, 0, 0, 0], [1, 0, 0, 0]);
                    let ours = bench.machine.map(twins.here[0]).unwrap();
                    let theirs = twins.there[0].update(&index, &value, 0);
                    assert_eq!(ours.write(&index, &value, 0).is_ok(), theirs.is_ok());
                }
                bench.compare(&twins, &[0; 64], &format!("{map_type} {key} {flags}"));
            }
        }
    }
}

#[test]
fn the_host_answers_for_routes() {
    let host = crate::host::Host {
        route: Box::new(|parameters, flags| {
            parameters[12] = 7;
            i64::from(flags) - 9
        }),
        ..crate::host::Host::default()
    };
    let machine = std::sync::Arc::new(crate::machine::Machine::new(host).unwrap());
    let zeros: String = (1..=8).map(|word| format!("*(u64 *)(r10 - {}) = 0\n", 8 * word)).collect();
    let text = format!(
        "{zeros}*(u8 *)(r10 - 64) = 2
        *(u32 *)(r10 - 56) = 1
        r2 = r10
        r2 += -64
        r3 = 64
        r4 = 1
        call bpf_fib_lookup
        r1 = *(u8 *)(r10 - 52)
        r0 += r1
        exit"
    );
    let loaded = load(&machine, ProgType::XDP, &text);
    let mut cpu = crate::cpu::Cpu::new(&machine).unwrap();
    let mut packet = crate::context::Xdp::new(vec![0; 64]);
    let finished = loaded.run(&mut cpu, &mut packet, Options::default()).unwrap();
    assert_eq!(finished.r0 as i64, -8 + 7);
}

#[test]
fn looked_up_sockets_are_not_there() {
    let mut bench = Bench::new();
    let text = "r2 = r10
        r2 += -12
        *(u32 *)(r10 - 12) = 0
        *(u64 *)(r10 - 8) = 0
        r3 = 12
        r4 = -1
        r5 = 0
        call bpf_sk_lookup_tcp
        exit";
    let loaded = load(&bench.machine, ProgType::SCHED_CLS, text);
    let mut packet = Skb::new(ProgType::SCHED_CLS, vec![0; 64]);
    assert_eq!(bench.run(&loaded, &mut packet).r0, 0);
}

/// Looks an inner map up and counts in it.
#[test]
fn inner_maps_are_found_as_in_the_kernel() {
    if !kernel_is_here() {
        return;
    }
    let mut bench = Bench::new();
    for outer in [MapType::ARRAY_OF_MAPS, MapType::HASH_OF_MAPS] {
        for index in 0..5 {
            let text = format!(
                "*(u32 *)(r10 - 4) = {index}
                 r1 = map_by_idx(0)
                 r2 = r10
                 r2 += -4
                 call bpf_map_lookup_elem
                 r6 = 7
                 if r0 == 0 goto out
                 r1 = r0
                 r2 = r10
                 r2 += -4
                 call bpf_map_lookup_elem
                 r6 = 8
                 if r0 == 0 goto out
                 r1 = 100
                 lock *(u64 *)(r0 + 0) += r1
                 r6 = *(u64 *)(r0 + 0)
                 out:
                 r0 = r6
                 exit"
            );
            let inner = map_spec(MapType::ARRAY, 4, 8, 2);
            let spec = MapSpec { inner: Some(inner.clone().into()), ..map_spec(outer, 4, 4, 3) };
            let mut twins = bench.twins(ProgType::XDP, &text, &[spec]);
            twins.here.push(bench.machine.create_map(inner.clone()).unwrap());
            twins.there.push(kernel_map(&inner).unwrap());
            for key in [1_u32, 2] {
                let key = key.to_le_bytes();
                bench.machine.set_inner_map(twins.here[0], &key, twins.here[1], 0).unwrap();
                twins.there[0].update_map(&key, &twins.there[1]).unwrap();
            }
            let what = format!("{outer} {index}");
            let results = [(); 3].map(|()| bench.compare(&twins, &[0; 64], &what));
            assert_eq!(results == [100, 200, 300], index == 1, "{what}: {results:?}");
        }
    }
}
