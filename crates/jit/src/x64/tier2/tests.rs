//! Programs of every shape compile: what they compute is compared with other engines elsewhere.

use skep_bpf::codec::{Slot, encode};
use skep_bpf::insn::{Callee, HelperId, Insn, Mem, Offset, PacketIndex, PacketSize, Reg, Src};
use skep_bpf::op::{AluOp, AtomicOp, Cond, Size, Width};
use skep_bpf::program::{Bytecode, Program};

use super::compile;
use crate::CompileOptions;
use crate::code::Code;
use crate::source::{Binding, Source, no_function, no_lookup};
use crate::ssa::Passes;
use crate::x64::Features;

fn program(insns: &[Insn<Offset>]) -> Program {
    let slots: Vec<Slot> =
        insns.iter().flat_map(|insn| encode(insn).expect("it fits").slots()).collect();
    Program::new(&Bytecode::from(slots)).expect("a program")
}

/// Compiles in all ways and checks what can be seen from outside.
fn compiles(insns: &[Insn<Offset>]) -> Code {
    let program = program(insns);
    let helper = |_: HelperId| Binding::Generic { site: 7, args: 5 };
    let mut last = Code::default();
    for (features, metered, passes) in [
        (Features::ALL, false, Passes::ALL),
        (Features::default(), true, Passes::ALL),
        (Features::ALL, true, Passes::NONE),
    ] {
        let source = Source {
            program: &program,
            insns: program.insns(),
            proof: None,
            metered,
            helper: &helper,
            lookup: &no_lookup,
            function: &no_function,
            site: 0,
        };
        let options = CompileOptions { passes, ..CompileOptions::default() };
        last = compile(&source, features, &options).expect("it compiles");
        assert_eq!(last.entries.len(), program.functions().len());
        assert!(last.entries.iter().all(|entry| (*entry as usize) < last.bytes.len()));
        let offsets: Vec<u32> = last.accesses.iter().map(|access| access.offset).collect();
        assert!(offsets.is_sorted(), "the fault handler searches accesses by offset");
    }
    last
}

fn add(dst: Reg, src: Src) -> Insn<Offset> {
    Insn::Alu { op: AluOp::Add, width: Width::W64, dst, src }
}

fn branch(dst: Reg, imm: i32, distance: i32) -> Insn<Offset> {
    let (cond, width, src) = (Cond::Lt, Width::W64, Src::Imm(imm));
    Insn::Branch { cond, width, dst, src, target: Offset(distance) }
}

#[test]
fn cycles_with_two_entries_compile() {
    compiles(&[
        branch(Reg::R1, 5, 2),
        add(Reg::R0, Src::Imm(1)),
        branch(Reg::R2, 3, 1),
        add(Reg::R0, Src::Reg(Reg::R1)),
        branch(Reg::R0, 100, -4),
        branch(Reg::R0, 200, -3),
        Insn::Exit,
    ]);
}

#[test]
fn loops_without_an_end_compile() {
    compiles(&[Insn::Jump { wide: false, target: Offset(-1) }]);
    compiles(&[add(Reg::R0, Src::Imm(1)), Insn::Jump { wide: false, target: Offset(-2) }]);
}

#[test]
fn calls_of_every_kind_compile() {
    let call = |callee| Insn::Call { callee };
    compiles(&[
        call(Callee::Local(Offset(7))),
        call(Callee::Helper(HelperId(5))),
        call(Callee::Helper(HelperId::TAIL_CALL)),
        call(Callee::Reg(Reg::R6)),
        Insn::LoadPacket { size: PacketSize::H, index: PacketIndex::Indirect(Reg::R0), imm: 4 },
        Insn::MayGoto { target: Offset(-6) },
        call(Callee::Kfunc { btf_id: 1, btf_index: 0 }),
        Insn::Exit,
        // Calls itself.
        branch(Reg::R1, 1, 2),
        add(Reg::R1, Src::Imm(-1)),
        call(Callee::Local(Offset(-3))),
        Insn::Exit,
    ]);
}

#[test]
fn accesses_are_listed() {
    let mem = |offset| Mem { base: Reg::R1, offset };
    let code = compiles(&[
        Insn::Atomic { op: AtomicOp::FetchXor, width: Width::W32, mem: mem(8), src: Reg::R2 },
        Insn::Store { size: Size::H, mem: mem(-2), src: Src::Imm(7) },
        Insn::StoreRelease { size: Size::Dw, mem: mem(16), src: Reg::R2 },
        Insn::LoadAcquire { size: Size::W, dst: Reg::R0, mem: mem(4) },
        Insn::Exit,
    ]);
    // The loop around the exchange accesses twice.
    let insns: Vec<u32> = code.accesses.iter().map(|access| access.insn).collect();
    assert_eq!(insns, [0, 0, 1, 2, 3]);
}

#[test]
fn long_programs_compile() {
    let mut insns = Vec::new();
    for round in 0..150 {
        insns.push(add(Reg::R0, Src::Imm(round)));
        insns.push(add(Reg::R2, Src::Reg(Reg::R0)));
        insns.push(branch(Reg::R2, round, 2));
        insns.push(add(Reg::R3, Src::Reg(Reg::R2)));
        insns.push(branch(Reg::R3, 1000, -3));
    }
    insns.push(Insn::Exit);
    compiles(&insns);
}
