//! Lookups in maps that machine code knows, on all engines.

use skep_bpf::platform::{MapType, ProgType};
use skep_bpf::program::Program;

use super::{Bench, map_spec, slots};
use crate::context::RawMemory;
use crate::cpu::Cpu;
use crate::machine::{Loaded, MapId};
use crate::run::{CompileFailure, Engine, Options, RunError};

const ENGINES: [Engine; 4] = [Engine::Fast, Engine::Checked, Engine::Template, Engine::Optimising];

/// How a run ends: the result and the instructions, or the trap.
fn outcome(bench: &mut Bench, loaded: &Loaded, engine: Engine, r: [u64; 2]) -> Option<String> {
    let mut bytes = vec![0; 16];
    for (part, value) in bytes.chunks_mut(8).zip(r) {
        part.copy_from_slice(&value.to_le_bytes());
    }
    let options = Options { engine, ..Options::default() };
    match loaded.run(&mut bench.cpu, &mut RawMemory { bytes }, options) {
        Ok(finished) => Some(format!("{finished:?}")),
        // The checked interpreter knows more about what a key leads to.
        Err(RunError::Trap(trap)) if engine == Engine::Checked => {
            Some(format!("{} trap", trap.slot))
        }
        Err(RunError::Trap(trap)) => Some(format!("{} {:?}", trap.slot, trap.kind)),
        Err(RunError::Compile { why: CompileFailure::NoTarget, .. }) => None,
        Err(other) => panic!("{other}"),
    }
}

/// Runs a program on all engines with the words that `r1` leads to; they must agree.
fn agree(bench: &mut Bench, text: &str, maps: &[MapId], words: [u64; 2]) -> String {
    let program = Program::new(&slots(text).into()).unwrap();
    let loaded = bench.machine.load("test", ProgType::UNSPEC, program, maps).unwrap();
    let expected = outcome(bench, &loaded, Engine::Fast, words).unwrap();
    for engine in ENGINES {
        let Some(found) = outcome(bench, &loaded, engine, words) else { continue };
        match found.strip_suffix(" trap") {
            Some(slot) => assert!(expected.starts_with(slot), "{text}\n{expected}"),
            None => assert_eq!(found, expected, "{engine:?} {words:x?}\n{text}"),
        }
    }
    expected
}

fn create(
    bench: &Bench,
    map_type: MapType,
    key_bytes: u32,
    value_bytes: u32,
    entries: u32,
) -> MapId {
    let id = bench.machine.create_map(map_spec(map_type, key_bytes, value_bytes, entries)).unwrap();
    let map = bench.machine.map(id).unwrap();
    for index in 0..entries.min(64) {
        let value = vec![index as u8 + 1; map.host_value_bytes()];
        map.write(&key(index, key_bytes), &value, 0).unwrap();
    }
    id
}

/// The key of an element; in arrays its index.
fn key(index: u32, key_bytes: u32) -> Vec<u8> {
    index.to_le_bytes().into_iter().cycle().take(key_bytes as usize).collect()
}

/// Looks up the key in the first word, repeated as [`key`] does, and adds to the address what is
/// found there.
const LOOKUP: &str = "r6 = *(u64 *)(r1 + 0)\n *(u32 *)(r10 - 16) = r6\n *(u32 *)(r10 - 12) = r6\n
     *(u32 *)(r10 - 8) = r6\n *(u32 *)(r10 - 4) = r6\n r2 = r10\n r2 += -16\n
     r1 = map_by_idx(0) ll\n call bpf_map_lookup_elem\n r7 = r0\n if r0 == 0 goto none\n
     r8 = *(u8 *)(r0 + 0)\n r7 += r8\n r7 <<= 8\n r7 += r1\n r7 += r5\n none: r0 = r7\n exit";

#[test]
fn elements_are_found_by_all_engines() {
    let kinds = [
        (MapType::ARRAY, 4, 1, 1),
        (MapType::ARRAY, 4, 8, 33),
        (MapType::ARRAY, 4, 24, 64),
        (MapType::ARRAY, 4, 4096, 7),
        (MapType::PERCPU_ARRAY, 4, 8, 33),
        (MapType::PERCPU_ARRAY, 4, 20, 3),
        (MapType::HASH, 4, 8, 40),
        (MapType::HASH, 8, 16, 40),
        (MapType::HASH, 12, 3, 40),
        (MapType::HASH, 16, 8, 40),
        (MapType::HASH, 7, 8, 40),
        (MapType::LRU_HASH, 16, 8, 40),
        (MapType::PERCPU_HASH, 8, 8, 40),
    ];
    let mut bench = Bench::new();
    for (map_type, key_bytes, value_bytes, entries) in kinds {
        let maps = [create(&bench, map_type, key_bytes, value_bytes, entries)];
        for word in [0, 1, 2, 6, 32, 33, 63, 64, 1 << 31, u32::MAX.into(), 1 << 32, u64::MAX] {
            let found = agree(&mut bench, LOOKUP, &maps, [word, 0]);
            let is_found = !found.contains("r0: 0,");
            let low = word as u32;
            let expected = low < entries && (key_bytes != 7 || low == 0 || low < 64);
            assert_eq!(is_found, expected, "{map_type} {word:#x}: {found}");
        }
    }
}

#[test]
fn processors_find_their_own_elements() {
    let mut bench = Bench::new();
    let maps = [create(&bench, MapType::PERCPU_ARRAY, 4, 8, 5)];
    let first = agree(&mut bench, LOOKUP, &maps, [3, 0]);
    let second = Cpu::new(&bench.machine).unwrap();
    let first_cpu = std::mem::replace(&mut bench.cpu, second);
    assert_ne!(agree(&mut bench, LOOKUP, &maps, [3, 0]), first);
    bench.cpu = first_cpu;
    assert_eq!(agree(&mut bench, LOOKUP, &maps, [3, 0]), first);
}

/// Keys where nothing is mapped, in the last bytes of what is, and in guards.
#[test]
fn keys_that_cannot_be_read_trap() {
    let mut bench = Bench::new();
    let text = "r6 = *(u64 *)(r1 + 0)\n r2 = r6\n r1 = map_by_idx(0) ll\n
                call bpf_map_lookup_elem\n exit";
    for (map_type, key_bytes) in
        [(MapType::ARRAY, 4), (MapType::PERCPU_ARRAY, 4), (MapType::HASH, 16)]
    {
        let maps = [create(&bench, map_type, key_bytes, 8, 9)];
        for addr in [0, 1, 0xffff_0000, u32::MAX.into(), 0xffff_fffd, 1 << 32, u64::MAX] {
            let found = agree(&mut bench, text, &maps, [addr, 0]);
            assert!(found.contains("HelperMemory") && found.contains("arg: 2"), "{found}");
        }
    }
}

/// The map is another on each way to the call, or comes out of memory, or is none.
#[test]
fn maps_that_are_not_known_are_asked_for() {
    let mut bench = Bench::new();
    let maps = [create(&bench, MapType::ARRAY, 4, 8, 9), create(&bench, MapType::HASH, 4, 8, 9)];
    let chosen = "r6 = *(u64 *)(r1 + 0)\n r7 = *(u64 *)(r1 + 8)\n *(u32 *)(r10 - 4) = r6\n
                  r2 = r10\n r2 += -4\n r1 = map_by_idx(0) ll\n if r7 == 0 goto first\n
                  r1 = map_by_idx(1) ll\n first: call bpf_map_lookup_elem\n
                  if r0 != 0 goto some\n exit\n some: r0 = *(u8 *)(r0 + 0)\n exit";
    let through = "r6 = *(u64 *)(r1 + 0)\n r7 = *(u64 *)(r1 + 8)\n *(u32 *)(r10 - 4) = r6\n
                   r3 = map_by_idx(1) ll\n *(u64 *)(r10 - 16) = r3\n r3 = map_by_idx(0) ll\n
                   r4 = r3\n r2 = r10\n r2 += -4\n r1 = *(u64 *)(r10 - 16)\n
                   if r7 != 0 goto second\n r1 = r4\n second: call bpf_map_lookup_elem\n
                   if r0 == 0 goto none\n r0 = *(u8 *)(r0 + 0)\n none: exit";
    let none = "r6 = *(u64 *)(r1 + 0)\n *(u64 *)(r10 - 8) = 0\n r2 = r10\n r2 += -8\n r1 = r6\n
                call bpf_map_lookup_elem\n exit";
    for key in [0, 8, 9] {
        for which in [0, 1] {
            let first = agree(&mut bench, chosen, &maps, [key, which]);
            assert_eq!(first.contains("r0: 0,"), key == 9, "{first}");
            let second = agree(&mut bench, through, &maps, [key, which]);
            assert_eq!(second.contains("r0: 0,"), key == 9, "{second}");
        }
    }
    for value in [0, 1, u64::MAX] {
        assert!(agree(&mut bench, none, &maps, [value, 0]).contains("NotAMap"));
    }
}

/// Keys whose bytes were stored otherwise than in one word, or changed since.
#[test]
fn keys_are_what_memory_holds_at_the_call() {
    let mut bench = Bench::new();
    let maps = [create(&bench, MapType::ARRAY, 4, 8, 60)];
    let stores = [
        "*(u32 *)(r10 - 4) = r6\n *(u8 *)(r10 - 3) = 0",
        "*(u64 *)(r10 - 8) = r6\n *(u32 *)(r10 - 4) = r6",
        "*(u32 *)(r10 - 4) = r6\n r3 = r10\n r3 += -4\n *(u32 *)(r3 + 0) = 5",
        "*(u32 *)(r10 - 4) = r6\n r3 = r10\n r3 += -8\n *(u64 *)(r3 + 2) = 5",
        "*(u32 *)(r10 - 4) = 7\n r3 = 3\n lock *(u32 *)(r10 - 4) += r3",
        "*(u32 *)(r10 - 4) = 7\n call f",
        "*(u32 *)(r10 - 4) = 7\n *(u32 *)(r10 - 5) = 0",
        "*(u32 *)(r10 - 4) = r6\n if r6 > 5 goto big\n *(u32 *)(r10 - 4) = 6\n big: r3 = 0",
    ];
    for store in stores {
        let text = format!(
            "r6 = *(u64 *)(r1 + 0)\n *(u64 *)(r10 - 8) = 0\n {store}\n r2 = r10\n r2 += -4\n
             r1 = map_by_idx(0) ll\n call bpf_map_lookup_elem\n if r0 == 0 goto none\n
             r0 = *(u8 *)(r0 + 0)\n none: exit\n f: r0 = 0\n exit"
        );
        for word in [0, 3, 59, 60, 0x1_0000_0002, u64::MAX] {
            agree(&mut bench, &text, &maps, [word, 0]);
        }
    }
}

/// Lookups in functions that are inlined, in loops, and of which both results are used.
#[test]
fn results_are_used_on_both_sides() {
    let mut bench = Bench::new();
    let maps = [create(&bench, MapType::ARRAY, 4, 8, 60)];
    let text = "r6 = *(u64 *)(r1 + 0)\n r7 = 0\n r8 = 0\n
        loop: r1 = r6\n r1 += r8\n call f\n r9 = r0\n
        if r9 != 0 goto some\n r7 += 1000\n r7 += r9\n goto next\n
        some: r7 += r9\n r9 = *(u8 *)(r9 + 0)\n r7 += r9\n
        next: r7 ^= r9\n r8 += 1\n if r8 < 9 goto loop\n r0 = r7\n exit\n
        f: *(u32 *)(r10 - 4) = r1\n r2 = r10\n r2 += -4\n r1 = map_by_idx(0) ll\n
        call bpf_map_lookup_elem\n exit";
    for word in [0, 55, 56, 60, u64::MAX - 3] {
        agree(&mut bench, text, &maps, [word, 0]);
    }
}
