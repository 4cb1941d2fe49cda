//! Helpers on maps.

use skep_bpf::platform::{HelperId, MapFlags, MapType};

use super::Bench;
use crate::errno::Errno;
use crate::machine::MapId;
use crate::maps::MapSpec;
use crate::trap::TrapKind;

pub(super) fn map(
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
