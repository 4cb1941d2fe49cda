//! Statements that lead elsewhere: branches, bounded loops, calls.

use skep_bpf::insn::{Callee, Insn, Reg, Src};
use skep_bpf::op::{Cond, Width};

use super::{Generator, Holds, MOST_FUNCTIONS, Registers, add, mov};

impl Generator {
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
    pub(super) fn branch(&mut self) {
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
    pub(super) fn repeat(&mut self) {
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
    pub(super) fn call(&mut self) {
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
