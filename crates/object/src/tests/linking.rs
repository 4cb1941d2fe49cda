//! From functions of an object to code that stands on its own.

use skep_bpf::codec::SlotIndex;
use skep_bpf::insn::{Callee, Imm64, Insn};

use super::{EXTERNS, FEATURES, OLD, SMALL, function, link, parse};
use crate::{CoreRelocations, ExternKind, LinkOptions, LinkProblem};

#[test]
fn called_functions_are_appended_in_order_of_first_use() {
    let object = parse(FEATURES, "features.bpf.o");
    let linked = link(&object, "start").expect("it needs nothing of the kernel");
    let parts: Vec<_> = linked
        .parts
        .iter()
        .map(|part| object.function(part.function).expect("it exists").name.as_str())
        .collect();
    assert_eq!(parts, ["start", "each", "twice", "shared"]);
    let program = linked.program().expect("its control flow is sound");
    let names: Vec<_> = program.functions().iter().map(|f| f.name.as_deref()).collect();
    assert_eq!(names, [Some("start"), Some("each"), Some("twice"), Some("shared")]);
    let addresses = program.insns().iter().filter_map(|insn| match insn {
        Insn::LoadImm64 { imm: Imm64::Code(target), .. } => Some(*target),
        _ => None,
    });
    assert_eq!(addresses.collect::<Vec<_>>(), [program.functions()[1].entry]);
    let calls = program.insns().iter().filter_map(|insn| match insn {
        Insn::Call { callee: Callee::Local(target) } => Some(*target),
        _ => None,
    });
    let [twice, shared] = [2, 3].map(|index: usize| program.functions()[index].entry);
    assert_eq!(calls.collect::<Vec<_>>(), [shared, twice, twice]);
}

#[test]
fn references_to_maps_and_data_count_in_the_list_of_the_program() {
    let object = parse(SMALL, "small.bpf.o");
    let linked = link(&object, "p").expect("it needs nothing of the kernel");
    let names: Vec<_> =
        linked.maps.iter().map(|&m| object.map(m).expect("it exists").name.as_str()).collect();
    assert_eq!(names, ["m", "small.data"]);
    let program = linked.program().expect("its control flow is sound");
    let loads: Vec<_> = program
        .insns()
        .iter()
        .filter_map(|insn| match insn {
            Insn::LoadImm64 { imm, .. } => Some(*imm),
            _ => None,
        })
        .collect();
    let value = Imm64::MapValueByIdx { index: 1, offset: 0 };
    assert_eq!(loads, [Imm64::MapByIdx(0), value, value]);
}

#[test]
fn slots_remember_their_origin_and_line() {
    let object = parse(SMALL, "small.bpf.o");
    let linked = link(&object, "p").expect("it needs nothing of the kernel");
    let source = include_str!("../../testdata/small.bpf.c");
    let number = |text: &str| {
        source.lines().zip(1u32..).find(|(line, _)| line.contains(text)).expect("it is there").1
    };
    let [p, f] = ["p", "f"].map(|name| function(&object, name));
    let start = linked.parts[1].start;
    assert_eq!(linked.origin(SlotIndex(0)).map(|o| (o.function, o.offset)), Some((p.index, 0)));
    assert_eq!(linked.origin(start).map(|o| (o.function, o.offset)), Some((f.index, 0)));
    assert_eq!(linked.origin(SlotIndex(linked.bytecode.slots.len())), None);
    let debug = &linked.bytecode.debug;
    let last = debug.line_at(SlotIndex(linked.bytecode.slots.len() - 1)).expect("it has lines");
    assert_eq!((&*last.file, last.line), ("./small.bpf.c", number("return x + v")));
    assert_eq!(last.text.trim(), "return x + v;");
    let first = debug.line_at(SlotIndex(0)).expect("it has lines");
    assert_eq!(first.line, number("return f(bpf_map_delete_elem"));
    assert!(first.column > 0);
}

#[test]
fn local_calls_within_a_function_stay() {
    let object = parse(OLD, "old.o");
    let linked = link(&object, "filter").expect("it needs nothing of the kernel");
    assert_eq!(linked.parts.len(), 1);
    // r1 = narrow ll; r2 = wide ll; call inside; r0 = 0; exit; inside:
    assert_eq!(linked.bytecode.slots[4].imm, 2);
}

#[test]
fn what_the_kernel_has_is_refused_program_by_program() {
    let object = parse(EXTERNS, "externs.bpf.o");
    let extern_kind = |name: &str| match link(&object, name).map_err(|error| error.problem) {
        Err(LinkProblem::Extern { kind, is_weak, name, .. }) => (kind, is_weak, name),
        other => panic!("expected an extern, got {other:?}"),
    };
    assert_eq!(extern_kind("kconfig"), (ExternKind::Kconfig, false, "CONFIG_HZ".to_owned()));
    let variable = (ExternKind::KernelVariable, false, "bpf_prog_active".to_owned());
    assert_eq!(extern_kind("ksym"), variable);
    let function = (ExternKind::KernelFunction, true, "bpf_rcu_read_lock".to_owned());
    assert_eq!(extern_kind("kfunc"), function);
    assert_eq!(extern_kind("lost"), (ExternKind::Unknown, false, "undeclared".to_owned()));
    let externs: Vec<_> = object.externs().map(|(name, _)| name).collect();
    assert_eq!(externs, ["CONFIG_HZ", "bpf_prog_active", "bpf_rcu_read_lock", "undeclared"]);
    for name in ["plain", "local_type"] {
        assert!(link(&object, name).is_ok(), "{name}");
    }
    let odd = link(&object, "odd").expect_err("its data is in no section of data");
    assert!(matches!(odd.problem, LinkProblem::Target { .. }), "{odd}");
}

#[test]
fn core_relocations_are_refused_or_left_as_compiled() {
    let object = parse(EXTERNS, "externs.bpf.o");
    let error = link(&object, "core").expect_err("it reads a task_struct");
    assert_eq!(
        error.to_string(),
        "cannot link core: core, offset 8 of section tp_btf/sched_switch (./externs.bpf.c:46): \
         the offset of the field of struct task_struct (0:1) depends on the kernel (CO-RE); \
         instructions of this function that do: 1"
    );
    let options =
        LinkOptions { core_relocations: CoreRelocations::AsCompiled, ..LinkOptions::default() };
    assert!(object.link(function(&object, "core").index, options).is_ok());
}

#[test]
fn slots_that_are_no_instructions_are_kept() {
    let object = parse(SMALL, "small.bpf.o");
    let p = function(&object, "p");
    let text = object.section(p.section).expect("it exists").range.start;
    let mut bytes = SMALL.to_vec();
    // The first instruction that no relocation is on.
    let free = (0..p.size)
        .step_by(8)
        .find(|at| object.relocations(p.section).iter().all(|r| r.offset != p.offset + at))
        .expect("not all instructions are relocated");
    let at = text + usize::try_from(free).expect("a small file");
    bytes[at] = 0xff;
    let object = parse(&bytes, "small.bpf.o");
    let linked = link(&object, "p").expect("validity is not asked");
    let slot = linked.bytecode.slots[usize::try_from(free / 8).expect("a small file")];
    assert_eq!(slot.opcode, 0xff);
    assert!(linked.program().is_err());
}
