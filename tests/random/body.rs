//! The generator: statements in random order, and what each register holds after them.

use skep_bpf::insn::{Callee, Extend, Imm64, Insn, Mem, Reg, Src};
use skep_bpf::op::{AluOp, AtomicOp, Cond, Endian, Movsx, Size, SwapBits, Width};

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

    /// Makes a register an address of the value or the stack.
    fn pointer(&mut self) {
        let dst = self.destination();
        if self.random.one_in(2) {
            let offset = (layout::MEMORY + self.random.below(layout::MEMORY_BYTES)) as i32;
            self.emit(value_address(dst, offset));
            self.set(dst, Holds::Value(offset));
        } else {
            let offset = -(self.random.below(layout::STACK_BYTES + 1) as i32);
            self.emit(mov(dst, Src::Reg(Reg::R10)));
            self.emit(add(dst, offset));
            self.set(dst, Holds::Stack(offset));
        }
    }

    /// A memory operand that an access of a size may use: in the value at any offset if it need
    /// not be aligned, on the stack always aligned.
    fn memory(&mut self, size: Size, aligned: bool) -> Mem {
        let bytes = size.bytes() as i32;
        let pointers: Vec<Reg> = Reg::ALL[..10]
            .iter()
            .copied()
            .filter(|reg| matches!(self.holds(*reg), Holds::Value(_) | Holds::Stack(_)))
            .chain([Reg::R10])
            .collect();
        let base = self.random.of(&pointers);
        let at = if base == Reg::R10 { Holds::Stack(0) } else { self.holds(base) };
        let (start, len, from, aligned) = match at {
            Holds::Value(from) => {
                (layout::MEMORY as i32, layout::MEMORY_BYTES as i32, from, aligned)
            }
            Holds::Stack(from) => {
                (-(layout::STACK_BYTES as i32), layout::STACK_BYTES as i32, from, true)
            }
            Holds::Nothing | Holds::Scalar => unreachable!("only addresses were chosen from"),
        };
        let mut target = start + self.random.below((len - bytes + 1) as usize) as i32;
        if aligned {
            target -= target.rem_euclid(bytes);
        }
        Mem { base, offset: (target - from) as i16 }
    }

    fn is_stack(&self, base: Reg) -> bool {
        base == Reg::R10 || matches!(self.holds(base), Holds::Stack(_))
    }

    fn access(&mut self) {
        let size = self.random.of(Size::ALL);
        let ordered = self.random.one_in(4);
        let mem = self.memory(size, ordered);
        if self.random.one_in(2) {
            let dst = self.destination();
            let extend =
                if size != Size::Dw && self.random.one_in(2) { Extend::Sign } else { Extend::Zero };
            self.emit(if ordered {
                Insn::LoadAcquire { size, dst, mem }
            } else {
                Insn::Load { size, extend, dst, mem }
            });
            self.set(dst, Holds::Scalar);
            return;
        }
        match (self.scalar_register(), ordered) {
            (Some(src), true) => self.emit(Insn::StoreRelease { size, mem, src }),
            _ => {
                let src = self.scalar_operand();
                self.emit(Insn::Store { size, mem, src });
            }
        }
    }

    fn atomic(&mut self) {
        let op = self.random.of(AtomicOp::ALL);
        let width = self.random.of(Width::ALL);
        let size = if width == Width::W32 { Size::W } else { Size::Dw };
        let fetches = op.row().fetch;
        if op == AtomicOp::Cmpxchg {
            // Counters are callee-saved, so r0 is none.
            self.make_scalar(Reg::R0);
        }
        let writable =
            |src: &Reg| !fetches || op == AtomicOp::Cmpxchg || !self.counters.contains(src);
        let scalars: Vec<Reg> = Reg::ALL[..10]
            .iter()
            .copied()
            .filter(|reg| self.holds(*reg) == Holds::Scalar)
            .filter(writable)
            .collect();
        if scalars.is_empty() {
            return;
        }
        let src = self.random.of(&scalars);
        let mem = self.memory(size, true);
        if fetches && self.is_stack(mem.base) {
            // Linux 6.18 forgets, when it tracks back what a branch depends on, that a fetch from
            // the stack takes its value from there (`backtrack_insn`), and may then remove a
            // branch that is taken. After an operation that does not fetch it knows nothing of
            // the slot, so that there is nothing to forget.
            self.emit(Insn::Atomic { op: AtomicOp::Xor, width, mem, src });
        }
        self.emit(Insn::Atomic { op, width, mem, src });
    }

    /// An access at an address that only the run decides, within bounds that the verifier sees.
    fn access_at_variable_offset(&mut self) {
        let (base, index) = (self.destination(), self.destination());
        if base == index {
            return;
        }
        self.make_scalar(index);
        let width = self.random.of(Width::ALL);
        let mask = Src::Imm((layout::MEMORY_BYTES / 2 - 1) as i32);
        self.emit(Insn::Alu { op: AluOp::And, width, dst: index, src: mask });
        self.emit(value_address(base, layout::MEMORY as i32));
        let (op, width) = (AluOp::Add, Width::W64);
        self.emit(Insn::Alu { op, width, dst: base, src: Src::Reg(index) });
        self.set(base, Holds::Nothing);
        let size = self.random.of(Size::ALL);
        let offset = self.random.below(layout::MEMORY_BYTES / 2 - 8) as i16;
        let mem = Mem { base, offset };
        if self.random.one_in(2) {
            let src = self.scalar_operand();
            self.emit(Insn::Store { size, mem, src });
        } else {
            self.emit(Insn::Load { size, extend: Extend::Zero, dst: base, mem });
            self.set(base, Holds::Scalar);
        }
    }

    fn condition(&mut self, target: usize) -> Insn<usize> {
        let width = self.random.of(Width::ALL);
        let dst = match self.scalar_register() {
            Some(reg) => reg,
            None => {
                let reg = self.destination();
                self.make_scalar(reg);
                reg
            }
        };
        let src = self.scalar_operand();
        Insn::Branch { cond: self.random.of(Cond::ALL), width, dst, src, target }
    }

    /// Statements that are jumped over if a condition holds, perhaps with others in their place.
    fn branch(&mut self) {
        self.branches += 1;
        self.depth += 1;
        let condition = self.condition(0);
        let branch = self.insns.len();
        self.emit(condition);
        let before = self.registers;
        let count = 1 + self.random.below(4);
        self.statements(count);
        if self.random.one_in(2) {
            let after_first = std::mem::replace(&mut self.registers, before);
            let over = self.insns.len();
            let wide = self.random.one_in(2);
            self.emit(Insn::Jump { wide, target: 0 });
            self.lands(branch);
            let count = 1 + self.random.below(4);
            self.statements(count);
            self.lands(over);
            self.join(after_first);
        } else {
            self.lands(branch);
            self.join(before);
        }
        self.depth -= 1;
    }

    /// Makes a jump lead to where the generator is.
    fn lands(&mut self, jump: usize) {
        let here = self.insns.len();
        if let Insn::Jump { target, .. } | Insn::Branch { target, .. } = &mut self.insns[jump] {
            *target = here;
        }
    }

    /// Only what a register holds on both paths can be relied on.
    fn join(&mut self, other: Registers) {
        for (mine, other) in self.registers.iter_mut().zip(other) {
            if *mine != other {
                *mine = Holds::Nothing;
            }
        }
    }

    /// A loop whose counter nothing else writes. All registers are scalars at its head, whichever
    /// way it is reached.
    fn repeat(&mut self) {
        self.branches += 2;
        self.depth += 1;
        self.all_scalars();
        let counter = self.callee_saved_counter();
        let times = 1 + self.random.below(5) as i32;
        let tests_first = self.random.one_in(2);
        self.emit(mov(counter, Src::Imm(times)));
        self.counters.push(counter);
        let head = self.insns.len();
        let done = |target| Insn::Branch {
            cond: Cond::Eq,
            width: Width::W64,
            dst: counter,
            src: Src::Imm(0),
            target,
        };
        if tests_first {
            self.emit(done(0));
        }
        let count = 1 + self.random.below(4);
        self.statements(count);
        self.all_scalars();
        self.emit(add(counter, -1));
        if tests_first {
            let wide = self.random.one_in(2);
            self.emit(Insn::Jump { wide, target: head });
            self.lands(head);
        } else {
            let width = self.random.of(Width::ALL);
            let cond = self.random.of(&[Cond::Ne, Cond::Sgt, Cond::Gt]);
            let src = Src::Imm(0);
            self.emit(Insn::Branch { cond, width, dst: counter, src, target: head });
        }
        self.counters.pop();
        self.depth -= 1;
    }

    /// A counter must outlive calls. Loops are nested two deep, so there is always one left.
    fn callee_saved_counter(&mut self) -> Reg {
        loop {
            let reg = self.random.of(&[Reg::R6, Reg::R7, Reg::R8, Reg::R9]);
            if !self.counters.contains(&reg) {
                return reg;
            }
        }
    }

    /// A call of a function that comes later, so that there is no recursion.
    fn call(&mut self) {
        let known = self.functions - self.function;
        let new = usize::from(self.functions < MOST_FUNCTIONS);
        if known + new == 0 {
            return self.arithmetic();
        }
        let function = self.function + 1 + self.random.below(known + new);
        self.functions = self.functions.max(function);
        for reg in &Reg::ALL[1..6] {
            self.make_scalar(*reg);
        }
        self.calls.push((self.insns.len(), function));
        self.emit(Insn::Call { callee: Callee::Local(0) });
        self.registers[0] = Holds::Scalar;
        self.registers[1..6].fill(Holds::Nothing);
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
