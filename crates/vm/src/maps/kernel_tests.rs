//! The live kernel's maps as an oracle: the same operations, the same results and error numbers.
//!
//! The order of keys in a hash is each side's own; everything else is compared exactly.

use std::sync::Arc;

use skep_bpf::codec::Slot;
use skep_bpf::platform::{MapFlags, MapType, ProgType};
use skep_bpf::program::Program;
use skep_kernel as kernel;
use skep_kernel::uapi;

use super::{Map, MapSpec, Value, create};
use crate::errno::Errno;
use crate::helpers::tests::kernel_map;
use crate::host::Host;
use crate::linked::Linked;
use crate::machine::{Machine, MapError};
use crate::memory::Perm;
use crate::region::Purpose;

pub(super) fn machine_like_kernel() -> Option<Machine> {
    if let Err(reason) = kernel::available() {
        eprintln!("skipped: {reason}");
        return None;
    }
    let cpus = kernel::possible_cpus().unwrap() as u32;
    Some(Machine::new(Host { cpus, ..Host::default() }).unwrap())
}

pub(super) fn spec(
    map_type: MapType,
    key_bytes: u32,
    value_bytes: u32,
    entries: u32,
    flags: u32,
) -> MapSpec {
    MapSpec {
        name: "m".into(),
        map_type,
        key_bytes,
        value_bytes,
        max_entries: entries,
        flags: MapFlags(flags),
        extra: 0,
        inner: None,
    }
}

pub(super) fn create_in_kernel(spec: &MapSpec) -> Result<kernel::Map, i32> {
    kernel_map(spec).map_err(errno)
}

pub(super) fn errno(error: kernel::Error) -> i32 {
    match error {
        kernel::Error::Kernel { errno, .. } => errno,
        other => panic!("{other}"),
    }
}

const VALUE_TYPES: [MapType; 4] =
    [MapType::ARRAY, MapType::HASH, MapType::PERCPU_ARRAY, MapType::PERCPU_HASH];

pub(super) fn same_creation(machine: &Machine, spec: &MapSpec) {
    let theirs = create_in_kernel(spec).map(drop);
    let ours = create(machine, spec.clone()).map(drop);
    match (&ours, &theirs) {
        (Ok(()), Ok(())) => {}
        (Err(MapError::Invalid { errno, .. }), Err(theirs)) if errno.0 == *theirs => {}
        (Err(MapError::Alloc(_)), Err(uapi::errno::ENOMEM)) => {}
        _ => panic!("{spec:?}: {ours:?}, but the kernel {theirs:?}"),
    }
}

#[test]
fn the_same_maps_can_be_created() {
    let Some(machine) = machine_like_kernel() else { return };
    // The two flags that come with a file descriptor need one.
    let with_descriptor = MapFlags::TOKEN_FD.0 | MapFlags::VTYPE_BTF_OBJ_FD.0;
    let mut flags: Vec<u32> =
        (0..32).map(|bit| 1 << bit).filter(|bit| bit & with_descriptor == 0).collect();
    let access = (0..16).map(|bits| (bits & 3) << 3 | (bits >> 2) << 7);
    flags.extend(access);
    flags.extend([1 | 1 << 6, 1 << 10 | 1 << 7, 1 << 10 | 1 << 12, 1 | 1 << 3, 1 << 3 | 1 << 10]);
    let mut types = VALUE_TYPES.to_vec();
    types.push(MapType::PROG_ARRAY);
    let mut compared = 0;
    for &map_type in &types {
        for &flags in &flags {
            for (key, value) in [(4, 4), (4, 8), (8, 8), (4, 0), (0, 4), (4, 1 << 31)] {
                same_creation(&machine, &spec(map_type, key, value, 2, flags));
                compared += 1;
            }
        }
        for key in [0, 1, 2, 3, 4, 5, 7, 8, 13, 511, 512, 513, 1024, 5000] {
            for value in [0, 1, 3, 4, 5, 8, 12, 513, 32760, 32761, 32767, 32768, 32769, 65536] {
                for entries in [0, 1, 3, 64] {
                    same_creation(&machine, &spec(map_type, key, value, entries, 0));
                    same_creation(&machine, &spec(map_type, key, value, entries, 1));
                    compared += 2;
                }
            }
        }
    }
    // The limits of sizes, at which no memory is committed on either side.
    let limit = (4 << 20) - 48;
    for key in [1, 4, 100] {
        for value in [limit - key - 1, limit - key, limit - key + 1, 1 << 22, i32::MAX as u32] {
            for map_type in [MapType::HASH, MapType::PERCPU_HASH] {
                same_creation(&machine, &spec(map_type, key, value, 1, 1));
                compared += 1;
            }
        }
    }
    for entries in [(1 << 27) + 1, 1 << 31, (1 << 31) + 1, u32::MAX] {
        same_creation(&machine, &spec(MapType::HASH, 4, 4, entries, 1));
        compared += 1;
    }
    eprintln!("{compared} creations compared");
}

/// SplitMix64.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    pub(super) fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.next() as u8).collect()
    }

    /// A key out of few: near the indices of an array, or with differences at either end.
    pub(super) fn key(&mut self, spec: &MapSpec) -> Vec<u8> {
        let mut key = vec![0; spec.key_bytes as usize];
        let number = self.below(u64::from(spec.max_entries) + 3);
        let number = if self.below(50) == 0 { u64::MAX } else { number }.to_le_bytes();
        let len = key.len().min(8);
        if self.below(2) == 0 || key.len() < 8 {
            key[..len].copy_from_slice(&number[..len]);
        } else {
            let start = key.len() - 2;
            key[start..].copy_from_slice(&number[..2]);
        }
        key
    }

    pub(super) fn flags(&mut self) -> u64 {
        match self.below(12) {
            0..=5 => 0,
            6 | 7 => 1,
            8 | 9 => 2,
            10 => self.below(9),
            _ => 1 << self.below(64),
        }
    }
}

/// A map on both sides.
pub(super) struct Pair {
    pub(super) ours: Arc<dyn Map>,
    pub(super) theirs: kernel::Map,
}

impl Pair {
    pub(super) fn new(machine: &Machine, spec: MapSpec) -> Pair {
        let theirs = create_in_kernel(&spec).unwrap();
        Pair { ours: create(machine, spec).unwrap(), theirs }
    }

    pub(super) fn read(&self, key: &[u8]) {
        let ours = match self.ours.read(key) {
            Err(errno) if errno.0 == uapi::errno::ENOENT => Ok(None),
            other => other.map(Some).map_err(|errno| errno.0),
        };
        let theirs = self.theirs.lookup(key).map_err(errno);
        assert_eq!(ours, theirs, "lookup of {key:x?} in {:?}", self.ours.spec());
    }

    pub(super) fn write(&self, key: &[u8], value: &[u8], flags: u64) {
        let ours = self.ours.write(key, value, flags).map_err(|errno| errno.0);
        let theirs = self.theirs.update(key, value, flags).map_err(errno);
        assert_eq!(ours, theirs, "update of {key:x?}, {flags:#x} in {:?}", self.ours.spec());
    }

    pub(super) fn remove(&self, key: &[u8]) {
        let ours = match self.ours.remove(key) {
            Err(errno) if errno.0 == uapi::errno::ENOENT => Ok(false),
            other => other.map(|()| true).map_err(|errno| errno.0),
        };
        let theirs = self.theirs.delete(key).map_err(errno);
        assert_eq!(ours, theirs, "delete of {key:x?} in {:?}", self.ours.spec());
    }

    pub(super) fn take(&self, key: &[u8]) {
        let ours = match self.ours.take(key) {
            Err(errno) if errno.0 == uapi::errno::ENOENT => Ok(None),
            other => other.map(Some).map_err(|errno| errno.0),
        };
        let theirs = self.theirs.take(key).map_err(errno);
        assert_eq!(ours, theirs, "look-up and removal of {key:x?} in {:?}", self.ours.spec());
    }

    pub(super) fn freeze(&self) {
        let ours = self.ours.freeze().map_err(|errno| errno.0);
        let theirs = self.theirs.freeze().map_err(errno);
        assert_eq!(ours, theirs, "freeze of {:?}", self.ours.spec());
    }

    pub(super) fn next_key(&self, key: Option<&[u8]>) {
        let ours = self.ours.next_key(key).map_err(|errno| errno.0);
        let theirs = self.theirs.next_key(key).map_err(errno);
        let spec = self.ours.spec();
        if matches!(
            spec.map_type,
            MapType::HASH | MapType::PERCPU_HASH | MapType::DEVMAP_HASH | MapType::LRU_HASH
        ) {
            assert_eq!(ours.is_err(), theirs.is_err(), "key after {key:x?} in {spec:?}");
            let missing = key.is_some_and(|key| self.ours.read(key).is_err());
            if ours.is_ok() && missing {
                let first = self.ours.next_key(None).unwrap();
                assert_eq!(ours, Ok(first), "after a missing key comes the first");
            }
        } else {
            assert_eq!(ours, theirs, "key after {key:x?} in {spec:?}");
        }
    }

    /// The keys are the same, and their values where the host may see them.
    pub(super) fn same_keys(&self) {
        self.next_key(None);
        if self.ours.next_key(None).is_ok() {
            for key in self.keys() {
                self.read(&key);
            }
        }
    }

    /// The keys of both sides, which must be the same.
    pub(super) fn keys(&self) -> Vec<Vec<u8>> {
        let most = self.ours.spec().max_entries as usize;
        let ours = sorted_keys(most, |key| self.ours.next_key(key).unwrap());
        let theirs = sorted_keys(most, |key| self.theirs.next_key(key).unwrap());
        assert_eq!(ours, theirs, "keys of {:?}", self.ours.spec());
        ours
    }
}

/// All keys, in order of value; asserts that they come to an end.
fn sorted_keys(most: usize, next: impl Fn(Option<&[u8]>) -> Option<Vec<u8>>) -> Vec<Vec<u8>> {
    let walk = std::iter::successors(next(None), |key| next(Some(key)));
    let mut keys: Vec<_> = walk.take(most + 1).collect();
    assert!(keys.len() <= most);
    keys.sort();
    keys
}

#[test]
fn the_host_gets_the_same_results() {
    let Some(machine) = machine_like_kernel() else { return };
    let mut random = Random(0x5eed);
    let mut operations = 0;
    let flags = [0, 0, 1, 1 << 3, 1 << 4, 1 << 7, 1 << 8, 1 | 1 << 7];
    for round in 0..120 {
        let map_type = VALUE_TYPES[round % VALUE_TYPES.len()];
        let hash = matches!(map_type, MapType::HASH | MapType::PERCPU_HASH);
        let key_bytes =
            if hash { [1, 2, 3, 4, 5, 7, 8, 12, 13, 16, 31, 40, 600][round / 4 % 13] } else { 4 };
        let value_bytes = [1, 2, 3, 4, 7, 8, 9, 24, 65, 500, 4100][random.below(11) as usize];
        let entries = [1, 2, 3, 5, 16, 33, 100][random.below(7) as usize];
        let mut flags = flags[random.below(8) as usize];
        if !hash {
            flags &= !1;
        }
        let pair = Pair::new(&machine, spec(map_type, key_bytes, value_bytes, entries, flags));
        assert_eq!(pair.ours.host_value_bytes(), pair.theirs.value_len());
        for _ in 0..400 {
            operations += 1;
            let key = random.key(pair.ours.spec());
            match random.below(20) {
                0..=8 => {
                    let value = random.bytes(pair.theirs.value_len());
                    pair.write(&key, &value, random.flags());
                }
                9..=13 => pair.read(&key),
                14..=17 => pair.remove(&key),
                18 => pair.next_key((random.below(8) != 0).then_some(&key)),
                _ if random.below(20) == 0 => pair.same_keys(),
                _ if random.below(50) == 0 => pair.freeze(),
                _ => {}
            }
        }
        pair.same_keys();
        pair.freeze();
        pair.freeze();
        pair.write(&random.key(pair.ours.spec()), &random.bytes(pair.theirs.value_len()), 0);
        pair.remove(&random.key(pair.ours.spec()));
    }
    eprintln!("{operations} operations compared");
}

/// Bytes of the value that test programs share with the host: result, flags, processor; key and
/// value follow.
const RESULT: usize = 0;
const FLAGS: usize = 8;
const CPU: usize = 16;
const KEY: usize = 24;

/// A program that calls a map helper (1 lookup, 2 update, 3 delete) as the shared value says.
fn helper_program(helper: u8, value_at: usize) -> Vec<[u8; 8]> {
    let value_at = (value_at as u32).to_le_bytes();
    let mut insns = vec![
        // r6 = the shared value; r7 = the processor
        [0x18, 0x66, 0, 0, 0, 0, 0, 0],
        [0; 8],
        [0x85, 0, 0, 0, 8, 0, 0, 0],
        [0x7b, 0x06, CPU as u8, 0, 0, 0, 0, 0],
        // r1 = the map, r2 = the key, r3 = the value, r4 = the flags
        [0x18, 0x51, 0, 0, 1, 0, 0, 0],
        [0; 8],
        [0xbf, 0x62, 0, 0, 0, 0, 0, 0],
        [0x07, 0x02, 0, 0, KEY as u8, 0, 0, 0],
        [0xbf, 0x63, 0, 0, 0, 0, 0, 0],
        [0x07, 0x03, 0, 0, value_at[0], value_at[1], value_at[2], value_at[3]],
        [0x79, 0x64, FLAGS as u8, 0, 0, 0, 0, 0],
        [0x85, 0, 0, 0, helper, 0, 0, 0],
    ];
    if helper == 1 {
        // if r0 != 0: r0 = 256 + *(u8 *)r0
        insns.extend([
            [0x15, 0, 2, 0, 0, 0, 0, 0],
            [0x71, 0x00, 0, 0, 0, 0, 0, 0],
            [0x07, 0x00, 0, 0, 0, 1, 0, 0],
        ]);
    }
    insns.extend([
        [0x7b, 0x06, RESULT as u8, 0, 0, 0, 0, 0],
        [0xb7, 0, 0, 0, 2, 0, 0, 0],
        [0x95, 0, 0, 0, 0, 0, 0, 0],
    ]);
    insns
}

#[test]
fn programs_get_the_same_results() {
    let Some(machine) = machine_like_kernel() else { return };
    let mut random = Random(0xb_ee);
    let mut calls = 0;
    let shapes = [(4, 8, 1, 0), (4, 3, 5, 0), (1, 1, 7, 0), (7, 13, 4, 1), (16, 64, 10, 0)];
    for map_type in VALUE_TYPES.into_iter().chain([MapType::LPM_TRIE]) {
        for (key_bytes, value_bytes, entries, flags) in shapes {
            let hash = matches!(map_type, MapType::HASH | MapType::PERCPU_HASH);
            let (key_bytes, flags) = match map_type {
                _ if hash => (key_bytes, flags),
                MapType::LPM_TRIE => (u32::next_multiple_of(key_bytes, 8), 1),
                _ => (4, 0),
            };
            let spec = spec(map_type, key_bytes, value_bytes, entries, flags);
            let pair = Pair::new(&machine, spec.clone());
            let value_at = KEY + (key_bytes as usize).next_multiple_of(8);
            let shared_bytes = value_at + value_bytes as usize;
            let shared = kernel::Map::create(&kernel::MapSpec {
                map_type: uapi::map_type::ARRAY,
                key_size: 4,
                value_size: shared_bytes as u32,
                max_entries: 1,
                ..kernel::MapSpec::default()
            })
            .unwrap();
            let programs: Vec<kernel::Program> = [1, 2, 3]
                .into_iter()
                .map(|helper| {
                    let mut insns = helper_program(helper, value_at);
                    kernel::relocate(&mut insns, &[&shared, &pair.theirs]).unwrap();
                    kernel::Program::load(&kernel::ProgSpec {
                        prog_type: uapi::prog_type::XDP,
                        insns: &insns,
                        licence: "MIT",
                        ..kernel::ProgSpec::default()
                    })
                    .unwrap()
                })
                .collect();
            let memory = machine.memory();
            let guest = memory.alloc(value_bytes, Perm::ReadWrite, Purpose::Memory).unwrap();
            for _ in 0..150 {
                calls += 1;
                let (key, value) = (random.key(&spec), random.bytes(value_bytes as usize));
                let flags = random.flags();
                let mut bytes = vec![0; shared_bytes];
                bytes[FLAGS..CPU].copy_from_slice(&flags.to_le_bytes());
                bytes[KEY..KEY + key.len()].copy_from_slice(&key);
                bytes[value_at..].copy_from_slice(&value);
                shared.update(&[0; 4], &bytes, 0).unwrap();
                let helper = [1, 2, 2, 3][random.below(4) as usize];
                let run = kernel::TestRun { data_in: &[0; 64], ..kernel::TestRun::default() };
                programs[helper - 1].test_run(&run).unwrap();
                let bytes = shared.lookup(&[0; 4]).unwrap().unwrap();
                let number = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
                let cpu = number(CPU) as u32;

                machine.epochs().enter(cpu);
                let result = |result: Result<(), crate::errno::Errno>| {
                    result.map_or_else(|errno| errno.to_return(), |()| 0)
                };
                memory.window().write(guest, &value).unwrap();
                let ours = match helper {
                    1 => pair.ours.lookup(cpu, &key).map_or(0, |at| {
                        let mut byte = [0];
                        memory.window().read(at, &mut byte).unwrap();
                        256 + u64::from(byte[0])
                    }),
                    2 => result(pair.ours.update(cpu, &key, Value::Guest(guest), flags)),
                    _ => result(pair.ours.delete(&key)),
                };
                machine.epochs().leave(cpu);
                assert_eq!(
                    ours as i64,
                    number(RESULT) as i64,
                    "helper {helper}, key {key:x?}, flags {flags:#x}: {spec:?}"
                );
                pair.read_as_programs_see(&key);
            }
            pair.keys();
        }
    }
    eprintln!("{calls} calls compared");
}

impl Pair {
    /// Compares values without the padding, which the kernel does not clear for programs.
    fn read_as_programs_see(&self, key: &[u8]) {
        let size = self.ours.spec().value_bytes as usize;
        let theirs = self.theirs.lookup_per_cpu(key).unwrap();
        let per_cpu =
            self.ours.host_value_bytes() != size || theirs.as_ref().is_some_and(|v| v.len() > 1);
        let stride = if per_cpu { size.next_multiple_of(8) } else { size };
        let ours = self.ours.read(key).ok().map(|bytes| {
            bytes.chunks(stride).map(|part| part[..size].to_vec()).collect::<Vec<_>>()
        });
        assert_eq!(ours, theirs);
    }
}

/// A program of a type that does nothing, on either side.
fn programs(machine: &Arc<Machine>, prog_type: ProgType) -> (Arc<Linked>, kernel::Program) {
    let slots = [[0xb7, 0, 0, 0, 0, 0, 0, 0], [0x95, 0, 0, 0, 0, 0, 0, 0]];
    let ours = Program::new(&slots.map(Slot::from_bytes).to_vec().into()).unwrap();
    let ours = machine.load("nothing", prog_type, ours, &[]).unwrap();
    let theirs = kernel::Program::load(&kernel::ProgSpec {
        prog_type: prog_type.0,
        insns: &slots,
        licence: "MIT",
        ..kernel::ProgSpec::default()
    });
    (Arc::clone(ours.linked()), theirs.unwrap())
}

#[test]
fn maps_of_programs_give_the_same_results() {
    let Some(machine) = machine_like_kernel() else { return };
    let machine = Arc::new(machine);
    let xdp = programs(&machine, ProgType::XDP);
    let filter = programs(&machine, ProgType::SOCKET_FILTER);
    for flags in [0, 1 << 3, 1 << 4] {
        let pair = Pair::new(&machine, spec(MapType::PROG_ARRAY, 4, 4, 3, flags));
        let set = |key: &[u8], (ours, theirs): &(Arc<Linked>, kernel::Program)| {
            let ours = pair.ours.set_program(key, Arc::clone(ours)).map_err(|errno| errno.0);
            let theirs = pair.theirs.update_program(key, theirs).map_err(errno);
            assert_eq!(ours, theirs, "program at {key:x?}, flags {flags:#x}");
        };
        // The kernel gives a number, which programs here do not have.
        let present = |key: &[u8; 4]| {
            let here = pair.ours.program(u32::from_le_bytes(*key)).is_some();
            assert_eq!(here, pair.theirs.lookup(key).unwrap().is_some(), "program at {key:x?}");
            let needed = if here { Errno::EOPNOTSUPP } else { Errno::ENOENT };
            assert_eq!(pair.ours.read(key), Err(needed));
        };
        let keys: [[u8; 4]; 5] = [0, 1, 2, 3, u32::MAX].map(u32::to_le_bytes);
        for key in &keys {
            pair.remove(key);
            set(key, &xdp);
            set(key, &filter);
            pair.next_key(Some(key));
            // No file has this descriptor.
            for update in [0, 1, 2, 4, 8] {
                pair.write(key, &u32::MAX.to_le_bytes(), update);
            }
            if flags & 1 << 4 == 0 {
                present(key);
            }
        }
        pair.next_key(None);
        pair.remove(&keys[1]);
        pair.remove(&keys[1]);
        pair.freeze();
        set(&keys[0], &xdp);
        pair.remove(&keys[0]);
    }
}
