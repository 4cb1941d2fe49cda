//! Tail calls, compared with the live kernel.

use skep_bpf::codec::Slot;
use skep_bpf::platform::{MapFlags, MapType, ProgType};
use skep_bpf::program::Program;
use skep_kernel::{Btf, ProgBtf, ProgSpec, relocate};

use super::map::map;
use super::{Bench, kernel_is_here, kernel_run, slots};
use crate::context::{RawMemory, Xdp};
use crate::run::{Engine, Options, RunError};
use crate::trap::TrapKind;

/// Counts in the packet how often it runs, and calls itself through `index` of a map.
fn counts_and_calls(index: &str) -> Vec<Slot> {
    let mut code = slots(&format!(
        "r6 = r1
         r2 = *(u32 *)(r1 + 0)
         r3 = *(u32 *)(r1 + 4)
         r4 = r2
         r4 += 2
         if r4 > r3 goto out
         r4 = *(u8 *)(r2 + 0)
         r4 += 1
         *(u8 *)(r2 + 0) = r4
         r5 = *(u8 *)(r2 + 1)
         r1 = r6
         r2 = 0 ll
         {index}
         call bpf_tail_call
         out:
         r0 = 2
         exit"
    ));
    let load = code.iter_mut().find(|slot| slot.is_wide()).unwrap();
    // The map of index 0.
    load.regs |= 5 << 4;
    code
}

#[test]
fn tail_calls_end_as_in_the_kernel() {
    if !kernel_is_here() {
        return;
    }
    let mut bench = Bench::new();
    for (index, second_byte, runs) in [
        ("r3 = 0", 0, 34),
        ("r3 = 1", 0, 1),
        ("r3 = 4", 0, 1),
        ("r3 = 0x500000000 ll", 0, 34),
        ("r3 = -1", 0, 1),
        ("r3 = r5", 0, 34),
        ("r3 = r5", 9, 1),
    ] {
        let mut packet = vec![0; 60];
        packet[1] = second_byte;
        let code = counts_and_calls(index);
        let id = map(&bench, MapType::PROG_ARRAY, 4, 4, MapFlags::default());
        let program = Program::new(&code.clone().into()).unwrap();
        let loaded = bench.machine.load("test", ProgType::XDP, program, &[id]).unwrap();
        let programs = bench.machine.map(id).unwrap();
        programs.set_program(&[0; 4], loaded.linked().clone()).unwrap();
        let mut here = Xdp::new(packet.clone());
        assert_eq!(bench.run(&loaded, &mut here).r0, 2);
        assert_eq!(here.packet[0], runs, "{index}");

        let (kernel, _programs) = calling_itself(code);
        let there = kernel_run(&kernel, &packet, &[]).unwrap();
        assert_eq!(here.packet, there.data_out, "{index}");
    }
}

/// The program in the kernel, and the map that leads to it until it is dropped.
fn calling_itself(code: Vec<Slot>) -> (skep_kernel::Program, skep_kernel::Map) {
    let spec = skep_kernel::MapSpec {
        map_type: MapType::PROG_ARRAY.0,
        key_size: 4,
        value_size: 4,
        max_entries: 4,
        ..skep_kernel::MapSpec::default()
    };
    let programs = skep_kernel::Map::create(&spec).unwrap();
    // Functions that make tail calls must have types, and return int.
    let btf = Btf::load(&btf_of_int_function()).unwrap();
    let program = Program::new(&code.clone().into()).unwrap();
    let entries = program.functions().iter().map(|function| program.slot(function.entry).0);
    let func_info: Vec<u8> =
        entries.flat_map(|entry| [entry as u32, 3]).flat_map(u32::to_ne_bytes).collect();
    let mut insns: Vec<[u8; 8]> = code.into_iter().map(Slot::to_bytes).collect();
    relocate(&mut insns, &[&programs]).unwrap();
    let debug = ProgBtf {
        btf: &btf,
        func_info: &func_info,
        func_info_rec_size: 8,
        line_info: &[],
        line_info_rec_size: 16,
    };
    let spec = ProgSpec {
        prog_type: ProgType::XDP.0,
        insns: &insns,
        licence: "GPL",
        log_level: 1,
        btf: Some(debug),
        ..ProgSpec::default()
    };
    let kernel = skep_kernel::Program::load(&spec).unwrap_or_else(|error| panic!("{error}"));
    programs.update_program(&[0; 4], &kernel).unwrap();
    (kernel, programs)
}

/// BTF with `int` (1), `int (void)` (2) and a function of that type (3).
fn btf_of_int_function() -> Vec<u8> {
    let strings = b"\0int\0f\0";
    // BTF_KIND_INT, signed and of 32 bits; BTF_KIND_FUNC_PROTO; BTF_KIND_FUNC, static.
    let types = [1, 1 << 24, 4, 1 << 24 | 32, 0, 13 << 24, 1, 5, 12 << 24, 2];
    let type_len = types.len() as u32 * 4;
    let mut btf = 0xeb9f_u16.to_ne_bytes().to_vec();
    btf.extend_from_slice(&[1, 0]);
    for word in [24, 0, type_len, type_len, strings.len() as u32].iter().chain(&types) {
        btf.extend_from_slice(&word.to_ne_bytes());
    }
    btf.extend_from_slice(strings);
    btf
}

/// A program that counts how many times it runs, each time by a tail call from the innermost of
/// eight nested frames, whose callers go on at the end.
fn nests_and_calls() -> Vec<Slot> {
    let calls = (1..7).map(|depth| format!("f{depth}:\n call f{}\n r0 += 0\n exit\n", depth + 1));
    let mut code = slots(&format!(
        "call f1
         r0 += 1
         exit
         {}
         f7:
         r2 = 0 ll
         r3 = 0
         call bpf_tail_call
         r0 = 0
         exit",
        calls.collect::<String>()
    ));
    let load = code.iter_mut().find(|slot| slot.is_wide()).unwrap();
    load.regs |= 5 << 4;
    code
}

#[test]
fn tail_calls_from_functions_leave_the_frames_of_callers() {
    let mut bench = Bench::new();
    let code = nests_and_calls();
    let id = map(&bench, MapType::PROG_ARRAY, 4, 4, MapFlags::default());
    let program = Program::new(&code.clone().into()).unwrap();
    let loaded = bench.machine.load("test", ProgType::XDP, program, &[id]).unwrap();
    let programs = bench.machine.map(id).unwrap();
    programs.set_program(&[0; 4], loaded.linked().clone()).unwrap();
    // As often as may be, and again: the first run has left nothing behind.
    for _ in 0..2 {
        assert_eq!(bench.run(&loaded, &mut Xdp::new(vec![0; 60])).r0, 34);
    }
    if kernel_is_here() {
        let (kernel, _programs) = calling_itself(code);
        let there = kernel_run(&kernel, &[0; 60], &[]).unwrap();
        assert_eq!(there.retval, 34);
    }
}

#[test]
fn a_tail_call_adds_the_frames_of_one_program() {
    let bench = Bench::new();
    let id = map(&bench, MapType::PROG_ARRAY, 4, 4, MapFlags::default());
    let load = |text: &str| {
        let mut code = slots(text);
        if let Some(load) = code.iter_mut().find(|slot| slot.is_wide()) {
            load.regs |= 5 << 4;
        }
        let program = Program::new(&code.into()).unwrap();
        bench.machine.load("test", ProgType::UNSPEC, program, &[id]).unwrap()
    };
    let endless = load("f:\n *(u64 *)(r10 - 8) = r1\n call f\n exit");
    let first = load("call f\n exit\n f:\n r2 = 0 ll\n r3 = 0\n call bpf_tail_call\n exit");
    let programs = bench.machine.map(id).unwrap();
    programs.set_program(&[0; 4], endless.linked().clone()).unwrap();
    let mut cpu = bench.cpu;
    for (program, limit) in [(&endless, 8), (&first, 15), (&endless, 8)] {
        for engine in [Engine::Checked, Engine::Fast, Engine::Template, Engine::Optimising] {
            if engine.is_available() {
                let options = Options { engine, ..Options::default() };
                let result = program.run(&mut cpu, &mut RawMemory::default(), options);
                let Err(RunError::Trap(trap)) = result else { panic!("{engine:?}: {result:?}") };
                assert_eq!(trap.kind, TrapKind::CallDepth { limit }, "{engine:?}");
            }
        }
    }
}
