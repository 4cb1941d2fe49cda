//! Tests against the live kernel; each says so and returns where bpf(2) cannot be used.

use crate::available::SMALLEST;
use crate::uapi::{errno, log_level, map_flag, map_type, prog_type, pseudo, update_flag};
use crate::{
    Btf, Call, Counters, Error, Map, MapBtf, MapSpec, ProgBtf, ProgSpec, Program, TestRun,
    available, possible_cpus, relocate,
};

/// Whether bpf(2) can be used; prints why not.
fn kernel_is_here() -> bool {
    match available() {
        Ok(()) => true,
        Err(reason) => {
            eprintln!("skipped: {reason}");
            false
        }
    }
}

/// One slot, in the byte order of this machine.
fn insn(opcode: u8, dst: u8, src: u8, offset: i16, imm: i32) -> [u8; 8] {
    let registers = if cfg!(target_endian = "little") { src << 4 | dst } else { dst << 4 | src };
    let [o0, o1] = offset.to_ne_bytes();
    let [i0, i1, i2, i3] = imm.to_ne_bytes();
    [opcode, registers, o0, o1, i0, i1, i2, i3]
}

const EXIT: [u8; 8] = [0x95, 0, 0, 0, 0, 0, 0, 0];

fn xdp(insns: &[[u8; 8]]) -> ProgSpec<'_> {
    ProgSpec { prog_type: prog_type::XDP, insns, licence: "MIT", ..ProgSpec::default() }
}

fn map(map_type: u32, key_size: u32, value_size: u32, max_entries: u32) -> Map {
    let spec = MapSpec { map_type, key_size, value_size, max_entries, ..MapSpec::default() };
    Map::create(&spec).unwrap()
}

#[test]
fn the_smallest_program_loads_and_runs() {
    if !kernel_is_here() {
        return;
    }
    let spec = ProgSpec { name: "smallest", log_level: log_level::TRACE, ..xdp(&SMALLEST) };
    let program = Program::load(&spec).unwrap();
    assert!(program.log().contains("(b7) r0 = 2"), "{}", program.log());
    let counters = program.counters().unwrap();
    assert_eq!((counters.processed_insns, counters.limit), (2, 1_000_000));
    let info = program.info().unwrap();
    assert_eq!((info.verified_insns, info.gpl_compatible), (2, false));
    let translated = program.translated().unwrap();
    assert_eq!(translated.len() * 8, info.translated_len as usize);
    assert_eq!(translated.last(), Some(&EXIT));
    let machine_code = program.machine_code().unwrap();
    assert!(machine_code.is_empty() || machine_code.len() == info.machine_code_len as usize);

    let packet: Vec<u8> = (0..60).collect();
    let run = TestRun { data_in: &packet, repeat: 100, ..TestRun::default() };
    let result = program.test_run(&run).unwrap();
    assert_eq!(result.retval, 2);
    assert_eq!(result.data_out, packet);
    assert_eq!(result.data_len, 60);
    assert!(result.ctx_out.is_empty());
}

#[test]
fn output_without_room_is_measured_or_refused() {
    if !kernel_is_here() {
        return;
    }
    let program = Program::load(&xdp(&SMALLEST)).unwrap();
    let run = TestRun { data_in: &[1; 60], data_size_out: Some(0), ..TestRun::default() };
    let result = program.test_run(&run).unwrap();
    assert_eq!((result.data_out, result.data_len), (Vec::new(), 60));
    let error = program.test_run(&TestRun { data_size_out: Some(20), ..run }).unwrap_err();
    assert_eq!(error, Error::Kernel { call: Call::TestRun, errno: errno::ENOSPC });
    let error = program.test_run(&TestRun { data_in: &[1; 13], ..run }).unwrap_err();
    assert_eq!(error.errno(), Some(errno::EINVAL));
    let error = program.test_run(&TestRun { flags: 2, ..run }).unwrap_err();
    assert_eq!(error, Error::LiveFrames);
}

#[test]
fn contexts_go_in_and_come_out() {
    if !kernel_is_here() {
        return;
    }
    // r0 = mark; mark = 5; exit, on `struct __sk_buff`, where mark is the third word.
    let insns = [insn(0x61, 0, 1, 8, 0), insn(0xb7, 2, 0, 0, 5), insn(0x63, 1, 2, 8, 0), EXIT];
    let spec = ProgSpec { prog_type: prog_type::SCHED_CLS, ..xdp(&insns) };
    let program = Program::load(&spec).unwrap();
    let mut context = [0; 192];
    context[8..12].copy_from_slice(&77u32.to_ne_bytes());
    let result = program
        .test_run(&TestRun {
            data_in: &[0; 64],
            ctx_in: &context,
            ctx_size_out: 192,
            ..TestRun::default()
        })
        .unwrap();
    assert_eq!(result.retval, 77);
    assert_eq!(result.ctx_out.get(8..12), Some(&5u32.to_ne_bytes()[..]));
    assert_eq!(result.data_out.len(), 64);
}

#[test]
fn system_call_programs_write_their_context_in_place() {
    if !kernel_is_here() {
        return;
    }
    // *(u32 *)(r1 + 4) = 9; r0 = 1; exit
    let insns = [insn(0x62, 1, 0, 4, 9), insn(0xb7, 0, 0, 0, 1), EXIT];
    let flags = crate::uapi::prog_flag::SLEEPABLE;
    let spec = ProgSpec { prog_type: prog_type::SYSCALL, flags, ..xdp(&insns) };
    let program = Program::load(&spec).unwrap();
    let context = [1; 8];
    let run = TestRun { ctx_in: &context, ..TestRun::default() };
    let result = program.test_run(&run).unwrap();
    assert_eq!(result.retval, 1);
    assert_eq!(result.ctx_out, [&[1; 4][..], &9u32.to_ne_bytes()].concat());
    assert_eq!(context, [1; 8]);
}

#[test]
fn hash_maps_keep_what_is_put_in() {
    if !kernel_is_here() {
        return;
    }
    let map = map(map_type::HASH, 4, 12, 16);
    for key in 0u8..10 {
        map.update(&[key; 4], &[key + 100; 12], update_flag::NOEXIST).unwrap();
    }
    assert_eq!(map.lookup(&[3; 4]).unwrap(), Some(vec![103; 12]));
    assert_eq!(map.lookup(&[99; 4]).unwrap(), None);
    let again = map.update(&[3; 4], &[0; 12], update_flag::NOEXIST).unwrap_err();
    assert_eq!(again, Error::Kernel { call: Call::MapUpdate, errno: errno::EEXIST });
    assert_eq!((map.delete(&[3; 4]), map.delete(&[3; 4])), (Ok(true), Ok(false)));
    assert_eq!(map.take(&[4; 4]).unwrap(), Some(vec![104; 12]));

    let mut entries = map.entries().unwrap();
    entries.sort();
    let expected: Vec<_> =
        [0u8, 1, 2, 5, 6, 7, 8, 9].iter().map(|&key| (vec![key; 4], vec![key + 100; 12])).collect();
    assert_eq!(entries, expected);

    assert_eq!(map.lookup(&[0; 5]), Err(Error::KeyLength { needed: 4, found: 5 }));
    let short = map.update(&[0; 4], &[0; 8], update_flag::ANY);
    assert_eq!(short, Err(Error::ValueLength { needed: 12, found: 8 }));
    map.freeze().unwrap();
    let frozen = map.update(&[0; 4], &[0; 12], update_flag::ANY).unwrap_err();
    assert_eq!(frozen.errno(), Some(errno::EPERM));
}

#[test]
fn queues_have_no_keys() {
    if !kernel_is_here() {
        return;
    }
    let queue = map(map_type::QUEUE, 0, 4, 4);
    for value in [7u32, 8] {
        queue.update(&[], &value.to_ne_bytes(), update_flag::ANY).unwrap();
    }
    assert_eq!(queue.lookup(&[]).unwrap(), Some(7u32.to_ne_bytes().to_vec()));
    assert_eq!(queue.take(&[]).unwrap(), Some(7u32.to_ne_bytes().to_vec()));
    assert_eq!(queue.take(&[]).unwrap(), Some(8u32.to_ne_bytes().to_vec()));
    assert_eq!(queue.take(&[]).unwrap(), None);
}

#[test]
fn bloom_filters_are_asked_with_a_value() {
    if !kernel_is_here() {
        return;
    }
    let filter = map(map_type::BLOOM_FILTER, 0, 4, 100);
    filter.update(&[], &[1, 2, 3, 4], update_flag::ANY).unwrap();
    assert_eq!(filter.lookup_into(&[], &mut [1, 2, 3, 4], 0), Ok(true));
    assert_eq!(filter.lookup_into(&[], &mut [4, 3, 2, 1], 0), Ok(false));
}

/// `r1 = value of key 0 of map 0; *(u32 *)(r1) += 1; r0 = 2; exit`, with a null check.
fn count_runs() -> [[u8; 8]; 11] {
    [
        insn(0x62, 10, 0, -4, 0),
        insn(0xbf, 2, 10, 0, 0),
        insn(0x07, 2, 0, 0, -4),
        insn(0x18, 1, pseudo::MAP_IDX, 0, 0),
        [0; 8],
        insn(0x85, 0, 0, 0, 1),
        insn(0x15, 0, 0, 2, 0),
        insn(0xb7, 1, 0, 0, 1),
        insn(0xc3, 0, 1, 0, 0),
        insn(0xb7, 0, 0, 0, 2),
        EXIT,
    ]
}

#[test]
fn values_of_all_cpus_sum_up() {
    if !kernel_is_here() {
        return;
    }
    let cpus = possible_cpus().unwrap();
    // Five bytes are padded to eight for each CPU.
    let counter = map(map_type::PERCPU_ARRAY, 4, 5, 1);
    assert_eq!(counter.value_len(), 8 * cpus);
    let key = 0u32.to_ne_bytes();
    counter.update_all_cpus(&key, &[10, 0, 0, 0, 1], update_flag::ANY).unwrap();
    let mut insns = count_runs();
    assert_eq!(relocate(&mut insns, &[&counter]), Ok(1));
    let program = Program::load(&xdp(&insns)).unwrap();
    let run = TestRun { data_in: &[0; 64], repeat: 37, ..TestRun::default() };
    assert_eq!(program.test_run(&run).unwrap().retval, 2);

    let values = counter.lookup_per_cpu(&key).unwrap().unwrap();
    assert_eq!(values.len(), cpus);
    let mut sum = 0;
    for value in &values {
        assert_eq!((value.len(), value[4]), (5, 1));
        sum += u32::from_ne_bytes([value[0], value[1], value[2], value[3]]);
    }
    let filled = if cfg!(target_endian = "little") { 10 } else { 10 << 24 };
    assert_eq!(sum, filled * cpus as u32 + 37);
    assert_eq!(counter.lookup_per_cpu(&1u32.to_ne_bytes()), Ok(None));
}

#[test]
fn values_are_named_by_index_and_offset() {
    if !kernel_is_here() {
        return;
    }
    let globals = map(map_type::ARRAY, 4, 16, 1);
    globals.update(&[0; 4], &[9; 16], update_flag::ANY).unwrap();
    // r1 = address of byte 8 of the value; r0 = *(u8 *)(r1)
    let mut insns = [
        insn(0x18, 1, pseudo::MAP_IDX_VALUE, 0, 0),
        insn(0, 0, 0, 0, 8),
        insn(0x71, 0, 1, 0, 0),
        EXIT,
    ];
    relocate(&mut insns, std::slice::from_ref(&globals)).unwrap();
    assert_eq!(insns[1], insn(0, 0, 0, 0, 8));
    let program = Program::load(&xdp(&insns)).unwrap();
    let run = TestRun { data_in: &[0; 14], ..TestRun::default() };
    assert_eq!(program.test_run(&run).unwrap().retval, 9);
}

#[test]
fn maps_hold_programs_and_maps() {
    if !kernel_is_here() {
        return;
    }
    let programs = map(map_type::PROG_ARRAY, 4, 4, 2);
    let callee = Program::load(&xdp(&SMALLEST)).unwrap();
    programs.update_program(&1u32.to_ne_bytes(), &callee).unwrap();
    let id = callee.info().unwrap().id.to_ne_bytes().to_vec();
    assert_eq!(programs.lookup(&1u32.to_ne_bytes()).unwrap(), Some(id));
    // tail_call(ctx, map 0, 1); r0 = 4 if that fails
    let mut insns = [
        insn(0x18, 2, pseudo::MAP_IDX, 0, 0),
        [0; 8],
        insn(0xb7, 3, 0, 0, 1),
        insn(0x85, 0, 0, 0, 12),
        insn(0xb7, 0, 0, 0, 4),
        EXIT,
    ];
    relocate(&mut insns, &[&programs]).unwrap();
    let caller = Program::load(&xdp(&insns)).unwrap();
    let run = TestRun { data_in: &[0; 64], ..TestRun::default() };
    assert_eq!(caller.test_run(&run).unwrap().retval, 2);
    assert_eq!(programs.delete(&1u32.to_ne_bytes()), Ok(true));
    assert_eq!(caller.test_run(&run).unwrap().retval, 4);

    let inner = map(map_type::ARRAY, 4, 8, 1);
    let outer = Map::create(&MapSpec {
        map_type: map_type::HASH_OF_MAPS,
        key_size: 4,
        value_size: 4,
        max_entries: 4,
        inner: Some(&inner),
        ..MapSpec::default()
    })
    .unwrap();
    outer.update_map(&[1; 4], &inner).unwrap();
    assert_eq!(outer.entries().unwrap().len(), 1);
    let other = map(map_type::ARRAY, 4, 16, 1);
    let unlike = outer.update_map(&[1; 4], &other).unwrap_err();
    assert_eq!(unlike.errno(), Some(errno::EINVAL));
}

#[test]
fn a_rejection_has_the_kernels_reason() {
    if !kernel_is_here() {
        return;
    }
    let spec = ProgSpec { log_level: log_level::REASON, ..xdp(&[EXIT]) };
    let rejection = Program::load(&spec).unwrap_err();
    let error = Error::Kernel { call: Call::ProgLoad, errno: errno::EACCES };
    assert_eq!((&rejection.error, rejection.log_truncated), (&error, false));
    assert_eq!(rejection.reason(), Some("R0 !read_ok"));
    assert_eq!(rejection.to_string(), "BPF_PROG_LOAD failed: EACCES (13): R0 !read_ok");
    assert_eq!(Counters::find(&rejection.log).unwrap().processed_insns, 1);

    let silent = Program::load(&xdp(&[EXIT])).unwrap_err();
    assert_eq!((silent.errno(), silent.log.as_str()), (Some(errno::EACCES), ""));
}

#[test]
fn long_logs_are_read_whole() {
    if !kernel_is_here() {
        return;
    }
    let mut insns = vec![insn(0xb7, 0, 0, 0, 1); 2000];
    insns.push(EXIT);
    let level = log_level::TRACE;
    let spec = ProgSpec { log_level: level, log_size: 64, ..xdp(&insns) };
    let program = Program::load(&spec).unwrap();
    // The walk's lines have the state behind them; the listing of live registers, in newer kernels'
    // logs, has not.
    let moves = program.log().lines().filter(|line| line.contains("(b7) r0 = 1 ")).count();
    assert_eq!(moves, 2000);
    assert!(program.log().contains("\n2000: (95) exit"));

    let cut = Program::load(&ProgSpec { log_limit: 300, ..spec }).unwrap_err();
    assert_eq!((cut.errno(), cut.log_truncated), (Some(errno::ENOSPC), true));
    assert_eq!(cut.log.len(), 299);
    assert!(Counters::find(&cut.log).is_some());
}

/// BTF with `int` (1), `int (void)` (2) and the function `main` (3), and a source line.
fn small_btf() -> (Vec<u8>, u32) {
    let mut strings = b"\0int\0main\0".to_vec();
    let line = strings.len() as u32;
    strings.extend_from_slice(b"return 2;\0");
    let kind = |kind: u32| kind << 24;
    let types = [
        // BTF_KIND_INT: name, info, size, signed and 32 bits
        [1, kind(1), 4, 1 << 24 | 32].as_slice(),
        // BTF_KIND_FUNC_PROTO without parameters, returning type 1
        &[0, kind(13), 1],
        // BTF_KIND_FUNC of type 2, global
        &[5, kind(12) | 1, 2],
    ]
    .concat();
    let type_len = types.len() as u32 * 4;
    let mut btf = 0xeb9f_u16.to_ne_bytes().to_vec();
    btf.extend_from_slice(&[1, 0]);
    for word in [24, 0, type_len, type_len, strings.len() as u32].iter().chain(&types) {
        btf.extend_from_slice(&word.to_ne_bytes());
    }
    btf.extend_from_slice(&strings);
    (btf, line)
}

#[test]
fn btf_gives_functions_and_lines_to_programs_and_types_to_maps() {
    if !kernel_is_here() {
        return;
    }
    let (bytes, line) = small_btf();
    let btf = Btf::load(&bytes).unwrap();
    let words = |words: &[u32]| words.iter().flat_map(|word| word.to_ne_bytes()).collect();
    let func_info: Vec<u8> = words(&[0, 3]);
    let line_info: Vec<u8> = words(&[0, line, line, 7 << 10 | 3]);
    let debug = ProgBtf {
        btf: &btf,
        func_info: &func_info,
        func_info_rec_size: 8,
        line_info: &line_info,
        line_info_rec_size: 16,
    };
    let level = log_level::TRACE;
    let spec = ProgSpec { btf: Some(debug), log_level: level, ..xdp(&SMALLEST) };
    let program = Program::load(&spec).unwrap();
    assert!(program.log().contains("; return 2;"), "{}", program.log());

    let short = ProgBtf { func_info: &func_info[..7], ..debug };
    let refused = Program::load(&ProgSpec { btf: Some(short), ..spec }).unwrap_err();
    assert_eq!(refused.error, Error::RecordSize { len: 7, record_size: 8 });

    let typed = |value_size| {
        Map::create(&MapSpec {
            map_type: map_type::ARRAY,
            key_size: 4,
            value_size,
            max_entries: 1,
            name: "typed",
            btf: Some(MapBtf { btf: &btf, key_type_id: 1, value_type_id: 1 }),
            ..MapSpec::default()
        })
    };
    assert!(typed(4).is_ok());
    assert_eq!(typed(8).unwrap_err().errno(), Some(errno::EINVAL));
}

#[test]
fn bad_btf_is_refused_with_a_log() {
    if !kernel_is_here() {
        return;
    }
    let (mut bytes, _) = small_btf();
    bytes[24 + 4 * 3] = 200;
    let refused = Btf::load(&bytes).unwrap_err();
    let error = Error::Kernel { call: Call::BtfLoad, errno: errno::EINVAL };
    assert_eq!(refused.error, error);
    assert!(refused.log.contains("INT"), "{}", refused.log);
}

#[test]
fn what_cannot_be_made_is_refused_before_the_call() {
    if !kernel_is_here() {
        return;
    }
    let spec = |map_type| MapSpec { map_type, value_size: 4, ..MapSpec::default() };
    assert_eq!(Map::create(&spec(map_type::STRUCT_OPS)).unwrap_err(), Error::StructOps);
    assert_eq!(Map::create(&spec(999)).unwrap_err(), Error::MapType { map_type: 999 });
    let huge = MapSpec { value_size: u32::MAX, ..spec(map_type::HASH) };
    let refused = Map::create(&MapSpec { key_size: 4, max_entries: 1, ..huge }).unwrap_err();
    assert_eq!(refused, Error::Kernel { call: Call::MapCreate, errno: errno::E2BIG });
    let name = "a name of more than fifteen bytes";
    let named = MapSpec { name, flags: map_flag::NO_PREALLOC, ..spec(map_type::HASH) };
    assert_eq!(Map::create(&named).unwrap_err(), Error::Name { name: name.to_owned() });
    let licence = ProgSpec { licence: "GPL\0", ..xdp(&SMALLEST) };
    assert!(matches!(Program::load(&licence).unwrap_err().error, Error::Licence { .. }));
}
