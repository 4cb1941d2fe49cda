//! Random programs: loads from the stack, arithmetic, forward branches to blocks that leave.
//!
//! The domain guides the choice: registers of which nothing is known are narrowed, and few
//! branches are made whose outcome is known.

use skep_bpf::codec::encode as encode_insn;
use skep_bpf::insn::{Extend, Imm64, Insn, Mem, Offset, Reg, Src};
use skep_bpf::op::{AluOp, Cond, Endian, Movsx, Size, SwapBits, Width};
use skep_verifier::domain::{Scalar, is_branch_taken, refine};

/// A generator of pseudo-random numbers (splitmix64).
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Random(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    pub(crate) fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u64) as usize]
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// Numbers near the places where intervals break, and others.
    fn interesting(&mut self) -> u64 {
        let near = self.below(5).wrapping_sub(2);
        match self.below(8) {
            0 => near,
            1 => (1u64 << self.below(64)).wrapping_add(near),
            2 => (1u64 << 31).wrapping_add(near),
            3 => (1u64 << 32).wrapping_add(near),
            4 => (1u64 << 63).wrapping_add(near),
            5 => u64::MAX << self.below(64),
            6 => self.next() >> self.below(64),
            _ => (self.next() as i64 >> self.below(64)) as u64,
        }
    }
}

const REGISTERS: [Reg; 6] = [Reg::R1, Reg::R2, Reg::R3, Reg::R4, Reg::R6, Reg::R7];

struct Builder<'a> {
    random: &'a mut Random,
    code: Vec<Insn<Offset>>,
    /// What the domain knows, as a guide only.
    known: [Scalar; 11],
    branches: Vec<usize>,
}

/// The instructions of a random program.
pub(crate) fn program(random: &mut Random) -> Vec<Insn<Offset>> {
    let steps = 8 + random.below(28);
    let mut b =
        Builder { random, code: Vec::new(), known: [Scalar::UNKNOWN; 11], branches: Vec::new() };
    for reg in REGISTERS {
        b.load(reg);
    }
    for _ in 0..steps {
        b.step();
    }
    b.finish()
}

/// The program's encoding.
pub(crate) fn encode(program: &[Insn<Offset>]) -> Vec<[u8; 8]> {
    program
        .iter()
        .flat_map(|insn| encode_insn(insn).expect("what is generated has an encoding").slots())
        .map(|slot| slot.to_bytes())
        .collect()
}

impl Builder<'_> {
    fn load(&mut self, dst: Reg) {
        let size = self.random.pick(Size::ALL);
        let extend = if size == Size::Dw {
            Extend::Zero
        } else {
            self.random.pick(&[Extend::Zero, Extend::Sign])
        };
        self.known[dst.index()] = Scalar::loaded(size, extend);
        self.code.push(Insn::Load { size, extend, dst, mem: Mem { base: Reg::R10, offset: -8 } });
    }

    fn step(&mut self) {
        let dst = self.random.pick(&REGISTERS);
        let width = self.random.pick(Width::ALL);
        let known = self.known[dst.index()];
        if known.as_constant().is_some() && self.random.chance(60) {
            return self.load(dst);
        }
        if known.is_unknown() && self.random.chance(50) {
            return if self.random.chance(50) {
                self.narrow(dst, width)
            } else {
                self.branch(dst, width)
            };
        }
        match self.random.below(100) {
            0..45 => self.alu(dst, width),
            45..50 => {
                self.code.push(Insn::Neg { width, dst });
                self.known[dst.index()] = known.neg(width);
            }
            50..58 => self.copy(dst, width),
            58..60 => {
                let op = self.random.pick(Endian::ALL);
                let bits = self.random.pick(SwapBits::ALL);
                self.code.push(Insn::Endian { op, bits, dst });
                self.known[dst.index()] = known.swap_bytes(op, bits);
            }
            _ => self.branch(dst, width),
        }
    }

    fn alu_insn(&mut self, op: AluOp, width: Width, dst: Reg, src: Src) {
        let value = match src {
            Src::Imm(imm) => Scalar::constant(i64::from(imm) as u64),
            Src::Reg(reg) => self.known[reg.index()],
        };
        self.code.push(Insn::Alu { op, width, dst, src });
        self.known[dst.index()] = self.known[dst.index()].alu(op, width, value);
    }

    fn narrow(&mut self, dst: Reg, width: Width) {
        let op = self.random.pick(&[AluOp::And, AluOp::And, AluOp::Or, AluOp::Rsh, AluOp::Arsh]);
        let src = self.operand(op, width);
        self.alu_insn(op, width, dst, src);
    }

    fn alu(&mut self, dst: Reg, width: Width) {
        let op = self.random.pick(AluOp::ALL);
        if matches!(op, AluOp::Mov) {
            return self.copy(dst, width);
        }
        if matches!(op, AluOp::Div | AluOp::Sdiv | AluOp::Mod | AluOp::Smod)
            && self.random.chance(80)
        {
            return self.narrow(dst, width);
        }
        let src = self.operand(op, width);
        self.alu_insn(op, width, dst, src);
    }

    /// An operand that the kernel does not refuse for the operation.
    fn operand(&mut self, op: AluOp, width: Width) -> Src {
        match op {
            AluOp::Lsh | AluOp::Rsh | AluOp::Arsh if self.random.chance(90) => {
                let by = if self.random.chance(20) {
                    self.random.pick(&[width.bits() / 2, width.bits() - 1])
                } else {
                    self.random.below(u64::from(width.bits())) as u32
                };
                Src::Imm(by as i32)
            }
            AluOp::Div | AluOp::Sdiv | AluOp::Mod | AluOp::Smod => {
                Src::Imm(1 + self.random.below(9) as i32)
            }
            AluOp::Lsh | AluOp::Rsh | AluOp::Arsh => Src::Reg(self.random.pick(&REGISTERS)),
            _ if self.random.chance(50) => Src::Imm(self.random.interesting() as i32),
            _ if self.random.chance(20) => Src::Reg(self.constant()),
            _ => Src::Reg(self.random.pick(&REGISTERS)),
        }
    }

    /// A register that gets a 64-bit constant.
    fn constant(&mut self) -> Reg {
        let value = self.random.interesting();
        self.code.push(Insn::LoadImm64 { dst: Reg::R8, imm: Imm64::Value(value) });
        self.known[Reg::R8.index()] = Scalar::constant(value);
        Reg::R8
    }

    /// A move. Copies are linked in the kernel, so that what is learnt of one holds for the other:
    /// the state's business, not the domain's. The operation that follows cuts the link.
    fn copy(&mut self, dst: Reg, width: Width) {
        let src = self.random.pick(&REGISTERS);
        let value = self.known[src.index()];
        if self.random.chance(60) {
            let op = self.random.pick(Movsx::ALL);
            self.code.push(Insn::Movsx { op, dst, src });
            self.known[dst.index()] = value.movsx(op);
        } else {
            self.alu_insn(AluOp::Mov, width, dst, Src::Reg(src));
        }
        self.alu_insn(AluOp::Xor, Width::W64, dst, Src::Imm(0));
    }

    fn branch(&mut self, dst: Reg, width: Width) {
        for _ in 0..6 {
            let cond = self.random.pick(Cond::ALL);
            let src = match self.random.below(10) {
                0..5 => Src::Imm(self.random.interesting() as i32),
                5..7 => Src::Reg(self.constant()),
                _ => Src::Reg(self.random.pick(&REGISTERS)),
            };
            let value = match src {
                Src::Imm(imm) => Scalar::constant(i64::from(imm) as u64),
                Src::Reg(reg) => self.known[reg.index()],
            };
            let known = self.known[dst.index()];
            let outcome = is_branch_taken(cond, width, &known, &value);
            if outcome == Some(true) || outcome == Some(false) && self.random.chance(80) {
                continue;
            }
            if outcome.is_none() && src != Src::Reg(dst) {
                let (dst_after, src_after) = refine(cond, width, known, value, false).as_linux();
                self.known[dst.index()] = dst_after;
                if let Src::Reg(reg) = src {
                    self.known[reg.index()] = src_after;
                }
            }
            self.branches.push(self.code.len());
            self.code.push(Insn::Branch { cond, width, dst, src, target: Offset(0) });
            return;
        }
    }

    /// The end, and for each branch a block of its own, so that no state is met twice.
    fn finish(mut self) -> Vec<Insn<Offset>> {
        let zero = |value| Insn::Alu {
            op: AluOp::Mov,
            width: Width::W64,
            dst: Reg::R0,
            src: Src::Imm(value),
        };
        self.code.extend([zero(0), Insn::Exit]);
        for at in core::mem::take(&mut self.branches) {
            let distance: usize = self.code[at + 1..].iter().map(Insn::len_slots).sum();
            if let Insn::Branch { target, .. } = &mut self.code[at] {
                *target = Offset(distance as i32);
            }
            self.code.extend([zero(1), Insn::Exit]);
        }
        self.code
    }
}
