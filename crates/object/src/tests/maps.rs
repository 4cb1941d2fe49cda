//! Declarations of maps and global data.

use skep_bpf::platform::{MapFlags, MapType};

use super::{BAD_MAPS, EXTERNS, FEATURES, IPROUTE2, OLD, SMALL, parse};
use crate::{ChangeError, GlobalData, LinkProblem, MapDef, MapIndex, MapOrigin, MapValue, Object};

fn named<'a>(object: &'a Object, name: &str) -> &'a MapDef {
    object.map_named(name).expect("the object has the map").1
}

#[test]
fn btf_maps() {
    let object = parse(FEATURES, "features.bpf.o");
    let counts = named(&object, "counts");
    assert_eq!(counts.map_type, MapType::HASH);
    assert_eq!((counts.key_size, counts.value_size, counts.max_entries), (4, 24, 100));
    assert_eq!(counts.flags, MapFlags::NO_PREALLOC);
    assert_eq!(counts.pinning, 1);
    let btf = object.btf().expect("it was compiled with -g");
    let value = counts.value_type.expect("it was declared by type");
    assert_eq!(btf.declaration(value, ""), "struct value");
    let quiet = named(&object, "quiet");
    assert_eq!((quiet.key_size, quiet.value_size, quiet.key_type), (4, 16, None));
    assert_eq!(named(&object, "bloom").map_extra, 3);
    assert_eq!(named(&object, "events").map_type, MapType::RINGBUF);
}

#[test]
fn maps_of_maps_and_programs() {
    let object = parse(FEATURES, "features.bpf.o");
    let outer = named(&object, "outer");
    let inner = outer.inner.as_ref().expect("it says what it holds");
    assert_eq!(inner.name, "outer.inner");
    assert_eq!((inner.map_type, inner.max_entries), (MapType::ARRAY, 3));
    let index = |name| object.map_named(name).expect("the object has the map").0;
    let held = [(0, MapValue::Map(index("first"))), (3, MapValue::Map(index("second")))];
    assert_eq!(outer.values, held);
    let step = object.functions_named("step")[0].index;
    assert_eq!(named(&object, "steps").values, [(2, MapValue::Program(step))]);
}

#[test]
fn global_data() {
    let object = parse(FEATURES, "some/where/features.bpf.o");
    let names: Vec<&str> =
        object.maps().iter().filter(|m| m.is_global_data()).map(|m| m.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "features.data",
            "features.rodata",
            ".data.apart",
            ".rodata.text",
            "features.bss",
            ".bss.private_co"
        ]
    );
    let read_only = named(&object, "features.rodata");
    assert_eq!(read_only.origin, MapOrigin::Global(GlobalData::ReadOnly));
    assert_eq!(read_only.flags, MapFlags::RDONLY_PROG | MapFlags::MMAPABLE);
    assert_eq!(&object.initial_bytes(read_only)[..4], [5, 0, 0, 0]);
    let zero = named(&object, "features.bss");
    assert_eq!((zero.map_type, zero.value_size, zero.max_entries), (MapType::ARRAY, 28, 1));
    assert!(object.initial_bytes(zero).is_empty());
    let variables: Vec<_> =
        zero.variables.iter().map(|v| (v.name.as_str(), v.offset, v.size)).collect();
    assert_eq!(variables, [("zeroed", 0, 24), ("hidden_zero", 24, 4)]);
    let btf = object.btf().expect("it was compiled with -g");
    let types: Vec<_> =
        zero.variables.iter().map(|v| btf.definition(v.var.expect("BTF knows it"))).collect();
    assert_eq!(types, ["__u64 zeroed[3];", "static volatile int hidden_zero;"]);
}

#[test]
fn names_of_global_data_are_cut_as_by_libbpf() {
    let name = |file: &str| {
        let object = parse(SMALL, file);
        object.maps().iter().find(|m| m.is_global_data()).expect("it has data").name.clone()
    };
    assert_eq!(name("small.bpf.o"), "small.data");
    assert_eq!(name("/x/averylongname.o"), "averylon.data");
    assert_eq!(name("with-dash.o"), "with_das.data");
    assert_eq!(name(""), ".data");
}

#[test]
fn static_maps_are_found_through_their_section() {
    let object = parse(EXTERNS, "externs.bpf.o");
    let linked = super::link(&object, "plain").expect("it needs nothing of the kernel");
    let names: Vec<_> =
        linked.maps.iter().map(|&m| object.map(m).expect("it exists").name.as_str()).collect();
    assert_eq!(names, ["second_quiet", "first_quiet"]);
}

#[test]
fn iproute2_maps() {
    let object = parse(IPROUTE2, "iproute2.bpf.o");
    assert_eq!(object.diagnostics(), []);
    let jumps = named(&object, "jumps");
    let seventh = object.functions_named("seventh")[0].index;
    assert_eq!((jumps.pinning, &jumps.values[..]), (1, &[(7, MapValue::Program(seventh))][..]));
    let outer = named(&object, "outer");
    let inner = object.map_named("inner").expect("the object has the map").0;
    assert_eq!(outer.values, [(3, MapValue::Map(inner))]);
    assert_eq!(outer.inner.as_ref().map(|map| map.value_size), Some(8));
}

#[test]
fn legacy_maps_without_sizes() {
    let object = parse(OLD, "old.o");
    assert_eq!(object.diagnostics(), []);
    let maps: Vec<_> = object
        .maps()
        .iter()
        .map(|m| (m.name.as_str(), m.map_type, m.value_size, m.max_entries, m.flags.0, m.len))
        .collect();
    assert_eq!(
        maps,
        [
            ("narrow", MapType::HASH, 8, 16, 1, 20),
            ("wide", MapType::ARRAY, 4, 3, 0, 20),
            ("single", MapType::ARRAY, 4, 1, 0, 20),
        ]
    );
}

#[test]
fn bad_declarations_are_named_and_left_out() {
    let object = parse(BAD_MAPS, "bad_maps.bpf.o");
    let mut found: Vec<String> = object.diagnostics().iter().map(ToString::to_string).collect();
    found.sort();
    assert_eq!(
        found,
        [
            "map colourful: member colour is not known and is ignored",
            "map contradiction: its key has 4 bytes, but key_size says 8",
            "map keyless: the type of its key has no size: BTF type 0 has no size",
            "map misfit: its element 1 is number, which is neither a map nor a function",
            "map no_holder: its values cannot be initialised: only a prog_array holds functions",
            "map number: its BTF type is INT, a map is declared as a struct",
            "map unnumbered: member max_entries needs a number, as __uint() declares it",
        ]
    );
    let names: Vec<&str> = object.maps().iter().map(|map| map.name.as_str()).collect();
    assert_eq!(names, ["inner", "misfit", "wide", "colourful"]);
    assert_eq!(named(&object, "wide").map_extra, 0x1234_5678_9abc);
    assert!(super::link(&object, "good").is_ok());
    let bad = super::link(&object, "bad").expect_err("its map cannot be used");
    let name = "contradiction".to_owned();
    assert!(matches!(&bad.problem, LinkProblem::NoUsableMap { name: n, .. } if *n == name));
}

#[test]
fn loaders_replace_bytes_and_sizes() {
    let mut object = parse(FEATURES, "features.bpf.o");
    let index = |object: &Object, name| object.map_named(name).expect("the object has the map").0;
    let (zero, counts) = (index(&object, "features.bss"), index(&object, "counts"));
    object.replace_initial_bytes(zero, 2, &[7, 8]).expect("it is large enough");
    object.replace_initial_bytes(zero, 0, &[9]).expect("it is large enough");
    assert_eq!(object.initial_bytes(named(&object, "features.bss")), [9, 0, 7, 8]);
    let size = named(&object, "features.bss").value_size;
    let outside = object.replace_initial_bytes(zero, size, &[1]);
    let map = "features.bss".to_owned();
    assert_eq!(outside, Err(ChangeError::Outside { map, offset: size, len: 1, size }));
    let wrong = object.replace_initial_bytes(counts, 0, &[1]);
    assert_eq!(wrong, Err(ChangeError::NotGlobalData { map: "counts".to_owned() }));

    object.resize_map(counts, None, Some(7)).expect("it is no global data");
    let def = named(&object, "counts");
    assert_eq!((def.value_size, def.max_entries), (24, 7));
    assert!(def.value_type.is_some());
    object.resize_map(counts, Some(32), None).expect("it is no global data");
    let def = named(&object, "counts");
    assert_eq!((def.value_size, def.max_entries, def.value_type), (32, 7, None));
    let wrong = object.resize_map(zero, Some(4), None);
    assert_eq!(wrong, Err(ChangeError::GlobalData { map: "features.bss".to_owned() }));
    let nowhere = MapIndex(usize::MAX);
    assert_eq!(object.resize_map(nowhere, None, None), Err(ChangeError::NoSuchMap(nowhere)));
}
