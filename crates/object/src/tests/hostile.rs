//! Damaged objects: nothing panics, nothing takes memory out of proportion.

use std::hint::black_box;

use super::{EXTERNS, IPROUTE2, OLD, SMALL, parse};
use crate::{CoreRelocations, Diagnostic, LinkOptions, Object};

/// Reads an object and everything that can be made of it; gives how many programs linked.
fn walk(bytes: &[u8]) -> usize {
    let Ok(object) = Object::parse_named(bytes, "walk.bpf.o") else { return 0 };
    for diagnostic in object.diagnostics() {
        assert!(!diagnostic.to_string().is_empty());
    }
    for map in object.maps() {
        assert!(object.initial_bytes(map).len() <= bytes.len());
        for variable in &map.variables {
            let ty = variable.var.zip(object.btf());
            ty.inspect(|(ty, btf)| assert!(!btf.definition(*ty).is_empty()));
        }
    }
    if let Some(btf) = object.btf() {
        for (id, _) in btf.types() {
            black_box((
                btf.definition(id),
                btf.initializer(id, &[1; 16]),
                btf.align_of(id).is_ok(),
            ));
        }
    }
    let options =
        LinkOptions { core_relocations: CoreRelocations::AsCompiled, ..LinkOptions::default() };
    let mut linked = 0;
    for function in object.functions() {
        match object.link(function.index, options) {
            Ok(code) => {
                linked += 1;
                let _ = code.program();
            }
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
    linked
}

#[test]
fn every_prefix() {
    for bytes in [SMALL, EXTERNS, IPROUTE2, OLD] {
        for len in 0..bytes.len() {
            walk(&bytes[..len]);
        }
        assert!(walk(bytes) > 0);
    }
}

#[test]
fn every_replaced_byte() {
    for bytes in [SMALL, IPROUTE2, OLD] {
        let mut changed = bytes.to_vec();
        for at in 0..bytes.len() {
            for byte in [0, 0xff, !bytes[at]] {
                changed[at] = byte;
                walk(&changed);
            }
            changed[at] = bytes[at];
        }
    }
}

/// An object of which all sections are what `section` says, with strings "\0" + `name` + "\0".
fn many_sections(count: u16, name: &[u8]) -> Vec<u8> {
    let mut bytes = SMALL[..64].to_vec();
    let strings = bytes.len();
    bytes.push(0);
    bytes.extend_from_slice(name);
    bytes.push(0);
    let headers = bytes.len();
    let len = (headers - strings) as u64;
    for index in 0..count {
        let kind: u32 = if index == 1 { 3 } else { 1 };
        bytes.extend_from_slice(&1u32.to_le_bytes());
        bytes.extend_from_slice(&kind.to_le_bytes());
        for field in [6u64, 0, strings as u64, len, 0, 8, 0] {
            bytes.extend_from_slice(&field.to_le_bytes());
        }
        // link and info are halves of one field above; all zero.
    }
    bytes[0x28..0x30].copy_from_slice(&(headers as u64).to_le_bytes());
    bytes[0x3c..0x3e].copy_from_slice(&count.to_le_bytes());
    bytes[0x3e..0x40].copy_from_slice(&1u16.to_le_bytes());
    bytes
}

#[test]
fn sections_that_share_a_long_name_and_content() {
    let object = parse(&many_sections(10_000, &[b'x'; 1 << 16]), "");
    assert_eq!(object.sections().len(), 10_000);
    let names: usize = object.sections().iter().map(|section| section.name.len()).sum();
    assert!(names < 4 << 20, "{names} bytes of names");
    assert!(object.diagnostics().contains(&Diagnostic::NamesTooLong));
}
