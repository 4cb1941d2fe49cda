//! The generator: statements in random order, and what each register holds after them.

mod control;
mod memory;

use skep_bpf::insn::{Callee, Extend, Imm64, Insn, Mem, Reg, Src};
use skep_bpf::op::{AluOp, Endian, Movsx, Size, SwapBits, Width};

use super::{Random, layout};

/// What a register holds, on every path that leads to where the generator is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Holds {
    /// Nothing that may be read.
    Nothing,
    /// A number.
    Scalar,
    /// The address of byte `.0` of the map's value.
    Value(i32),
    /// The address of a byte of the stack; 0 is `r10`, others are below.
    Stack(i32),
}

/// `r0` to `r9`.
type Registers = [Holds; 10];

/// Makes one program.
#[derive(Debug)]
pub struct Generator {
    random: Random,
    insns: Vec<Insn<usize>>,
    registers: Registers,
    /// Registers that count loops and must not be written.
    counters: Vec<Reg>,
    /// Calls whose function does not exist yet: the call's index and the function's number.
    calls: Vec<(usize, usize)>,
    /// How many functions are called.
    functions: usize,
    /// The number of the function being made; 0 is the main function.
    function: usize,
    /// Branches made so far, of which too many would keep the verifier busy.
    branches: usize,
    /// How deep statements are nested.
    depth: usize,
}

const MOST_BRANCHES: usize = 10;
const MOST_FUNCTIONS: usize = 3;

fn mov(dst: Reg, src: Src) -> Insn<usize> {
    Insn::Alu { op: AluOp::Mov, width: Width::W64, dst, src }
}

fn add(dst: Reg, imm: i32) -> Insn<usize> {
    Insn::Alu { op: AluOp::Add, width: Width::W64, dst, src: Src::Imm(imm) }
}

fn value_address(dst: Reg, offset: i32) -> Insn<usize> {
    Insn::LoadImm64 { dst, imm: Imm64::MapValueByIdx { index: 0, offset } }
}

impl Generator {
    /// A generator that draws from a sequence of random numbers.
    #[must_use]
    pub fn new(random: Random) -> Generator {
        Generator {
            random,
            insns: Vec::new(),
            registers: [Holds::Nothing; 10],
            counters: Vec::new(),
            calls: Vec::new(),
            functions: 0,
            function: 0,
            branches: 0,
            depth: 0,
        }
    }

    /// The program: its main function, then those that it calls.
    #[must_use]
    pub fn program(mut self) -> Vec<Insn<usize>> {
        self.start_main();
        let statements = 4 + self.random.below(24);
        self.statements(statements);
        self.finish_main();
        while self.function < self.functions {
            self.function += 1;
            self.one_function();
        }
        self.insns
    }

    fn emit(&mut self, insn: Insn<usize>) {
        self.insns.push(insn);
    }

    /// All registers are scalars: constants, which the verifier follows, or memory's contents,
    /// of which it knows nothing.
    fn start_main(&mut self) {
        self.emit(value_address(Reg::R1, 0));
        let others = Reg::ALL[..10].iter().copied().filter(|reg| *reg != Reg::R1);
        for reg in others.chain([Reg::R1]) {
            if self.random.one_in(2) {
                self.constant(reg);
            } else {
                let offset = (layout::MEMORY + 8 * reg.index()) as i16;
                let mem = Mem { base: Reg::R1, offset };
                self.emit(Insn::Load { size: Size::Dw, extend: Extend::Zero, dst: reg, mem });
            }
            self.set(reg, Holds::Scalar);
        }
        self.fill_stack();
    }

    fn constant(&mut self, dst: Reg) {
        let value = self.random.word();
        self.emit(Insn::LoadImm64 { dst, imm: Imm64::Value(value) });
    }

    fn fill_stack(&mut self) {
        for slot in 1..=(layout::STACK_BYTES / 8) as i16 {
            let mem = Mem { base: Reg::R10, offset: -8 * slot };
            let src = self.scalar_operand();
            self.emit(Insn::Store { size: Size::Dw, mem, src });
        }
    }

    /// Stores registers and stack in the map's value and ends the program.
    fn finish_main(&mut self) {
        self.all_scalars();
        let saved = Mem { base: Reg::R10, offset: -(layout::STACK_BYTES as i16) - 8 };
        self.emit(Insn::Store { size: Size::Dw, mem: saved, src: Src::Reg(Reg::R1) });
        self.emit(value_address(Reg::R1, 0));
        let to = |offset: usize| Mem { base: Reg::R1, offset: offset as i16 };
        let store =
            |offset, reg| Insn::Store { size: Size::Dw, mem: to(offset), src: Src::Reg(reg) };
        let load = |mem| Insn::Load { size: Size::Dw, extend: Extend::Zero, dst: Reg::R0, mem };
        for reg in Reg::ALL[..10].iter().copied().filter(|reg| *reg != Reg::R1) {
            self.emit(store(layout::REGISTERS + 8 * reg.index(), reg));
        }
        self.emit(load(saved));
        self.emit(store(layout::REGISTERS + 8, Reg::R0));
        for slot in 0..layout::STACK_BYTES / 8 {
            let offset = -((8 * (slot + 1)) as i16);
            self.emit(load(Mem { base: Reg::R10, offset }));
            self.emit(store(layout::STACK + 8 * slot, Reg::R0));
        }
        self.emit(mov(Reg::R0, Src::Imm(0)));
        self.emit(Insn::Exit);
    }

    /// A function of up to five numbers, which returns one.
    fn one_function(&mut self) {
        let entry = self.insns.len();
        for (call, function) in std::mem::take(&mut self.calls) {
            if function == self.function {
                self.insns[call] = Insn::Call { callee: Callee::Local(entry) };
            } else {
                self.calls.push((call, function));
            }
        }
        self.registers = [Holds::Nothing; 10];
        self.registers[1..6].fill(Holds::Scalar);
        self.fill_stack();
        let statements = 1 + self.random.below(6);
        self.statements(statements);
        self.make_scalar(Reg::R0);
        self.emit(Insn::Exit);
    }

    fn statements(&mut self, count: usize) {
        for _ in 0..count {
            self.statement();
        }
    }

    fn statement(&mut self) {
        let nests = self.depth < 2 && self.branches < MOST_BRANCHES;
        match self.random.below(20) {
            0..=7 => self.arithmetic(),
            8..=11 => self.access(),
            12 | 13 => self.atomic(),
            14 => self.pointer(),
            15 | 16 if nests => self.branch(),
            17 if nests => self.repeat(),
            18 => self.call(),
            19 => self.access_at_variable_offset(),
            _ => self.arithmetic(),
        }
    }

    /// A register that may be written.
    fn destination(&mut self) -> Reg {
        loop {
            let reg = self.random.of(&Reg::ALL[..10]);
            if !self.counters.contains(&reg) {
                return reg;
            }
        }
    }

    fn set(&mut self, reg: Reg, holds: Holds) {
        self.registers[reg.index()] = holds;
    }

    fn holds(&self, reg: Reg) -> Holds {
        self.registers[reg.index()]
    }

    fn scalar_register(&mut self) -> Option<Reg> {
        let scalars: Vec<Reg> = Reg::ALL[..10]
            .iter()
            .copied()
            .filter(|reg| self.holds(*reg) == Holds::Scalar)
            .collect();
        if scalars.is_empty() { None } else { Some(self.random.of(&scalars)) }
    }

    fn scalar_operand(&mut self) -> Src {
        match self.scalar_register() {
            Some(reg) if !self.random.one_in(3) => Src::Reg(reg),
            _ => Src::Imm(self.random.imm()),
        }
    }

    /// Makes sure that a register holds a number.
    fn make_scalar(&mut self, reg: Reg) {
        if self.holds(reg) != Holds::Scalar {
            match self.random.below(3) {
                0 => self.emit(mov(reg, Src::Imm(7))),
                1 => {
                    let offset = -8 * (1 + self.random.below(layout::STACK_BYTES / 8) as i16);
                    let mem = Mem { base: Reg::R10, offset };
                    self.emit(Insn::Load { size: Size::Dw, extend: Extend::Zero, dst: reg, mem });
                }
                _ => self.constant(reg),
            }
            self.set(reg, Holds::Scalar);
        }
    }

    fn all_scalars(&mut self) {
        for reg in Reg::ALL[..10].iter().copied() {
            self.make_scalar(reg);
        }
    }

    fn arithmetic(&mut self) {
        let dst = self.destination();
        let width = self.random.of(Width::ALL);
        match self.random.below(12) {
            0 => {
                let op = self.random.of(Movsx::ALL);
                if let Some(src) = self.scalar_register() {
                    self.emit(Insn::Movsx { op, dst, src });
                    self.set(dst, Holds::Scalar);
                }
            }
            1 => {
                self.make_scalar(dst);
                let (op, bits) = (self.random.of(Endian::ALL), self.random.of(SwapBits::ALL));
                self.emit(Insn::Endian { op, bits, dst });
            }
            2 => {
                self.make_scalar(dst);
                self.emit(Insn::Neg { width, dst });
            }
            3 => {
                self.constant(dst);
                self.set(dst, Holds::Scalar);
            }
            _ => {
                let op = self.random.of(AluOp::ALL);
                if op != AluOp::Mov {
                    self.make_scalar(dst);
                }
                let mut src = self.scalar_operand();
                if let Src::Imm(imm) = &mut src {
                    *imm = legal(op, width, *imm);
                }
                self.emit(Insn::Alu { op, width, dst, src });
                self.set(dst, Holds::Scalar);
            }
        }
    }
}

/// An immediate that the verifier accepts: no division by zero, no shift beyond the width.
fn legal(op: AluOp, width: Width, imm: i32) -> i32 {
    match op {
        AluOp::Div | AluOp::Sdiv | AluOp::Mod | AluOp::Smod if imm == 0 => 1,
        AluOp::Lsh | AluOp::Rsh | AluOp::Arsh => imm & (width.bits() as i32 - 1),
        _ => imm,
    }
}
