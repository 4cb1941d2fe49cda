//! Programs whose functions helpers call back, on both engines.

use skep_bpf::platform::{HelperId, MapFlags, MapType, ProgType};
use skep_bpf::program::Program;

use super::{Bench, slots};
use crate::context::RawMemory;
use crate::cpu::MAX_FRAMES;
use crate::machine::{Loaded, MapId};
use crate::maps::MapSpec;
use crate::run::{Engine, Finished, Options, RunError};
use crate::trap::{Trap, TrapKind};

fn bench_with(map_type: MapType, entries: u32) -> (Bench, MapId) {
    let bench = Bench::new();
    let id = bench
        .machine
        .create_map(MapSpec {
            name: "map".into(),
            map_type,
            // A prefix's length and a byte at least.
            key_bytes: if map_type == MapType::LPM_TRIE { 8 } else { 4 },
            value_bytes: 8,
            max_entries: entries,
            flags: match map_type {
                MapType::LPM_TRIE => MapFlags::NO_PREALLOC,
                _ => MapFlags::default(),
            },
            extra: 0,
            inner: None,
        })
        .unwrap();
    (bench, id)
}

fn run(bench: &mut Bench, text: &str, maps: &[MapId]) -> Finished {
    let loaded = load_with(bench, text, maps);
    bench.run(&loaded, &mut RawMemory { bytes: vec![0; 8] })
}

fn load_with(bench: &Bench, text: &str, maps: &[MapId]) -> Loaded {
    let program = Program::new(&slots(text).into()).unwrap();
    bench.machine.load("test", ProgType::UNSPEC, program, maps).unwrap()
}

fn trap_of(bench: &mut Bench, loaded: &Loaded, options: Options) -> Trap {
    let mut input = RawMemory { bytes: vec![0; 8] };
    match loaded.run(&mut bench.cpu, &mut input, options) {
        Err(RunError::Trap(trap)) => *trap,
        other => panic!("{other:?}"),
    }
}

/// Both engines trap at the same instruction; of memory, they say different things.
fn trap(bench: &mut Bench, text: &str, fuel: u64) -> Trap {
    let loaded = load_with(bench, text, &[]);
    let of = |bench: &mut Bench, engine| {
        trap_of(bench, &loaded, Options { engine, fuel, ..Options::default() })
    };
    let trap = of(bench, Engine::Fast);
    let checked = of(bench, Engine::Checked);
    assert_eq!((trap.slot, &trap.insn), (checked.slot, &checked.insn));
    if !matches!(trap.kind, TrapKind::Memory(_)) {
        assert_eq!(trap.kind, checked.kind);
    }
    trap
}

/// Sums up the indices below a number in r6, up to the one that the function stops at.
fn sum(turns: u32, stop_at: u32) -> String {
    format!(
        "r9 = 7\n *(u64 *)(r10 - 8) = 0\n r1 = {turns}\n r2 = code_addr(add) ll\n r3 = r10\n
         r3 += -8\n r4 = 0\n call bpf_loop\n r0 <<= 32\n r1 = *(u64 *)(r10 - 8)\n r0 |= r1\n
         if r9 == 7 goto end\n r0 = -1\n end: exit\n
         add: r9 = 1\n r3 = *(u64 *)(r2 + 0)\n r3 += r1\n *(u64 *)(r2 + 0) = r3\n r0 = 0\n
         if r1 != {stop_at} goto on\n r0 = 1\n on: exit"
    )
}

#[test]
fn loops_call_a_function_so_often() {
    let mut bench = Bench::new();
    let before = 8 + 6;
    for (turns, stop_at, made, total) in
        [(10, 99, 10, 45), (10, 3, 4, 6), (1, 99, 1, 0), (0, 0, 0, 0)]
    {
        let finished = run(&mut bench, &sum(turns, stop_at), &[]);
        assert_eq!((finished.r0 >> 32, finished.r0 as u32), (made, total), "{turns} turns");
        // Every turn counts, and one more instruction in the one that stops.
        let stopped = u64::from(made < u64::from(turns));
        let own = finished.insns.expect("interpreters count") - 7 * made - stopped;
        assert_eq!(own, before - 1, "{turns} turns");
    }
}

#[test]
fn loops_refuse_what_the_kernel_refuses() {
    let mut bench = Bench::new();
    let text = |turns: u32, flags: u32| {
        format!(
            "r1 = {turns}\n r2 = code_addr(f) ll\n r3 = 0\n r4 = {flags}\n call bpf_loop\n exit\n
             f: r0 = 0\n exit"
        )
    };
    let [einval, e2big] = [22, 7].map(|error: i64| -error as u64);
    assert_eq!(run(&mut bench, &text(1, 1), &[]).r0, einval);
    assert_eq!(run(&mut bench, &text(8 * 1024 * 1024 + 1, 0), &[]).r0, e2big);
    // A number is no function.
    let trap = trap(&mut bench, "r1 = 1\n r2 = 5\n r4 = 0\n call bpf_loop\n exit", 1000);
    assert_eq!((trap.kind, trap.slot.0), (TrapKind::NotAFunction { value: 5 }, 3));
}

#[test]
fn traps_are_where_they_happen() {
    let mut bench = Bench::new();
    let text = "r1 = 9\n r2 = code_addr(f) ll\n r4 = 0\n call bpf_loop\n exit\n
                f: if r1 < 3 goto ok\n r0 = *(u64 *)(r1 + 0)\n ok: r0 = 0\n exit";
    let trap_in_function = trap(&mut bench, text, 1000);
    assert_eq!(trap_in_function.slot.0, 7, "{trap_in_function}");
    let endless = "r1 = 8000000\n r2 = code_addr(f) ll\n r4 = 0\n call bpf_loop\n exit\n
                   f: r0 = 0\n exit";
    let out = trap(&mut bench, endless, 3_000_000);
    assert_eq!(out.kind, TrapKind::OutOfFuel { fuel: 3_000_000 });
    let nested = "call f\n exit\n f: r1 = 1\n r2 = code_addr(f) ll\n r4 = 0\n call bpf_loop\n exit";
    assert_eq!(trap(&mut bench, nested, 1000).kind, TrapKind::CallDepth { limit: MAX_FRAMES });
}

#[test]
fn elements_of_maps_are_walked() {
    let walk = "r1 = map_by_idx(0) ll\n r2 = code_addr(f) ll\n *(u64 *)(r10 - 8) = 0\n r3 = r10\n
                r3 += -8\n r4 = 0\n call bpf_for_each_map_elem\n r0 <<= 32\n
                r1 = *(u64 *)(r10 - 8)\n r0 |= r1\n exit\n
                f: r2 = *(u32 *)(r2 + 0)\n r3 = *(u64 *)(r3 + 0)\n r2 += r3\n
                r1 = *(u64 *)(r4 + 0)\n r1 += r2\n *(u64 *)(r4 + 0) = r1\n r0 = 0\n exit";
    for map_type in [MapType::ARRAY, MapType::HASH, MapType::LRU_HASH] {
        let (mut bench, id) = bench_with(map_type, 8);
        let map = bench.machine.map(id).unwrap();
        for key in 0..5_u32 {
            map.write(&key.to_le_bytes(), &(100 * u64::from(key)).to_le_bytes(), 0).unwrap();
        }
        let finished = run(&mut bench, walk, &[id]);
        // All elements of an array exist.
        let (elements, keys) = if map_type == MapType::ARRAY { (8, 28) } else { (5, 10) };
        assert_eq!((finished.r0 >> 32, finished.r0 as u32), (elements, keys + 1000), "{map_type}");
    }
    let (mut bench, id) = bench_with(MapType::LPM_TRIE, 8);
    let loaded = load_with(&bench, walk, &[id]);
    for engine in [Engine::Fast, Engine::Checked] {
        let kind = trap_of(&mut bench, &loaded, Options { engine, ..Options::default() }).kind;
        let needed = "a map whose elements can be walked";
        let helper = HelperId::FOR_EACH_MAP_ELEM;
        assert_eq!(kind, TrapKind::HelperContext { helper, needed });
    }
}

/// What a function deletes is not visited any more, and nothing that it deletes is lost.
#[test]
fn functions_may_delete_what_they_are_called_for() {
    let (mut bench, id) = bench_with(MapType::HASH, 8);
    let text = "r1 = map_by_idx(0) ll\n r2 = code_addr(f) ll\n r3 = 0\n r4 = 0\n
                call bpf_for_each_map_elem\n exit\n
                f: call bpf_map_delete_elem\n r0 = 0\n exit";
    let map = std::sync::Arc::clone(bench.machine.map(id).unwrap());
    let loaded = load_with(&bench, text, &[id]);
    for engine in [Engine::Fast, Engine::Checked] {
        for key in 0..5_u32 {
            map.write(&key.to_le_bytes(), &[0; 8], 0).unwrap();
        }
        let options = Options { engine, ..Options::default() };
        let mut input = RawMemory { bytes: vec![0; 8] };
        let finished = loaded.run(&mut bench.cpu, &mut input, options).unwrap();
        assert_eq!(finished.r0, 5);
        assert_eq!(map.next_key(None).unwrap(), None);
    }
}
