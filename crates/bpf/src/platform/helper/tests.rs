//! The rows against themselves and against what Linux 6.18 answered.

extern crate std;

use alloc::vec::Vec;
use std::println;

use super::{ArgKind, HELPERS, HelperId, OPTIONAL_HELPERS, ReturnKind, helper_allowed, helpers_of};
use crate::platform::facts::{facts, types_of};
use crate::platform::{AttachType, KernelVersion, ProgType};

#[test]
fn rows_are_numbered_without_gaps() {
    assert_eq!(HELPERS.len(), 211);
    for (row, id) in HELPERS.iter().zip(1..) {
        assert_eq!(row.id, HelperId(id), "{}", row.name);
        assert_eq!(row.id.row(), Some(row));
        assert_eq!(HelperId::named(row.name), Some(row.id));
        assert_eq!(HelperId::named(row.short_name()), Some(row.id));
    }
    assert_eq!(HelperId(0).row(), None);
    assert_eq!(HelperId(212).row(), None);
    assert_eq!(HelperId(u32::MAX).row(), None);
}

#[test]
fn rows_make_sense() {
    let mut last = KernelVersion::new(3, 19);
    for row in HELPERS {
        assert!(row.since >= last, "{} is older than its number says", row.name);
        last = row.since;
        assert!(row.params.len() <= 5, "{}", row.name);
        assert!(row.meaning.ends_with('.'), "{}", row.name);
        for (index, param) in row.params.iter().enumerate() {
            let size_before = |index: usize| row.params.get(index).map(|param| param.kind);
            match param.kind {
                ArgKind::Memory { .. } => assert!(
                    matches!(size_before(index + 1), Some(ArgKind::Size { .. })),
                    "{}: {} lacks its size",
                    row.name,
                    param.name()
                ),
                ArgKind::Size { .. } => assert!(
                    index > 0 && matches!(size_before(index - 1), Some(ArgKind::Memory { .. })),
                    "{}: {} sizes nothing",
                    row.name,
                    param.name()
                ),
                _ => {}
            }
            let pointer = param.declaration.contains('*');
            let by_value =
                matches!(param.kind, ArgKind::Size { .. } | ArgKind::Scalar | ArgKind::AllocSize);
            assert!(!(pointer && by_value), "{}: {}", row.name, param.declaration);
        }
    }
}

#[test]
fn prototypes() {
    let prototype = |id: HelperId| id.row().expect("has a row").prototype();
    assert_eq!(
        prototype(HelperId::MAP_LOOKUP_ELEM),
        "void *bpf_map_lookup_elem(struct bpf_map *map, const void *key)"
    );
    assert_eq!(prototype(HelperId::KTIME_GET_NS), "u64 bpf_ktime_get_ns(void)");
    assert_eq!(
        prototype(HelperId::TRACE_PRINTK),
        "long bpf_trace_printk(const char *fmt, u32 fmt_size, ...)"
    );
    let names: Vec<_> =
        HelperId::CSUM_DIFF.row().expect("has a row").params.iter().map(|p| p.name()).collect();
    assert_eq!(names, ["from", "from_size", "to", "to_size", "seed"]);
}

#[test]
fn arguments_that_depend_on_the_program_type() {
    let row = HelperId::GET_CGROUP_CLASSID.row().expect("has a row");
    assert_eq!(row.arg_kind(0, ProgType::KPROBE), Some(ArgKind::Unchecked));
    assert_eq!(row.arg_kind(0, ProgType::SCHED_CLS), Some(ArgKind::Context { or_null: false }));
    let row = HelperId::SK_ASSIGN.row().expect("has a row");
    assert_eq!(row.arg_kind(1, ProgType::SK_LOOKUP), Some(ArgKind::FullSocketOrNull));
    assert_eq!(row.arg_kind(1, ProgType::SCHED_CLS), Some(ArgKind::Socket { or_null: false }));
}

#[test]
fn allowed_helpers_of_linux_6_18() {
    let Some(text) = facts("helper_allow.tsv") else { return };
    let mut compared = 0;
    for line in text.lines().skip(1) {
        let mut columns = line.split('\t');
        let (Some(types), Some(count), Some(ids)) =
            (columns.next(), columns.next(), columns.next())
        else {
            panic!("a row of three columns, not {line:?}");
        };
        let (prog_type, attach_type) = types_of(types);
        let allowed: Vec<u32> =
            ids.split(',').filter(|id| !id.is_empty()).map(|id| id.parse().unwrap()).collect();
        assert_eq!(allowed.len(), count.parse::<usize>().unwrap());
        for row in HELPERS {
            // The machine that was asked has none of the optional ones.
            let ours = helper_allowed(prog_type, attach_type, row.id)
                && !OPTIONAL_HELPERS.contains(&row.id);
            assert_eq!(ours, allowed.contains(&row.id.0), "{} in {types}", row.name);
            compared += 1;
        }
    }
    assert!(compared > 8000, "only {compared} compared");
    println!("{compared} answers about allowed helpers agree");
}

#[test]
fn every_helper_is_allowed_somewhere() {
    for row in HELPERS {
        let somewhere = ProgType::ROWS.iter().any(|prog| {
            AttachType::ROWS.iter().any(|attach| helper_allowed(prog.number, attach.number, row.id))
        });
        assert!(somewhere, "{}", row.name);
    }
    assert!(helpers_of(ProgType::EXT, AttachType::UNSPECIFIED).is_empty());
    assert!(!helper_allowed(ProgType::XDP, AttachType::XDP, HelperId(256)));
}

/// What the kernel expects of an argument, in the words of the facts.
fn expects(kind: ArgKind, expected: &str) -> bool {
    match kind {
        ArgKind::Unchecked => false,
        ArgKind::Anything => expected == "any",
        ArgKind::Scalar | ArgKind::Size { .. } | ArgKind::AllocSize => expected == "scalar",
        // The probe passed NULL first: where that is accepted, nothing was refused.
        ArgKind::Context { or_null: true } => expected == "any",
        ArgKind::Context { or_null: false } => expected == "ctx",
        ArgKind::ConstMap => expected == "map_ptr",
        ArgKind::MapKey
        | ArgKind::MapValue { .. }
        | ArgKind::Memory { .. }
        | ArgKind::FixedMemory { .. } => expected.starts_with("fp, pkt, pkt_meta, map_key"),
        ArgKind::Stack { .. } => expected == "fp",
        ArgKind::ConstString | ArgKind::Timer => expected == "map_value",
        ArgKind::Function => expected == "func",
        ArgKind::Dynptr(_) => expected == "fp, dynptr_ptr",
        ArgKind::SpinLock | ArgKind::KptrSlot => expected == "map_value, ptr_",
        ArgKind::ReleasedRecord => expected == "ringbuf_mem",
        ArgKind::SockCommon => expected == "sock_common, sock, tcp_sock, xdp_sock",
        ArgKind::Socket { .. } | ArgKind::ReleasedSocket => {
            expected == "sock_common, sock, tcp_sock, xdp_sock, ptr_, trusted_ptr_"
        }
        ArgKind::FullSocketOrNull => expected == "sock",
        ArgKind::Btf { .. } | ArgKind::ReleasedKptr => expected == "ptr_, trusted_ptr_, rcu_ptr_",
        ArgKind::PercpuBtf => expected.starts_with("percpu_ptr_"),
    }
}

#[test]
fn signatures_of_linux_6_18() {
    let Some(text) = facts("helper_proto_probe.tsv") else { return };
    let (mut complete, mut arguments) = (0, 0);
    for line in text.lines().skip(1) {
        let columns: Vec<&str> = line.split('\t').collect();
        let [id, name, types, count, args, returned, status] = columns[..] else {
            panic!("a row of seven columns, not {line:?}");
        };
        if name == "?" {
            continue;
        }
        let row = HelperId(id.parse().unwrap()).row().expect("Linux has it");
        assert_eq!(row.name, name);
        let (prog_type, _) = types_of(types);
        for (index, arg) in args.split(';').filter(|arg| !arg.is_empty()).enumerate() {
            let (_, arg) = arg.split_once(':').expect("an argument has a number");
            let (expected, _) = arg.split_once('|').expect("an argument has an accepted value");
            if expected == "?" {
                continue;
            }
            let kind = row.arg_kind(index, prog_type);
            assert!(
                kind.is_some_and(|kind| expects(kind, expected)),
                "{name}: argument {} is {kind:?}, the kernel expects {expected}",
                index + 1
            );
            arguments += 1;
        }
        if status == "ok" {
            let known = (0..5)
                .filter_map(|index| row.arg_kind(index, prog_type))
                .filter(|kind| *kind != ArgKind::Unchecked)
                .count();
            assert_eq!(known, count.parse::<usize>().unwrap(), "{name}");
            if !returned.is_empty() {
                let number = returned.starts_with("scalar");
                assert_eq!(row.returns == ReturnKind::Integer, number, "{name}: {returned}");
                assert_eq!(row.returns.may_be_null(), returned.contains("_or_null"), "{name}");
            }
            complete += 1;
        }
    }
    assert!(complete > 120, "only {complete} compared");
    println!("{complete} signatures and {arguments} arguments agree");
}
