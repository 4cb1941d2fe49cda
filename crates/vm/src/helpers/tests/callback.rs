//! Programs whose functions helpers call back, on all engines.

use skep_bpf::platform::{HelperId, MapFlags, MapType, ProgType};
use skep_bpf::program::Program;

use super::{Bench, slots};
use crate::context::RawMemory;
use crate::cpu::MAX_FRAMES;
use crate::machine::{Loaded, MapId};
use crate::maps::MapSpec;
use crate::run::{CompileFailure, Engine, Finished, Options, RunError};
use crate::trap::{Trap, TrapKind};

const ENGINES: [Engine; 4] = [Engine::Fast, Engine::Checked, Engine::Template, Engine::Optimising];

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

fn trap_of(bench: &mut Bench, loaded: &Loaded, options: Options) -> Option<Trap> {
    let mut input = RawMemory { bytes: vec![0; 8] };
    match loaded.run(&mut bench.cpu, &mut input, options) {
        Err(RunError::Trap(trap)) => Some(*trap),
        Err(RunError::Compile { why: CompileFailure::NoTarget, .. }) => None,
        other => panic!("{other:?}"),
    }
}

/// All engines trap at the same instruction; of memory, the checked interpreter says other things.
fn trap(bench: &mut Bench, text: &str, fuel: u64) -> Trap {
    let loaded = load_with(bench, text, &[]);
    let of = |bench: &mut Bench, engine| {
        trap_of(bench, &loaded, Options { engine, fuel, ..Options::default() })
    };
    let trap = of(bench, Engine::Fast).unwrap();
    for engine in [Engine::Checked, Engine::Template, Engine::Optimising] {
        let Some(other) = of(bench, engine) else { continue };
        assert_eq!((trap.slot, &trap.insn), (other.slot, &other.insn), "{engine:?} {text}");
        if engine != Engine::Checked || !matches!(trap.kind, TrapKind::Memory(_)) {
            assert_eq!(trap.kind, other.kind, "{engine:?} {text}");
        }
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
    for engine in ENGINES {
        let options = Options { engine, ..Options::default() };
        let Some(Trap { kind, .. }) = trap_of(&mut bench, &loaded, options) else { continue };
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
    for engine in ENGINES {
        for key in 0..5_u32 {
            map.write(&key.to_le_bytes(), &[0; 8], 0).unwrap();
        }
        let options = Options { engine, ..Options::default() };
        let mut input = RawMemory { bytes: vec![0; 8] };
        match loaded.run(&mut bench.cpu, &mut input, options) {
            Ok(finished) => assert_eq!(finished.r0, 5),
            Err(RunError::Compile { why: CompileFailure::NoTarget, .. }) => continue,
            Err(error) => panic!("{error}"),
        }
        assert_eq!(map.next_key(None).unwrap(), None);
    }
}

/// Fuel runs out at the same instruction, whatever is left of it: at calls, in functions, after
/// loops, and where calls are too deep as well.
#[test]
fn fuel_runs_out_at_the_same_place() {
    let mut bench = Bench::new();
    let texts = [
        "r6 = 0\n again: r1 = 3\n r2 = code_addr(f) ll\n r3 = 0\n r4 = 0\n call bpf_loop\n r6 += r0\n
         goto again\n
         f: r2 = 2\n more: r2 += -1\n if r2 != 0 goto more\n r0 = 0\n if r1 != 1 goto end\n
         r0 = 1\n end: exit",
        "r6 = 0\n again: r1 = 0\n r2 = code_addr(f) ll\n r3 = 0\n r4 = 0\n call bpf_loop\n r6 += r0\n
         goto again\n f: r0 = 0\n exit",
        "call f\n exit\n f: r1 = 2\n r2 = code_addr(f) ll\n r3 = 0\n r4 = 0\n call bpf_loop\n r0 = 0\n
         exit",
        "r6 = r10\n r6 += -8\n *(u64 *)(r10 - 8) = 0\n again: r1 = 2\n r2 = code_addr(f) ll\n
         if r6 == 0 goto again\n r3 = r6\n r4 = 0\n call bpf_loop\n goto again\n
         f: r6 = r2\n r1 = 2\n r2 = code_addr(g) ll\n r3 = r6\n r4 = 0\n call bpf_loop\n r0 = 0\n exit\n
         g: r0 = 0\n exit",
    ];
    for text in texts {
        for fuel in 1..80 {
            trap(&mut bench, text, fuel);
        }
    }
}

/// Functions that are not known before the call, that change registers, use their own frames, and
/// call further functions and helpers.
#[test]
fn functions_are_called_as_by_calls() {
    let mut bench = Bench::new();
    let chosen = "r6 = 6\n r7 = 7\n r8 = 8\n r9 = 9\n *(u64 *)(r10 - 8) = 100\n
        *(u64 *)(r10 - 16) = 1\n r5 = *(u64 *)(r1 + 0)\n r2 = code_addr(f) ll\n
        if r5 == 0 goto chosen\n r2 = code_addr(g) ll\n chosen: r1 = 5\n r3 = r10\n r3 += -16\n
        r4 = 0\n call bpf_loop\n r0 <<= 8\n r0 += r6\n r0 += r7\n r0 += r8\n r0 += r9\n
        r6 = *(u64 *)(r10 - 8)\n r0 += r6\n r6 = *(u64 *)(r10 - 16)\n r0 <<= 16\n r0 += r6\n
        r0 += r1\n r0 += r2\n r0 += r3\n r0 += r4\n r0 += r5\n exit\n
        f: r0 += r6\n r0 += r7\n r0 += r8\n r0 += r9\n r0 += r3\n r0 += r4\n r0 += r5\n
        r6 = r2\n r7 = r1\n *(u64 *)(r10 - 8) = r0\n r9 = 77\n r8 = *(u64 *)(r6 + 0)\n r8 += r7\n
        r8 += r0\n *(u64 *)(r6 + 0) = r8\n r1 = r7\n call h\n exit\n
        g: r6 = *(u64 *)(r2 + 0)\n r6 *= 3\n r6 += r1\n *(u64 *)(r2 + 0) = r6\n r0 = 0\n exit\n
        h: r0 = 0\n if r1 < 3 goto on\n r0 = r1\n r0 <<= 32\n on: exit";
    for which in [0_u64, 1] {
        let loaded = load_with(&bench, chosen, &[]);
        let mut input = RawMemory { bytes: which.to_le_bytes().to_vec() };
        let finished = bench.run(&loaded, &mut input);
        assert_eq!(finished.r0 >> 24, if which == 0 { 4 } else { 5 }, "{finished:?}");
    }
    let nested =
        "r1 = 4\n r2 = code_addr(f) ll\n r3 = r10\n r3 += -8\n *(u64 *)(r10 - 8) = 0\n r4 = 0\n
        call bpf_loop\n r0 = *(u64 *)(r10 - 8)\n exit\n
        f: r6 = r1\n *(u64 *)(r10 - 8) = 0\n r7 = r2\n r1 = 3\n r2 = code_addr(g) ll\n r3 = r10\n
        r3 += -8\n r4 = 0\n call bpf_loop\n r1 = *(u64 *)(r10 - 8)\n r1 *= r6\n
        r2 = *(u64 *)(r7 + 0)\n r2 += r1\n *(u64 *)(r7 + 0) = r2\n r0 = 0\n exit\n
        g: r3 = *(u64 *)(r2 + 0)\n r3 += r1\n r3 += 1\n *(u64 *)(r2 + 0) = r3\n r0 = 0\n exit";
    assert_eq!(run(&mut bench, nested, &[]).r0, (1 + 2 + 3) * (1 + 2 + 3));
    // Numbers of turns are 32 bits wide; flags are not.
    let wide =
        "r1 = 0x700000003 ll\n r2 = code_addr(f) ll\n r3 = 0\n r4 = 0\n call bpf_loop\n exit\n
        f: r0 = 0\n exit";
    assert_eq!(run(&mut bench, wide, &[]).r0, 3);
    let flags =
        "r1 = 3\n r2 = code_addr(f) ll\n r3 = 0\n r4 = 0x100000000 ll\n call bpf_loop\n exit\n
        f: r0 = 0\n exit";
    assert_eq!(run(&mut bench, flags, &[]).r0, -22_i64 as u64);
    // The upper half of what a function returns counts.
    let upper = "r1 = 3\n r2 = code_addr(f) ll\n r3 = 0\n r4 = 0\n call bpf_loop\n exit\n
        f: r0 = 1\n r0 <<= 40\n exit";
    assert_eq!(run(&mut bench, upper, &[]).r0, 1);
}

/// A trap in a function that a function called back calls back.
#[test]
fn the_innermost_trap_is_told() {
    let mut bench = Bench::new();
    let text = |what: &str| {
        format!(
            "r6 = *(u64 *)(r1 + 0)\n r1 = 4\n r2 = code_addr(f) ll\n if r6 == 99 goto go\n
             r2 = code_addr(f) ll\n go: r3 = 0\n r4 = 0\n call bpf_loop\n exit\n
             f: r6 = r1\n r1 = 3\n r2 = code_addr(g) ll\n if r6 == 99 goto go2\n
             r2 = code_addr(g) ll\n go2: r3 = r6\n r4 = 0\n call bpf_loop\n r0 = 0\n exit\n
             g: r0 = 0\n if r2 != 2 goto end\n {what}\n end: exit"
        )
    };
    for what in
        ["r0 = *(u64 *)(r0 + 0)", "call 9999", "r1 = 0\n r2 = 5\n r1 = 1\n r4 = 0\n call bpf_loop"]
    {
        let trap = trap(&mut bench, &text(what), 1000);
        assert!(trap.slot.0 > 20, "{trap}");
    }
}

#[test]
fn the_same_helpers_call_back_here_and_in_machine_code() {
    assert!(skep_jit::source::CALLING_BACK.into_iter().eq(super::super::callback::CALLING_BACK));
    assert_eq!(skep_jit::source::MAX_LOOPS, super::super::callback::MAX_LOOPS);
}
