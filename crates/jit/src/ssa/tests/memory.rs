//! What is known of memory, and counts of bits: small programs of which it is known what remains.

use skep_bpf::insn::{Extend, Insn, Mem, Offset, Reg, Src};
use skep_bpf::op::{AluOp, Size, Width};

use super::super::ir::{Func, Op, Un};
use super::loops::{alu, optimised};

fn load(size: Size, dst: Reg, base: Reg, offset: i16) -> Insn<Offset> {
    Insn::Load { size, extend: Extend::Zero, dst, mem: Mem { base, offset } }
}

fn store(size: Size, base: Reg, offset: i16, src: Src) -> Insn<Offset> {
    Insn::Store { size, mem: Mem { base, offset }, src }
}

/// How many loads and stores a function has.
fn accesses(func: &Func) -> (usize, usize) {
    let order = func.reverse_postorder();
    let nodes = || order.iter().flat_map(|id| &func.blocks[id.index()].nodes);
    let loads = nodes().filter(|value| matches!(func.op(**value), Op::Load { .. })).count();
    let stores = nodes().filter(|value| matches!(func.op(**value), Op::Store { .. })).count();
    (loads, stores)
}

#[test]
fn what_was_loaded_or_stored_is_not_loaded_again() {
    let sum = alu(AluOp::Add, Reg::R0, Src::Reg(Reg::R3));
    let (_, func) = optimised(&[
        load(Size::Dw, Reg::R0, Reg::R1, 0),
        // The same, and a part of it.
        load(Size::Dw, Reg::R3, Reg::R1, 0),
        sum,
        load(Size::H, Reg::R3, Reg::R1, 2),
        sum,
        // What is stored beside it changes nothing; what is stored is known.
        store(Size::W, Reg::R1, 8, Src::Reg(Reg::R0)),
        load(Size::B, Reg::R3, Reg::R1, 7),
        sum,
        load(Size::B, Reg::R3, Reg::R1, 9),
        sum,
        // Another pointer may lead anywhere.
        store(Size::B, Reg::R2, 0, Src::Imm(1)),
        load(Size::B, Reg::R3, Reg::R1, 9),
        sum,
        Insn::Exit,
    ]);
    assert_eq!(accesses(&func), (2, 2), "{func}");
}

#[test]
fn what_is_overwritten_in_the_frame_is_not_stored() {
    let frame = alu(AluOp::Mov, Reg::R1, Src::Reg(Reg::R10));
    let (_, func) = optimised(&[
        store(Size::Dw, Reg::R10, -8, Src::Imm(1)),
        store(Size::W, Reg::R10, -4, Src::Imm(2)),
        store(Size::Dw, Reg::R10, -8, Src::Imm(3)),
        // The frame's address goes where nobody follows, so its bytes stay in memory.
        frame,
        Insn::Call { callee: skep_bpf::insn::Callee::Helper(skep_bpf::insn::HelperId(7)) },
        Insn::Exit,
    ]);
    assert_eq!(accesses(&func), (0, 1), "{func}");
}

#[test]
fn stores_that_may_trap_stay() {
    let (_, func) = optimised(&[
        store(Size::Dw, Reg::R1, 0, Src::Imm(1)),
        store(Size::Dw, Reg::R1, 0, Src::Imm(3)),
        alu(AluOp::Mov, Reg::R0, Src::Imm(0)),
        Insn::Exit,
    ]);
    assert_eq!(accesses(&func), (0, 2), "{func}");
}

#[test]
fn bits_are_counted_at_once() {
    let number = |dst, imm: u64| Insn::LoadImm64 { dst, imm: skep_bpf::insn::Imm64::Value(imm) };
    let with = |op, dst, src| alu(op, dst, Src::Reg(src));
    let by = |op, dst, amount| alu(op, dst, Src::Imm(amount));
    let insns = [
        alu(AluOp::Mov, Reg::R0, Src::Reg(Reg::R1)),
        alu(AluOp::Mov, Reg::R3, Src::Reg(Reg::R0)),
        by(AluOp::Rsh, Reg::R3, 1),
        number(Reg::R4, 0x5555_5555_5555_5555),
        with(AluOp::And, Reg::R3, Reg::R4),
        with(AluOp::Sub, Reg::R0, Reg::R3),
        number(Reg::R4, 0x3333_3333_3333_3333),
        alu(AluOp::Mov, Reg::R3, Src::Reg(Reg::R0)),
        with(AluOp::And, Reg::R3, Reg::R4),
        by(AluOp::Rsh, Reg::R0, 2),
        with(AluOp::And, Reg::R0, Reg::R4),
        with(AluOp::Add, Reg::R3, Reg::R0),
        alu(AluOp::Mov, Reg::R0, Src::Reg(Reg::R3)),
        by(AluOp::Rsh, Reg::R0, 4),
        with(AluOp::Add, Reg::R0, Reg::R3),
        number(Reg::R4, 0x0f0f_0f0f_0f0f_0f0f),
        with(AluOp::And, Reg::R0, Reg::R4),
        number(Reg::R4, 0x0101_0101_0101_0101),
        with(AluOp::Mul, Reg::R0, Reg::R4),
        by(AluOp::Rsh, Reg::R0, 56),
        Insn::Exit,
    ];
    let (program, func) = optimised(&insns);
    let order = func.reverse_postorder();
    let mut nodes = order.iter().flat_map(|id| &func.blocks[id.index()].nodes);
    let counts = nodes.any(|value| matches!(func.op(*value), Op::Unary(Un::Popcnt, Width::W64, _)));
    assert!(counts, "{func}");
    for seed in [0, 1, 0x8000_0000_0000_0001, 0x0123_4567_89ab_cdef, u64::MAX] {
        super::check(seed, &program, super::Passes::ALL, true, &[300]);
    }
}
