//! The further kinds of maps against the live kernel: which can be made, and the same operations
//! by the host with the same results and error numbers.

use skep_bpf::platform::{MapFlags, MapType};

use super::MapSpec;
use super::kernel_tests::{Pair, Random, errno, machine_like_kernel, same_creation, spec};
use crate::errno::Errno;

const SIZES: [u32; 9] = [0, 1, 4, 5, 8, 16, 260, 261, 512];

#[test]
fn the_same_maps_of_further_kinds_can_be_created() {
    let Some(machine) = machine_like_kernel() else { return };
    let mut compared = 0;
    let types = [
        MapType::PERF_EVENT_ARRAY,
        MapType::CGROUP_ARRAY,
        MapType::STACK_TRACE,
        MapType::LRU_HASH,
        MapType::LRU_PERCPU_HASH,
        MapType::LPM_TRIE,
        MapType::DEVMAP,
        MapType::DEVMAP_HASH,
        MapType::CPUMAP,
        MapType::XSKMAP,
        MapType::SOCKMAP,
        MapType::SOCKHASH,
        MapType::CGROUP_STORAGE,
        MapType::PERCPU_CGROUP_STORAGE,
        MapType::QUEUE,
        MapType::STACK,
        MapType::RINGBUF,
        MapType::BLOOM_FILTER,
    ];
    for map_type in types {
        let sized = match map_type {
            MapType::LPM_TRIE => (8, 4, 2, 1),
            MapType::CGROUP_STORAGE | MapType::PERCPU_CGROUP_STORAGE => (16, 8, 0, 0),
            MapType::QUEUE | MapType::STACK | MapType::BLOOM_FILTER => (0, 8, 2, 0),
            MapType::RINGBUF => (0, 0, 4096, 0),
            MapType::STACK_TRACE => (4, 32, 2, 0),
            _ => (4, 4, 2, 0),
        };
        let (key, value, entries, flags) = sized;
        // The two flags that come with a file descriptor need one.
        for bit in (0..32).filter(|bit| ![15, 16].contains(bit)) {
            same_creation(&machine, &spec(map_type, key, value, entries, flags | 1 << bit));
            same_creation(&machine, &spec(map_type, key, value, entries, flags ^ 1 << bit));
            compared += 2;
        }
        for access in [3 << 3, 3 << 7, 1 << 3 | 1 << 8, 1 << 2 | 1 << 1] {
            same_creation(&machine, &spec(map_type, key, value, entries, flags | access));
            compared += 1;
        }
        for size in SIZES {
            for other in [value, 0, 4, 8, 12, 32, 96, 1016, 1024, 32_768, 32_769, 65_536, 1 << 22] {
                for count in [entries, 0, 1, 3, 4096, 8192] {
                    // The most processors are a matter of the kernel's configuration.
                    if map_type == MapType::CPUMAP && count > 3 {
                        continue;
                    }
                    // The kernel commits the memory.
                    if u64::from(other) * u64::from(count) > 1 << 22 {
                        continue;
                    }
                    same_creation(&machine, &spec(map_type, size, other, count, flags));
                    compared += 1;
                }
            }
        }
        for value in [(1 << 22) - 281, (1 << 22) - 280, (1 << 22) - 279, (1 << 22) + 1, u32::MAX] {
            same_creation(&machine, &spec(map_type, key, value, entries, flags));
            compared += 1;
        }
    }
    same_creation(&machine, &spec(MapType::CPUMAP, 4, 4, 1 << 20, 0));
    for value in [65_000, 65_400, 65_407, 65_408, 65_440, 65_456, 65_472, 65_480, 65_535] {
        same_creation(&machine, &spec(MapType::CGROUP_STORAGE, 8, value, 0, 0));
    }
    for extra in [0, 1, 5, 15, 16, 1 << 40] {
        for map_type in [MapType::BLOOM_FILTER, MapType::QUEUE] {
            same_creation(&machine, &MapSpec { extra, ..spec(map_type, 0, 4, 9, 0) });
        }
    }
    eprintln!("{compared} creations compared");
}

#[test]
fn the_same_maps_of_maps_can_be_created() {
    let Some(machine) = machine_like_kernel() else { return };
    for map_type in [MapType::ARRAY_OF_MAPS, MapType::HASH_OF_MAPS] {
        let array = spec(MapType::ARRAY, 4, 8, 2, 0);
        let nested = MapSpec { inner: Some(array.clone().into()), ..spec(map_type, 4, 4, 2, 0) };
        for (key, value) in [(4, 4), (4, 8), (8, 4), (0, 4)] {
            for inner in [
                array.clone(),
                nested.clone(),
                spec(MapType::PROG_ARRAY, 4, 4, 2, 0),
                spec(MapType::PERF_EVENT_ARRAY, 4, 4, 2, 0),
                spec(MapType::CGROUP_STORAGE, 16, 4, 0, 0),
                spec(MapType::RINGBUF, 0, 0, 4096, 0),
                spec(MapType::LPM_TRIE, 8, 4, 4, 1),
                spec(MapType::CPUMAP, 4, 4, 4, 0),
                spec(MapType::SOCKMAP, 4, 4, 4, 0),
                spec(MapType::QUEUE, 0, 4, 4, 0),
            ] {
                let inner = Some(inner.into());
                same_creation(&machine, &MapSpec { inner, ..spec(map_type, key, value, 2, 0) });
            }
        }
    }
}

/// Queues, stacks and filters have no keys.
#[test]
fn maps_without_keys_give_the_same_results() {
    let Some(machine) = machine_like_kernel() else { return };
    let mut random = Random(0x91e);
    for round in 0..60 {
        let map_type = [MapType::QUEUE, MapType::STACK, MapType::BLOOM_FILTER][round % 3];
        let flags = [0, 0, 0, 1 << 3, 1 << 4][random.below(5) as usize];
        let value_bytes = [1, 3, 8, 40][random.below(4) as usize];
        let entries = [1, 2, 5, 40][random.below(4) as usize];
        let pair = Pair::new(&machine, spec(map_type, 0, value_bytes, entries, flags));
        for _ in 0..200 {
            let value = random.bytes(value_bytes as usize);
            match random.below(10) {
                0..=4 => pair.write(&[], &value, random.flags()),
                5 | 6 if map_type != MapType::BLOOM_FILTER => pair.read(&[]),
                7 if map_type != MapType::BLOOM_FILTER => pair.take(&[]),
                8 => pair.remove(&[]),
                9 if random.below(60) == 0 => pair.freeze(),
                _ => {}
            }
        }
    }
}

/// What is in a filter is found; what is not is found as seldom as the number of hashes promises.
#[test]
fn filters_find_what_they_hold() {
    let machine = crate::machine::Machine::new(crate::host::Host::default()).unwrap();
    for (extra, most) in [(0, 60), (1, 500), (3, 150), (15, 20)] {
        let filter = MapSpec { extra, ..spec(MapType::BLOOM_FILTER, 0, 8, 1000, 0) };
        let filter = super::create(&machine, filter).unwrap();
        for value in 0..1000_u64 {
            filter.write(&[], &value.to_le_bytes(), 0).unwrap();
        }
        let has = |value: u64| filter.read(&value.to_le_bytes()) != Err(Errno::ENOENT);
        assert!((0..1000).all(has));
        let wrong = (1000..2000).filter(|value| has(*value)).count();
        assert!(wrong <= most, "{wrong} of 1000 with {extra} hashes");
    }
}

#[test]
fn tries_give_the_same_results() {
    let Some(machine) = machine_like_kernel() else { return };
    let mut random = Random(0x7e1e);
    let mut operations = 0;
    for round in 0..80 {
        let data_bytes = [1, 2, 4, 4, 5, 8, 16, 256][round % 8];
        let entries = [1, 2, 10, 50, 400][random.below(5) as usize];
        let flags = 1 | [0, 0, 0, 1 << 3, 1 << 4, 1 << 7][random.below(6) as usize];
        let key_bytes = 4 + data_bytes;
        let pair = Pair::new(&machine, spec(MapType::LPM_TRIE, key_bytes, 8, entries, flags));
        // Few bits vary, so that prefixes meet.
        let varied = 1 + random.below(6);
        for _ in 0..500 {
            operations += 1;
            let key = trie_key(&mut random, data_bytes, varied);
            match random.below(20) {
                0..=7 => pair.write(&key, &random.bytes(8), random.flags()),
                8..=12 => pair.read(&key),
                13..=15 => pair.remove(&key),
                16 | 17 => pair.next_key((random.below(8) != 0).then_some(&key)),
                18 => pair.take(&key),
                _ if random.below(20) == 0 => pair.same_keys(),
                _ if random.below(200) == 0 => pair.freeze(),
                _ => {}
            }
        }
        pair.same_keys();
        // The order is the kernel's too.
        let mut key = None;
        for _ in 0..1000 {
            pair.next_key(key.as_deref());
            let Ok(Some(next)) = pair.ours.next_key(key.as_deref()) else { break };
            key = Some(next);
        }
    }
    eprintln!("{operations} operations compared");
}

/// A prefix whose bits vary in a few places, most of them at its beginning.
fn trie_key(random: &mut Random, data_bytes: u32, varied: u64) -> Vec<u8> {
    let bits = data_bytes * 8;
    let len = match random.below(30) {
        0 => bits + 1 + random.below(3) as u32,
        1 => u32::MAX,
        2..=5 => bits,
        _ => random.below(u64::from(bits.min(12)) + 1) as u32,
    };
    let mut data = vec![0; data_bytes as usize];
    for _ in 0..varied {
        let at = random.below(u64::from(bits.min(14))) as usize;
        data[at / 8] ^= 0x80 >> (at % 8);
    }
    if random.below(4) == 0 {
        let at = random.below(u64::from(bits)) as usize;
        data[at / 8] ^= 0x80 >> (at % 8);
    }
    [&len.to_le_bytes()[..], &data].concat()
}

#[test]
fn targets_give_the_same_results() {
    let Some(machine) = machine_like_kernel() else { return };
    let mut random = Random(0xde7);
    let types = [MapType::DEVMAP, MapType::DEVMAP_HASH, MapType::CPUMAP];
    for round in 0..60 {
        let map_type = types[round % 3];
        let value_bytes = [4, 8][random.below(2) as usize];
        let flags = match map_type {
            MapType::CPUMAP => 0,
            _ => [0, 0, 1 << 3, 1 << 4][random.below(4) as usize],
        };
        let entries = [1, 2, 3, 9][random.below(4) as usize];
        let pair = Pair::new(&machine, spec(map_type, 4, value_bytes, entries, flags));
        for _ in 0..150 {
            let key = random.key(pair.ours.spec());
            match random.below(10) {
                0..=4 => {
                    // The loopback interface is the only one that is certain to be there.
                    let mut value = vec![0; value_bytes as usize];
                    value[0] = random.below(2) as u8;
                    if map_type == MapType::CPUMAP && random.below(8) == 0 {
                        value[1] = 65;
                    }
                    pair.write(&key, &value, random.flags());
                }
                5 | 6 => pair.read(&key),
                7 => pair.remove(&key),
                8 => pair.next_key((random.below(8) != 0).then_some(&key)),
                _ if random.below(30) == 0 => pair.freeze(),
                _ => pair.take(&key),
            }
        }
    }
}

/// What they take is file descriptors; all of these are of nothing.
#[test]
fn maps_of_what_is_not_there_give_the_same_results() {
    let Some(machine) = machine_like_kernel() else { return };
    let mut random = Random(0xab5);
    for (map_type, key, value, entries) in [
        (MapType::PERF_EVENT_ARRAY, 4, 4, 3),
        (MapType::CGROUP_ARRAY, 4, 4, 3),
        (MapType::SOCKMAP, 4, 4, 3),
        (MapType::SOCKMAP, 4, 8, 3),
        (MapType::SOCKHASH, 8, 4, 3),
        (MapType::SOCKHASH, 4, 8, 3),
        (MapType::STACK_TRACE, 4, 80, 3),
        (MapType::RINGBUF, 0, 0, 4096),
        (MapType::XSKMAP, 4, 4, 3),
    ] {
        let pair = Pair::new(&machine, spec(map_type, key, value, entries, 0));
        for _ in 0..100 {
            let key =
                if key == 0 { Vec::new() } else { random.key(&spec(map_type, key, value, 3, 0)) };
            match random.below(5) {
                0 if map_type != MapType::XSKMAP && map_type != MapType::RINGBUF => {
                    let mut bytes = vec![0; value as usize];
                    bytes[..4].copy_from_slice(&0x7fff_fff0_u32.to_le_bytes());
                    pair.write(&key, &bytes, random.flags());
                }
                1 if map_type != MapType::RINGBUF => pair.read(&key),
                2 if map_type != MapType::RINGBUF => pair.remove(&key),
                3 if map_type != MapType::RINGBUF => {
                    pair.next_key((random.below(4) != 0).then_some(&key));
                }
                _ => pair.take(&key),
            }
        }
        pair.freeze();
        pair.freeze();
    }
}

/// Both drop keys when full; which is each side's own affair.
#[test]
fn full_maps_drop_what_is_old() {
    let Some(machine) = machine_like_kernel() else { return };
    let mut random = Random(0x17u64);
    for map_type in [MapType::LRU_HASH, MapType::LRU_PERCPU_HASH] {
        for flags in [0, MapFlags::NO_COMMON_LRU.0] {
            let pair = Pair::new(&machine, spec(map_type, 4, 8, 4000, flags));
            let len = pair.theirs.value_len();
            // As long as there is room, they agree.
            for _ in 0..500 {
                let key = (random.below(100) as u32).to_le_bytes();
                match random.below(4) {
                    0 | 1 => pair.write(&key, &random.bytes(len), random.flags()),
                    2 => pair.read(&key),
                    _ => pair.remove(&key),
                }
            }
            for key in 0..20_000_u32 {
                let value = vec![key as u8; len];
                pair.ours.write(&key.to_le_bytes(), &value, 0).unwrap();
                pair.theirs.update(&key.to_le_bytes(), &value, 0).map_err(errno).unwrap();
                // The newest is there on both sides.
                pair.read(&key.to_le_bytes());
            }
            let ours: Vec<u32> = keys(&pair);
            assert_eq!(ours.len(), 4000);
            // Nothing was looked up by programs, so that the last ones are left.
            assert!(ours.iter().all(|key| *key >= 16_000), "{map_type}");
            let kept = &16_000_u32.to_le_bytes();
            let at = pair.ours.lookup(0, kept).unwrap();
            for key in 30_000..33_999_u32 {
                pair.ours.write(&key.to_le_bytes(), &vec![0; len], 0).unwrap();
            }
            assert_eq!(pair.ours.lookup(0, kept), Some(at), "what was used stays");
        }
    }
}

fn keys(pair: &Pair) -> Vec<u32> {
    let next = |key: Option<&Vec<u8>>| pair.ours.next_key(key.map(|k| &k[..])).unwrap();
    let walk = std::iter::successors(next(None), |key| next(Some(key)));
    walk.map(|key| u32::from_le_bytes(key.try_into().unwrap())).collect()
}
