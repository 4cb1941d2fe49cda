//! The rows against themselves and against what Linux 6.18 allowed.

extern crate std;

use alloc::collections::{BTreeMap, BTreeSet};
use std::{format, println};

use super::{
    Access, COMMON_SOCKET, CONTEXT_ACCESS, FULL_SOCKET, FieldKind, TCP_SOCKET, XDP_MD, context_for,
    context_of,
};
use crate::platform::facts::{facts, types_of};
use crate::platform::{AttachType, ProgType};

#[test]
fn fields_lie_in_their_context() {
    for access in CONTEXT_ACCESS {
        let mut last = 0;
        for field in access.fields.layout.fields {
            assert!(field.offset >= last, "{} {}", access.fields.layout.c_type, field.name);
            assert!(field.offset + field.size() <= access.fields.layout.size, "{}", field.name);
            assert!(field.offset.is_multiple_of(field.element_size), "{}", field.name);
            last = field.offset;
        }
    }
}

#[test]
fn fields_by_offset_and_name() {
    let field = XDP_MD.field_at(5).expect("xdp_md has 24 bytes of fields");
    assert_eq!(field.name, "data_end");
    assert_eq!(XDP_MD.field_at(24), None);
    assert_eq!(XDP_MD.field_at(u32::MAX), None);
    assert_eq!(XDP_MD.field("data").map(|field| field.kind), Some(FieldKind::Packet));
}

#[test]
fn every_type_has_a_context() {
    for row in ProgType::ROWS {
        let known = context_of(row.number).is_some();
        assert_eq!(known, ![ProgType::UNSPEC, ProgType::EXT].contains(&row.number), "{}", row.name);
    }
}

#[test]
fn where_a_packet_leaves_is_known_only_behind_a_map() {
    let allows = |attach_type| {
        let access = context_for(ProgType::XDP, attach_type).expect("XDP has a context");
        access.allows(20, 4, Access::Read).is_some()
    };
    assert!(allows(AttachType::XDP_DEVMAP));
    assert!(!allows(AttachType::XDP));
    assert!(!allows(AttachType::UNSPECIFIED));
}

#[test]
fn what_sockets_show() {
    // Asked of Linux 6.18: by offset in `struct bpf_sock`, 4 bytes, then 1 byte at offset + 1.
    let reads = |access: &super::FieldAccess, offset, size| {
        access.allows(offset, size, Access::Read).is_some()
    };
    let words: alloc::vec::Vec<u32> =
        (0..80).step_by(4).filter(|offset| !reads(&COMMON_SOCKET, *offset, 4)).collect();
    assert_eq!(words, [8, 12, 16, 20], "type to priority are those of full sockets");
    assert!((0..80).step_by(4).all(|offset| reads(&FULL_SOCKET, offset, 4)));
    let second_bytes: alloc::vec::Vec<u32> =
        (0..80).step_by(4).filter(|offset| reads(&FULL_SOCKET, *offset + 1, 1)).collect();
    assert_eq!(second_bytes, [24, 28, 32, 36, 40, 48, 52, 56, 60, 64, 68]);
    assert!(!reads(&FULL_SOCKET, 50, 2), "the padding behind the port");
    assert!(reads(&TCP_SOCKET, 80, 8) && !reads(&TCP_SOCKET, 80, 4));
    assert_eq!(FULL_SOCKET.allows(16, 4, Access::Write), None);
}

#[test]
fn odd_accesses_are_refused() {
    let access = context_for(ProgType::SYSCALL, AttachType::UNSPECIFIED).expect("has a context");
    for (offset, size) in [(0, 0), (0, 3), (0, 16), (1, 2), (u32::MAX, 1), (u32::MAX - 7, 8)] {
        assert_eq!(access.allows(offset, size, Access::Read), None, "{size} at {offset}");
    }
}

/// What the facts call the result of a load.
fn matches_result(kind: FieldKind, result: &str) -> bool {
    match kind {
        FieldKind::Scalar => result == "scalar",
        FieldKind::Packet => result == "pkt",
        FieldKind::PacketEnd => result == "pkt_end",
        FieldKind::PacketMeta => result == "pkt_meta",
        FieldKind::SockCommonOrNull => result == "sock_common_or_null",
        FieldKind::Socket => result == "sock",
        FieldKind::SocketOrNull => result == "sock_or_null",
        FieldKind::FlowKeys => result == "flow_keys",
        FieldKind::TracepointBuffer => result == "tp_buffer",
        FieldKind::Btf(name) => result == format!("trusted_ptr_{name}"),
        FieldKind::ByTarget => false,
    }
}

#[test]
fn accesses_of_linux_6_18() {
    let Some(text) = facts("ctx_access.tsv") else { return };
    let mut accepted: BTreeMap<&str, BTreeSet<(u32, u32, bool)>> = BTreeMap::new();
    let mut agreeing = 0;
    for line in text.lines().skip(1) {
        let columns: alloc::vec::Vec<&str> = line.split('\t').collect();
        let [types, _, offset, size, direction, result] = columns[..] else {
            panic!("a row of six columns, not {line:?}");
        };
        let (offset, size) = (offset.parse().unwrap(), size.parse().unwrap());
        let writes = direction == "w";
        let (prog_type, attach_type) = types_of(types);
        let access = context_for(prog_type, attach_type).expect("the type has a context");
        let how = if writes { Access::Write } else { Access::Read };
        let field = access.allows(offset, size, how);
        let Some(field) = field else {
            panic!("{types}: {how:?} of {size} at {offset} is allowed")
        };
        if !writes {
            let kind = field.kind_of_load(offset, size);
            let (result, _) = result.split_once('(').unwrap_or((result, ""));
            assert!(matches_result(kind, result), "{types}: {} gives {result}", field.name);
        }
        accepted.entry(types).or_default().insert((offset, size, writes));
        agreeing += 1;
    }
    let mut refused = 0;
    for (types, accepted) in &accepted {
        let (prog_type, attach_type) = types_of(types);
        let access = context_for(prog_type, attach_type).expect("the type has a context");
        for offset in 0..=256 {
            for size in [1, 2, 4, 8] {
                for (writes, how) in [(false, Access::Read), (true, Access::Write)] {
                    let allowed = access.allows(offset, size, how).is_some();
                    let expected = accepted.contains(&(offset, size, writes));
                    assert_eq!(allowed, expected, "{types}: {how:?} of {size} at {offset}");
                    refused += usize::from(!expected);
                }
            }
        }
        println!(
            "{types}: all {} accepted accesses agree, and no other is allowed",
            accepted.len()
        );
    }
    assert!(agreeing > 5000, "only {agreeing} compared");
    println!(
        "{agreeing} accepted and {refused} refused accesses agree in {} types",
        accepted.len()
    );
}
