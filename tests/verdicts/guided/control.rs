//! Branches, joins, loops and calls of the program's own functions.

use super::model::Holds;
use super::{Function, Guide, MOST_FUNCTIONS};
use skep_bpf::insn::{Callee, Insn, Reg, Src};
use skep_bpf::op::{AluOp, Cond, Width};
use skep_bpf::platform::ProgType;

impl Guide {
    fn condition(&mut self) -> usize {
        let width = self.random.of(Width::ALL);
        let dst = self.scalar();
        let src = self.operand();
        let cond = self.random.of(Cond::ALL);
        self.code.emit(Insn::Branch { cond, width, dst, src, target: 0 })
    }

    /// Statements that are jumped over if a condition holds, perhaps with others in their place.
    pub(super) fn if_else(&mut self) {
        self.branches += 1;
        self.depth += 1;
        let branch = self.condition();
        let before = self.state.clone();
        let count = 1 + self.random.below(4);
        self.statements(count);
        if self.random.one_in(2) {
            let first = std::mem::replace(&mut self.state, before);
            let over = self.code.jump();
            self.code.lands(branch);
            let count = 1 + self.random.below(4);
            self.statements(count);
            self.code.lands(over);
            self.state.join(&first);
        } else {
            self.code.lands(branch);
            self.state.join(&before);
        }
        self.depth -= 1;
    }

    /// A loop, counted by a register of its own. What holds at its head holds again at its end.
    pub(super) fn repeat(&mut self) {
        let counters = [Reg::R7, Reg::R8, Reg::R9];
        let free: Vec<Reg> =
            counters.into_iter().filter(|reg| !self.reserved.contains(reg)).collect();
        if free.is_empty() || self.loops == 2 {
            return self.arithmetic();
        }
        let counter = self.random.of(&free);
        self.branches += 2;
        self.depth += 1;
        self.loops += 1;
        let limit = self.start_loop(counter);
        let reserved = self.reserved.clone();
        self.reserve(counter, limit);
        let head = self.code.here();
        let at_head = self.state.clone();
        let count = 1 + self.random.below(4);
        self.statements(count);
        self.restore(&at_head);
        self.code.add(counter, 1);
        let src = limit.map_or_else(|| Src::Imm(1 + self.random.below(6) as i32), Src::Reg);
        let width = self.random.of(Width::ALL);
        let cond = self.random.of(&[Cond::Lt, Cond::Slt]);
        self.code.emit(Insn::Branch { cond, width, dst: counter, src, target: head });
        self.reserved = reserved;
        self.loops -= 1;
        self.depth -= 1;
    }

    /// Sets the counter, and the limit if it is a variable one.
    fn start_loop(&mut self, counter: Reg) -> Option<Reg> {
        let mut limit = None;
        if self.random.one_in(3) {
            let reg = self.changeable_scalar();
            if reg.index() > Reg::R5.index() && reg != counter {
                self.code.alu(AluOp::And, reg, Src::Imm(7));
                self.state.set(reg, Holds::Scalar { max: 7 });
                limit = Some(reg);
            }
        }
        self.code.set(counter, 0);
        limit
    }

    /// Keeps pointers in callee-saved registers for the whole loop, forgets others, and how small
    /// numbers are.
    fn reserve(&mut self, counter: Reg, limit: Option<Reg>) {
        for (index, holds) in self.state.regs.iter_mut().enumerate() {
            let reg = Reg::ALL[index];
            match holds {
                Holds::Nothing => {}
                Holds::Scalar { max } => *max = u64::MAX,
                _ if index < 6 => *holds = Holds::Nothing,
                _ => self.reserved.push(reg),
            }
        }
        for holds in &mut self.state.slots {
            match holds {
                Holds::Scalar { max } => *max = u64::MAX,
                other => *other = Holds::Nothing,
            }
        }
        self.state.set(counter, Holds::Scalar { max: 16 });
        self.reserved.push(counter);
        self.reserved.extend(limit);
    }

    /// Makes numbers again of what were numbers at the head.
    fn restore(&mut self, at_head: &super::State) {
        for index in 0..10 {
            let reg = Reg::ALL[index];
            let is_number = |holds| matches!(holds, Holds::Scalar { .. });
            if is_number(at_head.get(reg)) && !is_number(self.state.get(reg)) {
                self.code.set(reg, 1);
            }
        }
        for index in 0..at_head.slots.len() {
            let was_number = matches!(at_head.slots[index], Holds::Scalar { .. });
            if was_number && !matches!(self.state.slots[index], Holds::Scalar { .. }) {
                let offset = -8 * (index as i16 + 1);
                self.code.store(skep_bpf::op::Size::Dw, Reg::R10, offset, Src::Imm(0));
            }
        }
        self.state = at_head.clone();
    }

    /// A call of a function that comes later. It may be called again with the same kinds of
    /// arguments.
    pub(super) fn local_call(&mut self) {
        // Functions of programs with packet loads would need types.
        if self.prog_type == ProgType::SOCKET_FILTER && self.random.one_in(2) {
            return self.arithmetic();
        }
        let mut entry = [Holds::Nothing; 10];
        for (passed, holds) in entry.iter_mut().zip(self.state.regs).take(6).skip(1) {
            *passed = match holds {
                Holds::Scalar { .. } => Holds::UNKNOWN,
                Holds::Stack { up, off } => Holds::Stack { up: up + 1, off },
                // What is learnt of it in the function, the caller would not know.
                Holds::ValueOrNull { .. } => Holds::Opaque,
                // Its reach belongs to the caller's state.
                Holds::Packet { .. } => Holds::Opaque,
                other => other,
            };
        }
        let known = self.functions.iter().enumerate().skip(self.function);
        let same = known.into_iter().find(|(_, function)| function.entry == entry);
        let index = match same {
            Some((index, _)) => index,
            None if self.functions.len() < MOST_FUNCTIONS => {
                self.functions.push(Function { calls: Vec::new(), entry });
                self.functions.len() - 1
            }
            None => return self.arithmetic(),
        };
        let call = self.code.emit(Insn::Call { callee: Callee::Local(0) });
        self.functions[index].calls.push(call);
        // The function may write where the stack was passed.
        if entry.iter().any(|holds| matches!(holds, Holds::Stack { .. })) {
            for slot in &mut self.state.slots {
                if !matches!(slot, Holds::Scalar { .. }) {
                    *slot = Holds::Nothing;
                } else {
                    *slot = Holds::UNKNOWN;
                }
            }
        }
        self.state.clobber();
        // What moves the packet is not called in functions, so packet pointers stay.
        self.state.set(Reg::R0, Holds::UNKNOWN);
    }
}
