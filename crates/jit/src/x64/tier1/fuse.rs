//! Neighbouring instructions that the machine has one for.
//!
//! Sums and scaled sums become one `lea`, or the address of the access behind them; a shift each
//! way of one value becomes a rotation; a load whose bytes are swapped becomes `movbe`; pairs of
//! shifts that clear or extend a half become a move.

use skep_bpf::insn::{Extend, Insn, Mem as Operand, Reg, Src};
use skep_bpf::op::{AluOp, Endian, Size, SwapBits, Width};
use skep_bpf::program::Pc;

use super::memory::size_bits;
use super::{Compiler, bits};
use crate::flow::RegSet;
use crate::x64::asm::{Bits, Indexed, Mem, Scale, Shift};
use crate::x64::regs::{SCRATCH, WINDOW, gpr};

/// A sum that an instruction can compute: registers as they are before the first instruction.
#[derive(Clone, Copy, Debug)]
struct Sum {
    base: Option<Reg>,
    index: Option<(Reg, u8)>,
    disp: i32,
}

/// An instruction `dst op= src` of one width.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Step {
    op: AluOp,
    width: Width,
    dst: Reg,
    src: Src,
}

fn step(insn: Option<&Insn<Pc>>) -> Option<Step> {
    match *insn? {
        Insn::Alu { op, width, dst, src } => Some(Step { op, width, dst, src }),
        _ => None,
    }
}

impl Sum {
    /// The sum with what a step adds to it; none if that cannot be expressed.
    fn then(self, step: Step) -> Option<Sum> {
        let Sum { base, index, disp } = self;
        match (step.op, step.src) {
            (AluOp::Add, Src::Imm(imm)) => Some(Sum { disp: disp.checked_add(imm)?, ..self }),
            (AluOp::Sub, Src::Imm(imm)) => Some(Sum { disp: disp.checked_sub(imm)?, ..self }),
            (AluOp::Add, Src::Reg(reg)) if reg != step.dst => match (base, index) {
                (None, _) => Some(Sum { base: Some(reg), ..self }),
                (Some(_), None) => Some(Sum { index: Some((reg, 0)), ..self }),
                (Some(_), Some(_)) => None,
            },
            (AluOp::Lsh, Src::Imm(count @ 1..=3)) if index.is_none() && disp == 0 => {
                Some(Sum { base: None, index: Some((base?, count as u8)), disp })
            }
            _ => None,
        }
    }

    fn mem(self) -> Mem {
        let scale = |shift| [Scale::X1, Scale::X2, Scale::X4, Scale::X8][usize::from(shift & 3)];
        let index = self.index.map(|(reg, shift)| (gpr(reg), scale(shift)));
        Mem { base: self.base.map(gpr), index, disp: self.disp }
    }
}

impl Compiler<'_> {
    /// Compiles the first instructions of a block's rest as one: how many.
    pub(super) fn fuse(&mut self, at: usize, rest: &[Insn<Pc>]) -> Option<usize> {
        match rest.first()? {
            Insn::Alu { .. } => {
                let first = step(rest.first())?;
                self.rotation(at, first, rest)
                    .or_else(|| self.sum(at, first, rest))
                    .or_else(|| self.half(first, rest))
                    .or_else(|| self.moved(first, rest))
            }
            Insn::Load { .. } if self.features.movbe => self.swapped_load(at, rest),
            _ => None,
        }
    }

    /// A register is not read after an instruction before it is written.
    fn is_dead(&self, reg: Reg, after: usize) -> bool {
        !self.flow.live_after(after).has(reg)
    }

    /// Additions and small shifts of one register, and the access through it if that is its end.
    fn sum(&mut self, at: usize, first: Step, rest: &[Insn<Pc>]) -> Option<usize> {
        let to = first.dst;
        let (mut sum, mut count) = match (first.op, first.src) {
            (AluOp::Mov, Src::Reg(from)) => (Sum { base: Some(from), index: None, disp: 0 }, 1),
            _ => (Sum { base: Some(to), index: None, disp: 0 }, 0),
        };
        while let Some(next) = step(rest.get(count)) {
            let more = sum.then(next).filter(|_| next.width == first.width && next.dst == to);
            let Some(more) = more else { break };
            sum = more;
            count += 1;
        }
        let is_scaled = sum.index.is_some_and(|(_, shift)| shift > 0);
        if count > 0 {
            let accesses = self.accesses_of_sum(at + count, to, sum, &rest[count..]);
            if accesses > 0 {
                return Some(count + accesses);
            }
        }
        let is_plain = first.op != AluOp::Mov && !is_scaled;
        // Of single instructions the ordinary form is shorter; a scaled index alone needs a long
        // displacement, and is worth it only in place of a move as well.
        if count < 2 || (is_plain && count < 3 && sum.index.is_none()) {
            return None;
        }
        self.asm.lea(bits(first.width), gpr(to), sum.mem());
        Some(count)
    }

    /// Compiles the accesses at a sum if they go through the register that held it and nobody
    /// else wants it: how many.
    fn accesses_of_sum(&mut self, at: usize, held: Reg, sum: Sum, rest: &[Insn<Pc>]) -> usize {
        let mut count = 0;
        loop {
            let is_last = match rest.get(count) {
                Some(Insn::Load { dst, mem, .. }) if mem.base == held => {
                    *dst == held || self.is_dead(held, at + count)
                }
                Some(Insn::Store { mem, src, .. })
                    if mem.base == held && *src != Src::Reg(held) =>
                {
                    self.is_dead(held, at + count)
                }
                _ => return 0,
            };
            count += 1;
            if is_last {
                break;
            }
            // The sum must still be what it was.
            let changed = self.flow.effects(at + count - 1).writes;
            let is_part = |reg: Reg| changed.has(reg);
            if sum.base.is_some_and(is_part) && sum.index.is_none() {
                return 0;
            }
        }
        let mut is_held = false;
        for (index, insn) in rest[..count].iter().enumerate() {
            match *insn {
                Insn::Load { size, extend, dst, mem } => {
                    let from = self.operand_at(at + index, sum, mem, size, (false, is_held));
                    self.load_from(size, extend, gpr(dst), from);
                }
                Insn::Store { size, mem, src } => {
                    let to = self.operand_at(at + index, sum, mem, size, (true, is_held));
                    self.store_to(size, to, src);
                }
                _ => {}
            }
            is_held = true;
        }
        count
    }

    /// The operand of an access at a sum plus an offset. `how` is whether it writes, and whether
    /// the scratch register has the sum.
    fn operand_at(
        &mut self,
        at: usize,
        sum: Sum,
        mem: Operand,
        size: Size,
        (write, is_held): (bool, bool),
    ) -> Indexed {
        // A small distance need not be added before the truncation: where that makes a difference,
        // there is no memory.
        if let (Some(base), None, -0x7fff..=0x7fff) = (sum.base, sum.index, sum.disp) {
            return self.operand_of(at, base, sum.disp + i32::from(mem.offset), size, write);
        }
        if !is_held {
            self.asm.lea(Bits::B32, SCRATCH, sum.mem());
            self.truncated = RegSet::EMPTY;
        }
        let disp = mem.offset.into();
        self.access(at, SCRATCH, disp, size.bytes(), write);
        Indexed { base: WINDOW, index: SCRATCH, disp }
    }

    /// `b = a; b >>= n - k; a <<= k; a |= b` and its variants.
    fn rotation(&mut self, at: usize, first: Step, rest: &[Insn<Pc>]) -> Option<usize> {
        let Step { op: AluOp::Mov, width, dst: b, src: Src::Reg(a) } = first else { return None };
        let (second, third, last) = (step(rest.get(1))?, step(rest.get(2))?, step(rest.get(3))?);
        let same_width = [second, third, last].iter().all(|step| step.width == width);
        let joins = matches!(last.op, AluOp::Or | AluOp::Xor | AluOp::Add);
        if a == b || !same_width || !joins {
            return None;
        }
        let (of_a, of_b) = match (second.dst == b, third.dst == a) {
            (true, true) => (third, second),
            _ if second.dst == a && third.dst == b => (second, third),
            _ => return None,
        };
        let count = |step: Step| match step.src {
            Src::Imm(count) if (1..width.bits() as i32).contains(&count) => Some(count as u32),
            _ => None,
        };
        let (count_a, count_b) = (count(of_a)?, count(of_b)?);
        let left = match (of_a.op, of_b.op) {
            (AluOp::Lsh, AluOp::Rsh) => count_a,
            (AluOp::Rsh, AluOp::Lsh) => count_b,
            _ => return None,
        };
        if count_a + count_b != width.bits() {
            return None;
        }
        let end = at + 3;
        let (size, left) = (bits(width), left as u8);
        let (reg_a, reg_b) = (gpr(a), gpr(b));
        match (last.dst, last.src) {
            (to, Src::Reg(other)) if to == a && other == b => {
                if !self.is_dead(b, end) {
                    self.asm.mov(size, reg_b, reg_a);
                    self.asm.shift_imm(shift(of_b.op), size, reg_b, count_b as u8);
                }
                self.asm.shift_imm(Shift::Rol, size, reg_a, left);
            }
            (to, Src::Reg(other)) if to == b && other == a => {
                if self.features.bmi2 {
                    self.asm.rorx(size, reg_b, reg_a, width.bits() as u8 - left);
                } else {
                    self.asm.mov(size, reg_b, reg_a);
                    self.asm.shift_imm(Shift::Rol, size, reg_b, left);
                }
                if !self.is_dead(a, end) {
                    self.asm.shift_imm(shift(of_a.op), size, reg_a, count_a as u8);
                }
            }
            _ => return None,
        }
        Some(4)
    }

    /// Shifts by 32 to the left and back, of a register or its copy.
    fn half(&mut self, first: Step, rest: &[Insn<Pc>]) -> Option<usize> {
        let (from, skip) = match (first.op, first.width, first.src) {
            (AluOp::Mov, Width::W64, Src::Reg(from)) => (from, 1),
            _ => (first.dst, 0),
        };
        let by_32 = |index: usize| {
            let step = step(rest.get(index))?;
            let is_it = step.dst == first.dst && step.width == Width::W64;
            (is_it && step.src == Src::Imm(32)).then_some(step.op)
        };
        let to = gpr(first.dst);
        match (by_32(skip)?, by_32(skip + 1)?) {
            (AluOp::Lsh, AluOp::Rsh) => self.asm.mov(Bits::B32, to, gpr(from)),
            (AluOp::Lsh, AluOp::Arsh) => self.asm.movsx(Bits::B64, Bits::B32, to, gpr(from)),
            _ => return None,
        }
        Some(skip + 2)
    }

    /// A copy and an operation on it that can write elsewhere than it reads.
    fn moved(&mut self, first: Step, rest: &[Insn<Pc>]) -> Option<usize> {
        let Step { op: AluOp::Mov, width, dst, src: Src::Reg(src) } = first else { return None };
        let next = step(rest.get(1)).filter(|next| next.dst == dst)?;
        let (to, from) = (gpr(dst), gpr(src));
        // A narrow operation reads the same of a copy of either width; a wide one does not.
        if next.width == Width::W64 && width == Width::W32 {
            return None;
        }
        match (next.op, next.src) {
            (AluOp::And, Src::Imm(0xff)) => self.asm.movzx(Bits::B8, to, from),
            (AluOp::And, Src::Imm(0xffff)) => self.asm.movzx(Bits::B16, to, from),
            (AluOp::Mul, Src::Imm(imm)) if imm.count_ones() > 1 && !matches!(imm, 3 | 5 | 9) => {
                self.asm.imul_imm(bits(next.width), to, from, imm);
            }
            (AluOp::Lsh | AluOp::Rsh | AluOp::Arsh, Src::Reg(count))
                if self.features.bmi2 && count != dst =>
            {
                self.asm.shiftx(shift(next.op), bits(next.width), to, from, gpr(count));
            }
            _ => return None,
        }
        Some(2)
    }

    /// A load of bytes in the other order.
    fn swapped_load(&mut self, at: usize, rest: &[Insn<Pc>]) -> Option<usize> {
        let Insn::Load { size, extend: Extend::Zero, dst, mem } = *rest.first()? else {
            return None;
        };
        let Insn::Endian { op: Endian::Be | Endian::Bswap, bits: swapped, dst: same } =
            *rest.get(1)?
        else {
            return None;
        };
        if !matches!((size, swapped), (Size::W, SwapBits::B32) | (Size::Dw, SwapBits::B64))
            || same != dst
        {
            return None;
        }
        let from = self.operand(at, mem, size, false);
        self.asm.movbe_load(size_bits(size), gpr(dst), from.into());
        Some(2)
    }
}

fn shift(op: AluOp) -> Shift {
    match op {
        AluOp::Lsh => Shift::Shl,
        AluOp::Arsh => Shift::Sar,
        _ => Shift::Shr,
    }
}
