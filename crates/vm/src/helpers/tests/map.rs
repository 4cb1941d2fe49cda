//! Helpers on maps, and tail calls.

use skep_bpf::codec::Slot;
use skep_bpf::platform::{HelperId, MapFlags, MapType, ProgType};
use skep_bpf::program::Program;
use skep_kernel::relocate;

use super::{Bench, kernel_is_here, kernel_load, kernel_run, slots};
use crate::context::Xdp;
use crate::errno::Errno;
use crate::machine::MapId;
use crate::maps::MapSpec;
use crate::trap::TrapKind;

fn map(
    bench: &Bench,
    map_type: MapType,
    key_bytes: u32,
    value_bytes: u32,
    flags: MapFlags,
) -> MapId {
    let name = "map".into();
    let (max_entries, inner) = (4, None);
    let spec =
        MapSpec { name, map_type, key_bytes, value_bytes, max_entries, flags, extra: 0, inner };
    bench.machine.create_map(spec).unwrap()
}

#[test]
fn elements_are_kept_under_keys_of_any_length() {
    let mut bench = Bench::new();
    for key_bytes in [1, 4, 8, 64, 65, 512] {
        let id = map(&bench, MapType::HASH, key_bytes, 8, MapFlags::default());
        let handle = u64::from(bench.machine.handle(id));
        let key = bench.place(&vec![7; key_bytes as usize]);
        let other = bench.place(&vec![8; key_bytes as usize]);
        let value = bench.place(&77u64.to_le_bytes());
        let mut call =
            |helper, key, value, flags| bench.call(helper, [handle, key, value, flags, 0]).unwrap();
        assert_eq!(call(HelperId::MAP_LOOKUP_ELEM, key, 0, 0), 0);
        assert_eq!(call(HelperId::MAP_UPDATE_ELEM, key, value, 0), 0);
        let exists = Errno::EEXIST.to_return();
        assert_eq!(call(HelperId::MAP_UPDATE_ELEM, key, value, 1), exists);
        let at = call(HelperId::MAP_LOOKUP_ELEM, key, 0, 0);
        assert_eq!(call(HelperId::MAP_LOOKUP_ELEM, other, 0, 0), 0);
        assert_eq!(call(HelperId::MAP_DELETE_ELEM, key, 0, 0), 0);
        assert_eq!(call(HelperId::MAP_DELETE_ELEM, key, 0, 0), Errno::ENOENT.to_return());
        assert_eq!(bench.read(at, 8), 77u64.to_le_bytes(), "a value outlives its element");
    }
}

#[test]
fn misuse_of_maps_traps() {
    let mut bench = Bench::new();
    let flags = MapFlags::RDONLY_PROG;
    let id = map(&bench, MapType::ARRAY, 4, 8, flags);
    let handle = u64::from(bench.machine.handle(id));
    let key = bench.place(&[0; 4]);
    let error = bench.call(HelperId::MAP_UPDATE_ELEM, [handle, key, key, 0, 0]).unwrap_err();
    assert_eq!(error.to_string(), "bpf_map_update_elem needs a map that programs may write");
    let error = bench.call(HelperId::MAP_LOOKUP_ELEM, [handle, key + 4093, 0, 0, 0]).unwrap_err();
    assert!(matches!(error, TrapKind::HelperMemory { arg: 2, .. }), "{error}");
    let error = bench.call(HelperId::MAP_LOOKUP_ELEM, [handle + 1, key, 0, 0, 0]).unwrap_err();
    assert!(matches!(error, TrapKind::NotAMap { arg: 1, .. }), "{error}");
}

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

        let spec = skep_kernel::MapSpec {
            map_type: MapType::PROG_ARRAY.0,
            key_size: 4,
            value_size: 4,
            max_entries: 4,
            ..skep_kernel::MapSpec::default()
        };
        let programs = skep_kernel::Map::create(&spec).unwrap();
        let mut insns: Vec<[u8; 8]> = code.into_iter().map(Slot::to_bytes).collect();
        relocate(&mut insns, &[&programs]).unwrap();
        let kernel = kernel_load(ProgType::XDP, &insns).unwrap_or_else(|error| panic!("{error}"));
        programs.update_program(&[0; 4], &kernel).unwrap();
        let there = kernel_run(&kernel, &packet, &[]).unwrap();
        assert_eq!(here.packet, there.data_out, "{index}");
    }
}
