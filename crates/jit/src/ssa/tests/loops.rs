//! Random loops that count: with two bounds, with ways out that depend on memory, with fuel that
//! comes in slices and ends anywhere.

use skep_bpf::codec::{Slot, encode};
use skep_bpf::insn::{Extend, Insn, Mem, Offset, Reg, Src};
use skep_bpf::op::{AluOp, Cond, Size, Width};
use skep_bpf::program::{Bytecode, Program};

use super::super::ir::{Bin, BlockId, Func, Op};
use super::{
    Binding, Counts, Flow, HelperId, PAGE, Passes, Random, Source, check, combinations,
    no_function, no_lookup, optimise,
};

const COUNTER: Reg = Reg::R7;
const BOUND: Reg = Reg::R8;

fn mov(width: Width, dst: Reg, src: Src) -> Insn<Offset> {
    Insn::Alu { op: AluOp::Mov, width, dst, src }
}

/// Something small that a round does.
fn work(random: &mut Random) -> Insn<Offset> {
    let values = [Reg::R0, Reg::R1, Reg::R2, Reg::R3, Reg::R4];
    let dst = random.of(&values);
    let mem = Mem { base: Reg::R9, offset: random.below(16) as i16 };
    let width = random.of(Width::ALL);
    match random.below(10) {
        0..=2 => Insn::Load { size: random.of(Size::ALL), extend: Extend::Zero, dst: Reg::R3, mem },
        3 => Insn::Store { size: random.of(Size::ALL), mem, src: Src::Reg(dst) },
        4..=6 => Insn::Alu { op: AluOp::Add, width, dst, src: Src::Reg(random.of(&values)) },
        7 => Insn::Alu { op: AluOp::Xor, width, dst, src: Src::Reg(COUNTER) },
        8 => {
            let step = random.of(&[0, 1, 4, 16]);
            Insn::Alu { op: AluOp::Add, width, dst: Reg::R9, src: Src::Imm(step) }
        }
        _ => {
            let op = random.of(AluOp::ALL);
            Insn::Alu { op, width, dst, src: Src::Imm(random.imm()) }
        }
    }
}

/// Where a jump leads.
#[derive(Clone, Copy)]
enum To {
    Head,
    End,
}

fn random_loop(random: &mut Random) -> Option<Program> {
    let mut insns: Vec<(Insn<Offset>, Option<To>)> = Vec::new();
    let plain = |insn| (insn, None);
    insns.push(plain(mov(Width::W64, Reg::R6, Src::Imm(PAGE as i32))));
    insns.push(plain(mov(Width::W64, Reg::R9, Src::Reg(Reg::R6))));
    let start = random.of(&[0, 0, 1, 5, -3, 40, -40]);
    let around = random.of(&[Width::W32, Width::W64]);
    insns.push(plain(mov(around, COUNTER, Src::Imm(start))));
    let near = start.wrapping_add(random.below(80) as i32 - 20);
    let far = random.imm();
    let bound = random.of(&[near, near, near, far]);
    insns.push(plain(mov(random.of(Width::ALL), BOUND, Src::Imm(bound))));
    // A bound that no pass can know.
    if random.below(2) == 0 {
        let src = Src::Reg(Reg::R4);
        insns.push(plain(Insn::Alu { op: AluOp::Xor, width: Width::W64, dst: BOUND, src }));
    }
    insns.push(plain(mov(Width::W64, Reg::R3, Src::Imm(3))));
    let head = insns.len();
    let step = random.of(&[1, 1, 1, -1, -1, 2, -2, 3, 4, -8, 16]);
    let count = Insn::Alu {
        op: AluOp::Add,
        width: random.of(Width::ALL),
        dst: COUNTER,
        src: Src::Imm(step),
    };
    let conds = if step > 0 {
        [Cond::Lt, Cond::Le, Cond::Slt, Cond::Sle, Cond::Ne]
    } else {
        [Cond::Gt, Cond::Ge, Cond::Sgt, Cond::Sge, Cond::Ne]
    };
    let stays = |random: &mut Random| random.of(&conds);
    let limit = |random: &mut Random| match random.below(3) {
        0 => Src::Imm(near.wrapping_add(random.below(9) as i32 - 4)),
        _ => Src::Reg(BOUND),
    };
    let size = 1 + random.below(6);
    let counts_at = random.below(size + 1);
    for place in 0..=size {
        if place == counts_at {
            insns.push(plain(count));
        }
        if random.below(6) == 0 {
            let cond = super::super::simplify::negated(stays(random))?;
            let (width, src) = (random.of(Width::ALL), limit(random));
            let target = Offset(0);
            insns.push((Insn::Branch { cond, width, dst: COUNTER, src, target }, Some(To::End)));
        }
        if random.below(6) == 0 {
            let cond = random.of(Cond::ALL);
            let (width, src) = (random.of(Width::ALL), Src::Imm(random.imm()));
            let target = Offset(0);
            insns.push((Insn::Branch { cond, width, dst: Reg::R3, src, target }, Some(To::End)));
        }
        insns.push(plain(work(random)));
    }
    let (cond, width, src) = (stays(random), random.of(Width::ALL), limit(random));
    let target = Offset(0);
    insns.push((Insn::Branch { cond, width, dst: COUNTER, src, target }, Some(To::Head)));
    let end = insns.len();
    for reg in [Reg::R1, Reg::R2, Reg::R3, Reg::R4, Reg::R7, Reg::R9] {
        let (op, src) = (AluOp::Add, Src::Reg(reg));
        insns.push(plain(Insn::Alu { op: AluOp::Mul, width, dst: Reg::R0, src: Src::Imm(31) }));
        insns.push(plain(Insn::Alu { op, width: Width::W64, dst: Reg::R0, src }));
    }
    insns.push(plain(Insn::Exit));
    let mut slots: Vec<Slot> = Vec::new();
    for (at, (insn, to)) in insns.into_iter().enumerate() {
        let place = match to {
            Some(To::Head) => head,
            Some(To::End) => end,
            None => at,
        };
        let insn = match insn {
            Insn::Branch { cond, width, dst, src, .. } => {
                let target = Offset(place as i32 - at as i32 - 1);
                Insn::Branch { cond, width, dst, src, target }
            }
            insn => insn,
        };
        slots.extend(encode(&insn).ok()?.slots());
    }
    Program::new(&Bytecode::from(slots)).ok()
}

#[test]
fn random_loops_compute_the_same() {
    let count = std::env::var("SKEP_SSA_PROGRAMS").ok().and_then(|text| text.parse().ok());
    for seed in 0..count.unwrap_or(300) {
        let mut random = Random(seed);
        let Some(program) = random_loop(&mut random) else { continue };
        let fuel: Vec<i64> = (0..=random.below(3))
            .map(|_| random.of(&[20, 100, 300, 1000, 5000]) + random.below(50) as i64)
            .collect();
        for passes in combinations() {
            check(seed, &program, passes, true, &fuel);
        }
        check(seed, &program, Passes::ALL, false, &fuel);
    }
}

/// The function of a program without a proof, after all passes.
pub(super) fn optimised(insns: &[Insn<Offset>]) -> (Program, Func) {
    let slots: Vec<Slot> = insns.iter().flat_map(|insn| encode(insn).unwrap().slots()).collect();
    let program = Program::new(&Bytecode::from(slots)).unwrap();
    let helper = |_: HelperId| Binding::Generic { site: 0, args: 5 };
    let insns = program.insns();
    let source = Source {
        program: &program,
        insns,
        proof: None,
        metered: true,
        helper: &helper,
        lookup: &no_lookup,
        function: &no_function,
        site: 0,
    };
    let flow = Flow::new(&source);
    let func = optimise(&source, &flow, Passes::ALL, Counts::ALL).remove(0);
    (program, func)
}

/// Whether a way leads from a block to itself.
fn is_in_loop(func: &Func, block: BlockId) -> bool {
    let mut seen = vec![false; func.blocks.len()];
    let mut path = vec![block];
    while let Some(at) = path.pop() {
        for edge in func.blocks[at.index()].term.edges() {
            if edge.to == block {
                return true;
            }
            if !std::mem::replace(&mut seen[edge.to.index()], true) {
                path.push(edge.to);
            }
        }
    }
    false
}

pub(super) fn alu(op: AluOp, dst: Reg, src: Src) -> Insn<Offset> {
    Insn::Alu { op, width: Width::W64, dst, src }
}

/// `r0 += r2 * 7` as long as `r7` is below `r1`.
fn sum_of_products() -> Vec<Insn<Offset>> {
    let (cond, width) = (Cond::Lt, Width::W64);
    let (src, target) = (Src::Reg(Reg::R1), Offset(-6));
    vec![
        alu(AluOp::Mov, Reg::R0, Src::Imm(0)),
        alu(AluOp::Mov, COUNTER, Src::Imm(0)),
        alu(AluOp::Mov, Reg::R3, Src::Reg(Reg::R2)),
        alu(AluOp::Mul, Reg::R3, Src::Imm(7)),
        alu(AluOp::Add, Reg::R0, Src::Reg(Reg::R3)),
        alu(AluOp::Xor, Reg::R0, Src::Reg(COUNTER)),
        alu(AluOp::Add, COUNTER, Src::Imm(1)),
        Insn::Branch { cond, width, dst: COUNTER, src, target },
        Insn::Exit,
    ]
}

#[test]
fn what_does_not_change_is_computed_in_front() {
    let (_, func) = optimised(&sum_of_products());
    for id in func.reverse_postorder() {
        let multiplies = func.blocks[id.index()].nodes.iter().any(|value| {
            matches!(func.op(*value), Op::Binary(Bin::Mul, _, a, _)
                if func.op(a) == Op::Entry(Reg::R2))
        });
        assert!(!(multiplies && is_in_loop(&func, id)), "{id}\n{func}");
    }
}

#[test]
fn most_rounds_are_made_without_a_check() {
    let (_, func) = optimised(&sum_of_products());
    let order = func.reverse_postorder();
    let checks = |id: BlockId| {
        let nodes = &func.blocks[id.index()].nodes;
        nodes.iter().any(|value| matches!(func.op(*value), Op::Charge(_) | Op::ChargeAndCheck(_)))
    };
    let free = order.iter().filter(|id| is_in_loop(&func, **id) && !checks(**id));
    let alone = free.filter(|id| func.blocks[id.index()].term.edges().any(|edge| edge.to == **id));
    assert_eq!(alone.count(), 1, "{func}");
}
