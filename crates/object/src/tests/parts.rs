//! What an object consists of.

use skep_bpf::platform::ProgType;

use super::{EXTERNS, FEATURES, IPROUTE2, OLD, SMALL, function, parse};
use crate::{Diagnostic, Object, ParseError};

#[test]
fn functions_and_programs() {
    let object = parse(FEATURES, "features.bpf.o");
    let programs: Vec<_> = object
        .programs()
        .map(|f| (f.name.as_str(), f.section_name.as_str(), f.prog_type()))
        .collect();
    assert_eq!(
        programs,
        [
            ("step", "xdp", ProgType::XDP),
            ("start", "xdp", ProgType::XDP),
            ("later", "?tc", ProgType::SCHED_CLS),
            ("custom", "xdp_custom_name", ProgType::XDP),
        ]
    );
    let called: Vec<_> = object
        .functions()
        .iter()
        .filter(|f| !f.is_program)
        .map(|f| (f.name.as_str(), f.is_global()))
        .collect();
    assert_eq!(called, [("shared", true), ("twice", false), ("each", false)]);
    assert_eq!(object.license(), Some("Dual MIT/GPL"));
    assert_eq!(object.version(), Some(0x0006_1200));
    assert_eq!(object.diagnostics(), []);
    assert_eq!(object.functions_named("?tc").len(), 1);
    assert_eq!(object.functions_named("xdp").len(), 2);
}

#[test]
fn objects_without_types_and_sizes() {
    let object = parse(OLD, "old.o");
    let programs: Vec<_> =
        object.programs().map(|f| (f.name.as_str(), f.offset, f.size, f.prog_type())).collect();
    assert_eq!(
        programs,
        [
            ("filter", 0, 72, ProgType::SOCKET_FILTER),
            ("second", 72, 16, ProgType::SOCKET_FILTER),
            ("weird_hook", 0, 16, ProgType::UNSPEC),
        ]
    );
}

#[test]
fn a_lonely_function_in_text_is_a_program() {
    // `.text` of this object calls nothing and nothing else is code once `xdp` is renamed to it.
    let object = parse(SMALL, "small.bpf.o");
    assert!(!function(&object, "f").is_program);
    let mut bytes = SMALL.to_vec();
    let xdp = object.sections().iter().find(|s| s.name == "xdp").expect("it has code");
    let header = section_header(&bytes, xdp.index.0);
    // sh_flags: allocated, not executable.
    bytes[header + 8] = 2;
    let object = parse(&bytes, "small.bpf.o");
    let programs: Vec<_> = object.programs().map(|f| f.name.as_str()).collect();
    assert_eq!(programs, ["f"]);
}

/// Where the header of a section starts in a file.
fn section_header(bytes: &[u8], index: usize) -> usize {
    let offset: [u8; 8] = bytes[0x28..0x30].try_into().expect("eight bytes");
    usize::try_from(u64::from_le_bytes(offset)).expect("a small file") + index * 64
}

#[test]
fn other_files_are_refused_with_a_reason() {
    let patched = |at: usize, byte: u8| {
        let mut bytes = SMALL.to_vec();
        bytes[at] = byte;
        Object::parse(&bytes).expect_err("the header is wrong")
    };
    assert_eq!(patched(0, 0), ParseError::NotElf);
    assert_eq!(patched(4, 1), ParseError::Class { class: 1 });
    assert_eq!(patched(5, 2), ParseError::BigEndian);
    assert_eq!(patched(5, 3), ParseError::Encoding { encoding: 3 });
    assert_eq!(patched(16, 2), ParseError::NotRelocatable { found: 2 });
    assert_eq!(patched(18, 62), ParseError::NotBpf { machine: 62 });
    assert!(matches!(patched(0x3a, 1), ParseError::SectionHeaders { .. }));
    assert_eq!(
        Object::parse(&SMALL[..40]).expect_err("half a header"),
        ParseError::HeaderTruncated { found: 40 }
    );
    assert_eq!(Object::parse(b"").expect_err("nothing"), ParseError::NotElf);
}

#[test]
fn machine_none_is_accepted() {
    let mut bytes = SMALL.to_vec();
    bytes[18] = 0;
    assert_eq!(parse(&bytes, "").machine(), 0);
}

#[test]
fn one_bad_section_or_symbol_leaves_the_rest() {
    let object = parse(SMALL, "small.bpf.o");
    let btf = object.sections().iter().find(|s| s.name == ".BTF").expect("it has BTF").index.0;
    let mut bytes = SMALL.to_vec();
    let header = section_header(&bytes, btf);
    // sh_offset beyond the file.
    bytes[header + 0x18 + 4] = 1;
    let object = parse(&bytes, "small.bpf.o");
    assert_eq!(object.programs().count(), 1);
    assert!(object.btf().is_none());
    let found = object.diagnostics();
    assert!(found.iter().any(|d| matches!(d, Diagnostic::SectionOutside { .. })), "{found:?}");
    assert!(found.iter().any(|d| d.to_string().contains("compile with -g")), "{found:?}");

    let symbols = object.sections().iter().find(|s| s.kind == 2).expect("it has symbols").index.0;
    let mut bytes = SMALL.to_vec();
    let header = section_header(&bytes, symbols);
    let offset: [u8; 8] = bytes[header + 0x18..header + 0x20].try_into().expect("eight bytes");
    let table = usize::try_from(u64::from_le_bytes(offset)).expect("a small file");
    // st_name of the second symbol.
    bytes[table + 24 + 3] = 0xff;
    let object = parse(&bytes, "small.bpf.o");
    assert!(matches!(object.diagnostics(), [Diagnostic::Symbol { symbol: 1, .. }]));
    assert_eq!(object.programs().count(), 1);
}

#[test]
fn addresses_in_data_are_reported() {
    let object = parse(EXTERNS, "externs.bpf.o");
    let found: Vec<String> = object.diagnostics().iter().map(ToString::to_string).collect();
    assert_eq!(
        found,
        [
            "section .data, offset 8: the address of .data is needed here, but data cannot hold \
             addresses; it stays a plain number",
            "section .data, offset 16: the address of .text is needed here, but data cannot hold \
             addresses; it stays a plain number",
        ]
    );
}

#[test]
fn objects_without_btf_have_no_lines() {
    let object = parse(IPROUTE2, "iproute2.bpf.o");
    assert!(object.btf().is_none());
    assert!(object.line_records("classifier").is_empty());
}
