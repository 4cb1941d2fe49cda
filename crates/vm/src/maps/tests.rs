//! What the kernel cannot be asked: addresses, promises to running programs, threads.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use skep_bpf::platform::{MapFlags, MapType};

use super::{MapSpec, Value};
use crate::errno::Errno;
use crate::host::Host;
use crate::machine::{Machine, MachineError, MapError};
use crate::memory::Access;

fn machine(cpus: u32) -> Machine {
    Machine::new(Host { cpus, ..Host::default() }).unwrap()
}

fn spec(map_type: MapType, key_bytes: u32, value_bytes: u32, max_entries: u32) -> MapSpec {
    MapSpec {
        name: "m".into(),
        map_type,
        key_bytes,
        value_bytes,
        max_entries,
        flags: MapFlags::default(),
        extra: 0,
        inner: None,
    }
}

fn load_u64(machine: &Machine, at: u32) -> u64 {
    machine.memory().window().load(at, skep_bpf::op::Size::Dw).unwrap()
}

#[test]
fn an_arrays_values_lie_in_a_row() {
    let machine = machine(1);
    let id = machine.create_map(spec(MapType::ARRAY, 4, 5, 3)).unwrap();
    let map = machine.map(id).unwrap();
    let first = map.lookup(0, &0u32.to_le_bytes()).unwrap();
    assert_eq!(map.lookup(0, &2u32.to_le_bytes()), Some(first + 16));
    assert_eq!(map.lookup(0, &3u32.to_le_bytes()), None);
    assert_eq!(map.data_addr(), None, "only arrays of one element have data");
    let region = machine.memory().region_at(first + 8).unwrap();
    assert_eq!((region.start, region.len), (first + 8, 5));
}

#[test]
fn read_only_data_is_the_hosts_to_write_until_it_is_frozen() {
    let machine = machine(1);
    let flags = MapFlags::RDONLY_PROG | MapFlags::MMAPABLE;
    let rodata = MapSpec { flags, ..spec(MapType::ARRAY, 4, 5000, 1) };
    let id = machine.create_map(rodata).unwrap();
    let map = machine.map(id).unwrap();
    let key = [0; 4];
    let value: Vec<u8> = (0..5000).map(|n| n as u8).collect();
    map.write(&key, &value, 0).unwrap();
    let at = map.data_addr().unwrap();
    let window = machine.memory().window();
    let mut seen = vec![0; 5000];
    window.read(at, &mut seen).unwrap();
    assert_eq!(seen, value);
    for page in [at, at + 4999] {
        assert!(window.check(page, 1, Access::Write).is_err(), "programs may not write");
    }
    assert_eq!(map.update(0, &key, Value::Host(&value), 0), Err(Errno::EPERM));
    map.freeze().unwrap();
    assert_eq!(map.write(&key, &value, 0), Err(Errno::EPERM));
    assert_eq!(map.read(&key).unwrap(), value);
}

#[test]
fn errors_say_what_is_wrong() {
    let machine = machine(1);
    let refused = |spec: MapSpec| match machine.create_map(spec) {
        Err(MachineError::Map { source, .. }) => source.to_string(),
        other => panic!("{other:?}"),
    };
    assert_eq!(
        refused(spec(MapType::ARRAY, 8, 4, 1)),
        "key size 8: array maps need exactly 4: EINVAL (invalid argument)"
    );
    let error = refused(spec(MapType::ARRAY, 4, 1 << 30, 16));
    assert!(error.contains("17179869184 bytes"), "{error}");
    let error = refused(spec(MapType::STRUCT_OPS, 4, 4, 1));
    assert_eq!(error, "maps of type struct_ops are not implemented");
    let flags = MapFlags::MMAPABLE;
    let error = refused(MapSpec { flags, ..spec(MapType::HASH, 4, 4, 1) });
    assert!(error.starts_with("flags BPF_F_MMAPABLE: hash maps take BPF_F_NO_PREALLOC"), "{error}");
    assert!(matches!(
        machine.create_map(spec(MapType::HASH, 4, 4, 0)),
        Err(MachineError::Map { source: MapError::Invalid { errno: Errno::EINVAL, .. }, .. })
    ));
}

#[test]
fn a_value_that_a_run_looked_up_stays() {
    let machine = machine(2);
    for map_type in [MapType::HASH, MapType::PERCPU_HASH] {
        let id = machine.create_map(spec(map_type, 4, 8, 4)).unwrap();
        let map = machine.map(id).unwrap();
        let put = |key: u32, value: u64| {
            map.update(0, &key.to_le_bytes(), Value::Host(&value.to_le_bytes()), 0)
        };
        put(1, 77).unwrap();
        machine.epochs().enter(0);
        let at = map.lookup(0, &1u32.to_le_bytes()).unwrap();
        map.delete(&1u32.to_le_bytes()).unwrap();
        // The map is full again and again, but what the run looked up is not reused.
        for round in 0..20 {
            for key in 10..14 {
                put(key, round).unwrap();
            }
            assert_eq!(put(14, 0), Err(Errno::E2BIG));
            assert_eq!(load_u64(&machine, at), 77);
            for key in 10..14u32 {
                map.delete(&key.to_le_bytes()).unwrap();
            }
        }
        machine.epochs().leave(0);
        for key in 0..64 {
            put(key, 5).unwrap();
            map.delete(&key.to_le_bytes()).unwrap();
        }
        // During another run nothing more becomes free: what was is used up, one after another.
        machine.epochs().enter(1);
        let reused = (0..1000u32).any(|key| {
            put(key, 5).unwrap();
            let reused = map.lookup(0, &key.to_le_bytes()) == Some(at);
            map.delete(&key.to_le_bytes()).unwrap();
            reused
        });
        machine.epochs().leave(1);
        assert!(reused, "after the run the element is as good as any other");
    }
}

#[test]
fn a_replaced_value_keeps_what_it_was() {
    let machine = machine(1);
    let id = machine.create_map(spec(MapType::HASH, 4, 8, 1)).unwrap();
    let map = machine.map(id).unwrap();
    let key = [1, 2, 3, 4];
    map.write(&key, &[1; 8], 0).unwrap();
    machine.epochs().enter(0);
    let old = map.lookup(0, &key).unwrap();
    map.update(0, &key, Value::Host(&[2; 8]), 0).unwrap();
    let new = map.lookup(0, &key).unwrap();
    assert_ne!(old, new);
    assert_eq!(load_u64(&machine, old), 0x0101_0101_0101_0101);
    assert_eq!(load_u64(&machine, new), 0x0202_0202_0202_0202);
    machine.epochs().leave(0);
}

/// A run that replaces more values than can wait goes on all the same.
#[test]
fn one_run_can_update_for_ever() {
    let machine = machine(1);
    for value_bytes in [8, 600_000] {
        let id = machine.create_map(spec(MapType::HASH, 4, value_bytes, 2)).unwrap();
        let map = machine.map(id).unwrap();
        let rounds = if value_bytes == 8 { 10_000u32 } else { 50 };
        machine.epochs().enter(0);
        for round in 0..rounds {
            let value = vec![round as u8; value_bytes as usize];
            map.update(0, &(round % 2).to_le_bytes(), Value::Host(&value), 0).unwrap();
        }
        machine.epochs().leave(0);
        assert_eq!(map.read(&1u32.to_le_bytes()).unwrap()[0], (rounds - 1) as u8);
    }
}

#[test]
fn the_same_operations_give_the_same_addresses_and_order() {
    let record = || {
        let machine = machine(2);
        let id = machine.create_map(spec(MapType::HASH, 12, 8, 100)).unwrap();
        let map = machine.map(id).unwrap();
        let mut trace = Vec::new();
        for step in 0..5000u32 {
            let mut key = [0; 12];
            key[..4].copy_from_slice(&(step.wrapping_mul(2_654_435_761) % 150).to_le_bytes());
            if step % 3 == 2 {
                trace.push(map.delete(&key).is_ok().into());
            } else {
                let _ = map.write(&key, &[step as u8; 8], 0);
                trace.push(map.lookup(0, &key).unwrap_or(0));
            }
        }
        let mut keys = Vec::new();
        let mut next = map.next_key(None).unwrap();
        while let Some(key) = next {
            next = map.next_key(Some(&key)).unwrap();
            keys.push(key);
        }
        (trace, keys)
    };
    let (trace, keys) = record();
    assert!(keys.len() > 50, "{}", keys.len());
    assert_eq!((trace, keys), record());
}

#[test]
fn per_cpu_values_are_apart() {
    let machine = machine(3);
    let id = machine.create_map(spec(MapType::PERCPU_ARRAY, 4, 4, 2)).unwrap();
    let map = machine.map(id).unwrap();
    let key = 1u32.to_le_bytes();
    let places: HashSet<_> = (0..3).map(|cpu| map.lookup(cpu, &key).unwrap() / 64).collect();
    assert_eq!(places.len(), 3, "no two processors share a cache line");
    assert_eq!(map.lookup(3, &key), None);
    map.update(1, &key, Value::Host(&[9; 4]), 0).unwrap();
    assert_eq!(map.host_value_bytes(), 24);
    let mut expected = [0; 24];
    expected[8..12].fill(9);
    assert_eq!(map.read(&key).unwrap(), expected);
}

/// Keys carry two halves that agree, values say which key they belong to: readers must never see
/// a key that was not put in, nor during a run another key's value.
#[test]
fn threads_see_whole_keys_and_their_values() {
    const KEYS: u64 = 40;
    let machine = machine(3);
    let id = machine.create_map(spec(MapType::HASH, 16, 8, 24)).unwrap();
    let map = machine.map(id).unwrap();
    let done = AtomicBool::new(false);
    let (hits, foreign) = (AtomicU64::new(0), AtomicU64::new(0));
    let key = |low: u64, high: u64| {
        let mut key = [0; 16];
        key[..8].copy_from_slice(&low.to_le_bytes());
        key[8..].copy_from_slice(&high.to_le_bytes());
        key
    };
    std::thread::scope(|scope| {
        for cpu in 0..3u32 {
            let (machine, done, hits, foreign) = (&machine, &done, &hits, &foreign);
            scope.spawn(move || {
                let mut n = u64::from(cpu) * 17;
                // No more than can wait while one of the threads stands still.
                let mut changes = 0;
                while !done.load(Ordering::Relaxed) {
                    n = n.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    let (a, b) = ((n >> 33) % KEYS, (n >> 45) % KEYS);
                    machine.epochs().enter(cpu);
                    if let Some(at) = map.lookup(cpu, &key(a, a)) {
                        assert_eq!(load_u64(machine, at), a);
                        hits.fetch_add(1, Ordering::Relaxed);
                        assert_eq!(load_u64(machine, at), a);
                    }
                    if a != b && map.lookup(cpu, &key(a, b)).is_some() {
                        foreign.fetch_add(1, Ordering::Relaxed);
                    }
                    changes += 1;
                    match n >> 60 {
                        _ if changes > 20_000 => {}
                        0..=5 => {
                            let _ = map.update(cpu, &key(b, b), Value::Host(&b.to_le_bytes()), 0);
                        }
                        6..=9 => {
                            let _ = map.delete(&key(b, b));
                        }
                        _ => {}
                    }
                    machine.epochs().leave(cpu);
                }
            });
        }
        let end = std::time::Instant::now() + std::time::Duration::from_millis(400);
        while std::time::Instant::now() < end {
            let mut next = map.next_key(None).unwrap();
            for _ in 0..100 {
                let Some(key) = next else { break };
                assert_eq!(key[..8], key[8..]);
                if let Ok(value) = map.read(&key) {
                    assert_eq!(key[..8], value);
                }
                next = map.next_key(Some(&key)).unwrap();
            }
        }
        done.store(true, Ordering::Relaxed);
    });
    assert_eq!(foreign.load(Ordering::Relaxed), 0);
    assert!(hits.load(Ordering::Relaxed) > 1000);
    let mut left = 0;
    for n in 0..KEYS {
        left += usize::from(map.remove(&key(n, n)).is_ok());
    }
    assert!(left <= 24);
    for n in 0..24 {
        map.write(&key(n, n), &[0; 8], 0).unwrap();
    }
    assert_eq!(map.write(&key(24, 24), &[0; 8], 0), Err(Errno::E2BIG), "nothing was lost");
}
