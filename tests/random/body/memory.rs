//! Statements that touch memory: plain, ordered, atomic, at constant and variable addresses.

use skep_bpf::insn::{Extend, Insn, Mem, Reg, Src};
use skep_bpf::op::{AluOp, AtomicOp, Size, Width};

use super::{Generator, Holds, add, mov, value_address};
use crate::random::layout;

impl Generator {
    /// Makes a register an address of the value or the stack.
    pub(super) fn pointer(&mut self) {
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

    pub(super) fn access(&mut self) {
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

    pub(super) fn atomic(&mut self) {
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
        if op == AtomicOp::Cmpxchg && width == Width::W32 {
            // x86-64's instruction leaves the upper half of r0 where it succeeds, and Linux 6.18
            // adds the zero extension only if it saw all of r0 read afterwards; reads after the
            // point at which a path was given up as known do not count. This one does.
            self.emit(add(Reg::R0, 0));
        }
    }

    /// An access at an address that only the run decides, within bounds that the verifier sees.
    pub(super) fn access_at_variable_offset(&mut self) {
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
}
