//! Numbers of types, set to those of a kernel.

use skep_bpf::insn::{Imm64, Insn};
use skep_btf::{Btf, TypeId};

use super::{SMALL, TYPE_IDS, function, parse};
use crate::{CoreRelocations, LinkOptions, Object};

/// The constants of the one program, in order.
fn numbers(object: &Object, kernel: Option<&Btf>) -> (usize, Vec<u64>) {
    let options =
        LinkOptions { core_relocations: CoreRelocations::AsCompiled, ..LinkOptions::default() };
    let mut linked =
        object.link(function(object, "ids").index, options).expect("as it was compiled");
    let count = kernel.map_or(0, |kernel| object.resolve_type_ids(&mut linked, kernel));
    let program = linked.program().expect("its control flow is sound");
    let constants = program.insns().iter().filter_map(|insn| match insn {
        Insn::LoadImm64 { imm: Imm64::Value(number), .. } => Some(*number),
        _ => None,
    });
    (count, constants.collect())
}

#[test]
fn types_are_found_by_name_without_flavour() {
    let object = parse(TYPE_IDS, "type_ids.bpf.o");
    let own = object.btf().expect("it has types");
    let id = |name: &str| {
        let (TypeId(id), _) = own.find_struct(name).expect("the object declares it");
        u64::from(id)
    };
    let (plain, flavoured, absent) = (id("sample"), id("sample___own"), id("absent"));
    assert_eq!(numbers(&object, None), (0, vec![flavoured, absent, flavoured]));
    // The object's own types stand for a kernel's.
    assert_eq!(numbers(&object, Some(own)), (2, vec![plain, absent, flavoured]));
}

#[test]
fn types_that_a_kernel_lacks_have_the_number_of_none() {
    let object = parse(TYPE_IDS, "type_ids.bpf.o");
    let (_, local) = numbers(&object, None);
    let other = parse(SMALL, "small.bpf.o");
    let kernel = other.btf().expect("it has types");
    assert_eq!(numbers(&object, Some(kernel)), (2, vec![0, 0, local[2]]));
}
