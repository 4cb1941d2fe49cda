//! Random functions, run instruction by instruction and as SSA after every combination of passes:
//! result, memory, traps and fuel must be the same.

use std::collections::BTreeMap;

use skep_bpf::codec::{Slot, encode};
use skep_bpf::eval;
use skep_bpf::insn::{Callee, Extend, HelperId, Imm64, Insn, Mem, Offset, Reg, Src};
use skep_bpf::op::{AluOp, AtomicOp, Cond, Endian, Movsx, Size, SwapBits, Width};
use skep_bpf::program::{Bytecode, Program};

use super::eval::{End, World, evaluate};
use super::ir::{CallSite, Func, Target};
use super::{Counts, Passes, optimise};
use crate::flow::Flow;
use crate::source::{Binding, Source, no_function, no_lookup};

mod loops;

mod memory;

/// Numbers that look random (SplitMix64).
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(super) fn below(&mut self, limit: usize) -> usize {
        (self.bits() % limit as u64) as usize
    }

    pub(super) fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }

    fn imm(&mut self) -> i32 {
        match self.below(5) {
            0 => self.of(&[0, 1, -1, i32::MIN, i32::MAX, 0xff, 0xffff, 32, 31, 16, 8]),
            1 => 1 << self.below(32),
            2 => self.below(64) as i32,
            _ => self.bits() as i32,
        }
    }
}

/// Guest memory: the frame, a page, and nothing else.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Memory {
    bytes: BTreeMap<u32, u8>,
    calls: u64,
    /// What fuel there is after that which a run starts with.
    slices: Vec<i64>,
    given: i64,
}

const FRAME_TOP: u32 = 0x2_0000;
const PAGE: u32 = 0x3_0000;

fn is_mapped(addr: u32, bytes: u32) -> bool {
    let within = |start: u32, len: u32| addr >= start && addr - start <= len - bytes;
    within(FRAME_TOP - 512, 512) || within(PAGE, 256)
}

impl World for Memory {
    fn load(&mut self, addr: u32, size: Size) -> Option<u64> {
        if !is_mapped(addr, size.bytes()) {
            return None;
        }
        let byte = |index: u32| u64::from(*self.bytes.get(&(addr + index)).unwrap_or(&0));
        Some((0..size.bytes()).map(|index| byte(index) << (8 * index)).sum())
    }

    fn store(&mut self, addr: u32, size: Size, value: u64) -> Option<()> {
        if !is_mapped(addr, size.bytes()) {
            return None;
        }
        for index in 0..size.bytes() {
            self.bytes.insert(addr + index, (value >> (8 * index)) as u8);
        }
        Some(())
    }

    fn call(&mut self, site: &CallSite, args: &[u64]) -> Option<u64> {
        assert!(matches!(site.target, Target::Helper(_)), "only helpers are called here");
        self.calls =
            self.calls.wrapping_mul(31).wrapping_add(args.iter().fold(0, |sum, arg| sum ^ arg));
        Some(self.calls)
    }

    fn refuel(&mut self, _pc: u32) -> Option<i64> {
        let slice = self.slices.pop()?;
        self.given += slice;
        Some(slice)
    }
}

fn random_insn(random: &mut Random, at: usize, len: usize) -> Insn<Offset> {
    let writable = |random: &mut Random| random.of(&Reg::ALL[..10]);
    let any = |random: &mut Random| {
        if random.below(16) == 0 { Reg::R10 } else { random.of(&Reg::ALL[..10]) }
    };
    let src = |random: &mut Random| {
        if random.below(2) == 0 { Src::Imm(random.imm()) } else { Src::Reg(any(random)) }
    };
    let width = random.of(Width::ALL);
    let mem = |random: &mut Random| match random.below(3) {
        0 => Mem { base: Reg::R6, offset: random.below(256) as i16 },
        1 => Mem { base: Reg::R10, offset: -(random.below(40) as i16) - 1 },
        _ => Mem { base: Reg::R10, offset: -8 * (random.below(5) as i16) - 8 },
    };
    let target = Offset(random.below(len) as i32 - at as i32 - 1);
    match random.below(24) {
        0..=8 => {
            let op = random.of(AluOp::ALL);
            Insn::Alu { op, width, dst: writable(random), src: src(random) }
        }
        9 => Insn::Neg { width, dst: writable(random) },
        10 => Insn::Movsx { op: random.of(Movsx::ALL), dst: writable(random), src: any(random) },
        11 => {
            let (op, bits) = (random.of(Endian::ALL), random.of(SwapBits::ALL));
            Insn::Endian { op, bits, dst: writable(random) }
        }
        12..=14 => {
            let extend = random.of(&[Extend::Zero, Extend::Zero, Extend::Sign]);
            let size = random.of(Size::ALL);
            let extend = if size == Size::Dw { Extend::Zero } else { extend };
            Insn::Load { size, extend, dst: writable(random), mem: mem(random) }
        }
        15..=17 => Insn::Store { size: random.of(Size::ALL), mem: mem(random), src: src(random) },
        18 => {
            let op = random.of(AtomicOp::ALL);
            let mem = Mem { base: Reg::R6, offset: 8 * random.below(16) as i16 };
            Insn::Atomic { op, width, mem, src: writable(random) }
        }
        19 => Insn::Call { callee: Callee::Helper(HelperId(7)) },
        20 => Insn::MayGoto { target },
        21 => Insn::Jump { wide: false, target },
        _ => {
            let cond = random.of(Cond::ALL);
            Insn::Branch { cond, width, dst: any(random), src: src(random), target }
        }
    }
}

/// `r6` is the page; often shifts that clang writes; sometimes the frame escapes.
fn random_program(seed: u64) -> Option<Program> {
    let mut random = Random(seed);
    let len = 4 + random.below(40);
    let escapes = random.below(4) == 0;
    let mut insns: Vec<Insn<Offset>> = Vec::new();
    while insns.len() < len {
        let insn = if insns.len() == 3 {
            Insn::Alu {
                op: AluOp::Mov,
                width: Width::W64,
                dst: Reg::R6,
                src: Src::Imm(PAGE as i32),
            }
        } else {
            random_insn(&mut random, insns.len(), len)
        };
        let mentions_frame = match insn {
            Insn::Alu { src, .. } | Insn::Store { src, .. } => src == Src::Reg(Reg::R10),
            Insn::Branch { dst, src, .. } => dst == Reg::R10 || src == Src::Reg(Reg::R10),
            Insn::Movsx { src, .. } => src == Reg::R10,
            _ => false,
        };
        if insn.written() == Some(Reg::R6) && insns.len() != 3 || mentions_frame && !escapes {
            continue;
        }
        insns.push(insn);
        // As clang extends to 64 bits.
        if random.below(8) == 0 && insns.len() + 2 < len && insns.len() > 4 {
            let dst = random.of(&Reg::ALL[..6]);
            let width = random.of(Width::ALL);
            for _ in 0..2 {
                let op = random.of(&[AluOp::Lsh, AluOp::Rsh, AluOp::Arsh]);
                let amount = random.of(&[32, 32, 30, 24, 16, 8, 1]);
                insns.push(Insn::Alu { op, width, dst, src: Src::Imm(amount) });
            }
        }
    }
    insns.push(Insn::Exit);
    let slots: Vec<Slot> = insns
        .iter()
        .map(encode)
        .collect::<Result<Vec<_>, _>>()
        .ok()?
        .into_iter()
        .flat_map(|e| e.slots())
        .collect();
    Program::new(&Bytecode::from(slots)).ok()
}

struct Direct<'a> {
    program: &'a Program,
    registers: [u64; 11],
    memory: Memory,
    may_goto: u32,
    executed: i64,
}

impl Direct<'_> {
    fn operand(&self, src: Src) -> u64 {
        match src {
            Src::Imm(imm) => i64::from(imm) as u64,
            Src::Reg(reg) => self.registers[reg.index()],
        }
    }

    fn address(&self, mem: Mem) -> u32 {
        (self.registers[mem.base.index()] as u32).wrapping_add(mem.offset as i32 as u32)
    }

    /// Executes an instruction: the next, or how it ends.
    fn step(&mut self, at: usize, fuel: i64) -> Result<usize, End> {
        let insn = self.program.insns()[at];
        let trap = Err(End::Trapped(at as u32));
        self.executed += 1;
        let jump = |this: &Self, target: usize| {
            let runs_out = target <= at && this.executed > fuel;
            if runs_out { Err(End::Trapped(at as u32)) } else { Ok(target) }
        };
        match insn {
            Insn::Alu { op, width, dst, src } => {
                let value = op.eval(width, self.registers[dst.index()], self.operand(src));
                self.registers[dst.index()] = value;
            }
            Insn::Neg { width, dst } => {
                self.registers[dst.index()] = eval::neg(width, self.registers[dst.index()]);
            }
            Insn::Movsx { op, dst, src } => {
                self.registers[dst.index()] = op.eval(self.registers[src.index()]);
            }
            Insn::Endian { op, bits, dst } => {
                self.registers[dst.index()] = op.eval(bits, self.registers[dst.index()]);
            }
            Insn::LoadImm64 { dst, imm: Imm64::Value(number) } => {
                self.registers[dst.index()] = number;
            }
            Insn::Load { size, extend, dst, mem } => {
                let Some(bits) = self.memory.load(self.address(mem), size) else { return trap };
                self.registers[dst.index()] = size.extend(extend, bits);
            }
            Insn::Store { size, mem, src } => {
                let value = self.operand(src);
                if self.memory.store(self.address(mem), size, value).is_none() {
                    return trap;
                }
            }
            Insn::Atomic { op, width, mem, src } => {
                let size = if width == Width::W64 { Size::Dw } else { Size::W };
                let addr = self.address(mem);
                let Some(old) = self.memory.load(addr, size) else { return trap };
                let (operand, r0) = (self.registers[src.index()], self.registers[0]);
                self.memory.store(addr, size, op.eval(width, old, operand, r0));
                if matches!(op, AtomicOp::Cmpxchg) {
                    self.registers[0] = old;
                } else if op.row().fetch {
                    self.registers[src.index()] = old;
                }
            }
            Insn::Call { callee: Callee::Helper(_) } => {
                let sum = self.registers[1..6].iter().fold(0, |sum, arg| sum ^ arg);
                self.memory.calls = self.memory.calls.wrapping_mul(31).wrapping_add(sum);
                self.registers[0] = self.memory.calls;
                self.registers[1..6].fill(0);
            }
            Insn::Jump { target, .. } => return jump(self, target.index()),
            Insn::Branch { cond, width, dst, src, target } => {
                if cond.eval(width, self.registers[dst.index()], self.operand(src)) {
                    return jump(self, target.index());
                }
            }
            Insn::MayGoto { target } => {
                if self.may_goto == 0 {
                    return jump(self, target.index());
                }
                self.may_goto -= 1;
            }
            Insn::Exit => return Err(End::Returned(self.registers[0])),
            other => panic!("the generator makes no {other:?}"),
        }
        Ok(at + 1)
    }
}

/// No pass, all of them, each alone, all but each.
fn combinations() -> Vec<Passes> {
    let mut all = vec![Passes::NONE, Passes::ALL];
    for (_, set) in Passes::SETTERS {
        for mut passes in [Passes::NONE, Passes::ALL] {
            let on = passes == Passes::NONE;
            set(&mut passes, on);
            all.push(passes);
        }
    }
    all
}

/// What is alike in both runs: calls and the bytes outside the frame, where variables live.
fn outside_the_frame(memory: &Memory) -> (u64, Vec<(u32, u8)>) {
    let outside = memory.bytes.iter().filter(|(addr, _)| **addr >= PAGE);
    (memory.calls, outside.map(|(addr, byte)| (*addr, *byte)).collect())
}

/// Runs a program both ways, with fuel that comes in slices.
fn check(seed: u64, program: &Program, passes: Passes, metered: bool, fuel: &[i64]) {
    let all: i64 = fuel.iter().sum();
    let (first, slices) = fuel.split_first().unwrap();
    let mut direct = Direct {
        program,
        registers: [0; 11],
        memory: Memory::default(),
        may_goto: crate::abi::MAY_GOTO_LIMIT,
        executed: 0,
    };
    direct.registers[1] = u64::from(PAGE) | seed << 40;
    direct.registers[2] = seed;
    direct.registers[10] = FRAME_TOP.into();
    let entry = direct.registers;
    let mut at = 0;
    let expected = loop {
        match direct.step(at, all) {
            Ok(next) => at = next,
            Err(end) => break end,
        }
    };
    let helper = |_: HelperId| Binding::Generic { site: 0, args: 5 };
    let source = Source {
        program,
        insns: program.insns(),
        proof: None,
        metered,
        helper: &helper,
        lookup: &no_lookup,
        function: &no_function,
        site: 0,
    };
    let flow = Flow::new(&source);
    let func = optimise(&source, &flow, passes, Counts::ALL).remove(0);
    validate(&func);
    let mut memory = Memory { slices: slices.to_vec(), ..Memory::default() };
    let (end, left) = evaluate(&func, entry, *first, 100_000, &mut memory);
    let context = || format!("seed {seed}, {passes:?}, metered {metered}\n{func}");
    if !metered && (direct.executed > all || end == End::TooLong) {
        return;
    }
    assert_eq!(end, expected, "{}", context());
    if matches!(end, End::Returned(_)) {
        assert_eq!(outside_the_frame(&memory), outside_the_frame(&direct.memory), "{}", context());
        if metered {
            assert_eq!(first + memory.given - left, direct.executed, "{}", context());
        }
    }
}

/// Every value that is read is computed above, and edges bring what blocks take.
fn validate(func: &Func) {
    let dominators = super::dominators::Dominators::new(func);
    let mut home = vec![None; func.nodes.len()];
    for &id in &dominators.order {
        let block = &func.blocks[id.index()];
        for (place, value) in block.params.iter().chain(&block.nodes).enumerate() {
            assert_eq!(home[value.index()].replace((id, place)), None, "{value} twice\n{func}");
        }
    }
    for &id in &dominators.order {
        let block = &func.blocks[id.index()];
        let known = |used: super::ir::Val, place: usize| match home[used.index()] {
            Some((above, at)) if above == id => at < place,
            Some((above, _)) => dominators.dominates(above, id),
            None => {
                matches!(func.op(used), super::ir::Op::Const(_) | super::ir::Op::Entry(Reg::R10))
            }
        };
        for (index, value) in block.nodes.iter().enumerate() {
            let place = block.params.len() + index;
            func.for_each_use(&func.op(*value), |used| {
                assert!(known(used, place), "{value} reads {used} too early\n{func}");
            });
        }
        block
            .term
            .for_each_use(|used| assert!(known(used, usize::MAX), "{id} reads {used}\n{func}"));
        for edge in block.term.edges() {
            assert_eq!(edge.args.len(), func.blocks[edge.to.index()].params.len(), "{id}\n{func}");
        }
    }
}

#[test]
fn random_functions_compute_the_same() {
    let count = std::env::var("SKEP_SSA_PROGRAMS").ok().and_then(|text| text.parse().ok());
    let mut done = 0;
    let mut seed = 0;
    while done < count.unwrap_or(300) {
        seed += 1;
        let Some(program) = random_program(seed) else { continue };
        done += 1;
        for passes in combinations() {
            check(seed, &program, passes, true, &[300]);
        }
        check(seed, &program, Passes::ALL, false, &[300]);
    }
}
