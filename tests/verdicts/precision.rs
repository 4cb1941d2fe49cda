//! Precision probes: arithmetic and branches on unknown numbers, then one access whose legality
//! hangs on the last value that the verifier thinks a register can have.
//!
//! Where that is, our own verifier says: the access is moved until it is just legal, and a case
//! is the program there or one byte further. Every such case must be decided alike.

use super::code::Code;
use super::maps::{LARGE_BYTES, place};
use super::{Case, Prover, TYPES};
use crate::random::Random;
use skep_bpf::insn::{Extend, HelperId, Imm64, Insn, Mem, Reg, Src};
use skep_bpf::op::{AluOp, Cond, Endian, Movsx, Size, SwapBits, Width};

/// The registers with numbers.
const NUMBERS: [Reg; 4] = [Reg::R6, Reg::R7, Reg::R8, Reg::R9];
/// The last bits are kept by shifts of this at least, so that the large value is large enough.
const LARGE_BITS: u32 = LARGE_BYTES.ilog2();

/// What the number is used for.
#[derive(Clone, Copy)]
enum Use {
    /// The offset of an access to the large value.
    Value,
    /// The offset of an access to the stack.
    Stack,
    /// The size of memory passed to a helper.
    Length,
}

/// The case that a sequence of random numbers leads to.
pub(super) fn case(random: &mut Random, prover: &Prover) -> Result<Case, String> {
    let probe = Probe::new(random);
    // From the end that is always legal, if any is, to one that never is.
    let (mut legal, mut illegal) = probe.ends();
    while (illegal - legal).abs() > 1 {
        let middle = legal + (illegal - legal) / 2;
        if prover.verify(&probe.at(middle)?).is_ok() {
            legal = middle;
        } else {
            illegal = middle;
        }
    }
    let step = illegal - legal;
    let slack = if random.one_in(4) { 1 + random.below(64) as i32 } else { 0 };
    let place = if random.one_in(2) { legal - step * slack } else { illegal + step * slack };
    let mut case = probe.at(place)?;
    case.checkpoint_everywhere = random.one_in(8);
    Ok(case)
}

/// A program whose access can be moved.
struct Probe {
    of: usize,
    code: Code,
    number: Reg,
    used: Use,
    /// Whether the largest value is probed or the least.
    upper: bool,
    size: Size,
    bails: Vec<usize>,
}

impl Probe {
    fn new(random: &mut Random) -> Probe {
        let mut probe = Probe {
            of: random.below(TYPES.len()),
            code: Code::default(),
            number: random.of(&NUMBERS),
            used: random.of(&[Use::Value, Use::Value, Use::Value, Use::Stack, Use::Length]),
            upper: !random.one_in(3),
            size: random.of(&[Size::B, Size::B, Size::H, Size::W, Size::Dw]),
            bails: Vec::new(),
        };
        probe.unknown_numbers(random);
        for _ in 0..2 + random.below(9) {
            probe.statement(random);
        }
        if !random.one_in(4) {
            probe.reduce(random);
        }
        probe
    }

    /// Numbers of which the verifier knows a part.
    fn unknown_numbers(&mut self, random: &mut Random) {
        self.code.map_value(Reg::R1, place::ARRAY, 0);
        for (index, reg) in NUMBERS.into_iter().enumerate() {
            let size = random.of(&[Size::B, Size::H, Size::W, Size::Dw, Size::Dw]);
            let sign = size != Size::Dw && random.one_in(3);
            let extend = if sign { Extend::Sign } else { Extend::Zero };
            let mem = Mem { base: Reg::R1, offset: 8 * index as i16 };
            if random.one_in(6) {
                let imm = random.word();
                self.code.emit(Insn::LoadImm64 { dst: reg, imm: Imm64::Value(imm) });
            } else {
                self.code.emit(Insn::Load { size, extend, dst: reg, mem });
            }
        }
    }

    fn any_number(&self, random: &mut Random) -> Reg {
        if random.one_in(2) { self.number } else { random.of(&NUMBERS) }
    }

    fn operand(&self, random: &mut Random) -> Src {
        match random.below(5) {
            0 | 1 => Src::Reg(random.of(&NUMBERS)),
            2 => Src::Imm(random.below(64) as i32),
            3 => Src::Imm((1_i32 << random.below(31)).wrapping_sub(random.below(2) as i32)),
            _ => Src::Imm(random.imm()),
        }
    }

    fn statement(&mut self, random: &mut Random) {
        let dst = self.any_number(random);
        let width = random.of(Width::ALL);
        match random.below(16) {
            0 => {
                let op = random.of(Movsx::ALL);
                self.code.emit(Insn::Movsx { op, dst, src: random.of(&NUMBERS) });
            }
            1 => {
                let (op, bits) = (random.of(Endian::ALL), random.of(SwapBits::ALL));
                self.code.emit(Insn::Endian { op, bits, dst });
            }
            2 => {
                self.code.emit(Insn::Neg { width, dst });
            }
            3..=7 => self.condition(random, dst, width),
            8 => self.through_stack(random, dst),
            9 => {
                let src = Src::Reg(random.of(&NUMBERS));
                self.code.emit(Insn::Alu { op: AluOp::Mov, width, dst, src });
            }
            _ => self.operation(random, dst, width),
        }
    }

    fn operation(&mut self, random: &mut Random, dst: Reg, width: Width) {
        let op = random.of(AluOp::ALL);
        let mut src = self.operand(random);
        if let Src::Imm(imm) = &mut src {
            match op {
                AluOp::Div | AluOp::Sdiv | AluOp::Mod | AluOp::Smod if *imm == 0 => *imm = 5,
                AluOp::Lsh | AluOp::Rsh | AluOp::Arsh => *imm &= width.bits() as i32 - 1,
                _ => {}
            }
        }
        self.code.emit(Insn::Alu { op, width, dst, src });
    }

    /// A comparison whose one side ends the program, or skips an operation.
    fn condition(&mut self, random: &mut Random, dst: Reg, width: Width) {
        let cond = random.of(Cond::ALL);
        let src = self.operand(random);
        let branch = self.code.emit(Insn::Branch { cond, width, dst, src, target: 0 });
        match random.below(4) {
            0 => {
                let other = random.of(&NUMBERS);
                self.operation(random, other, width);
                self.code.lands(branch);
            }
            1 => {
                let over = self.code.jump();
                self.bails.push(over);
                self.code.lands(branch);
            }
            _ => self.bails.push(branch),
        }
    }

    /// A number goes to the stack and comes back, perhaps as a part of itself.
    fn through_stack(&mut self, random: &mut Random, dst: Reg) {
        let size = random.of(&[Size::W, Size::Dw, Size::H, Size::B]);
        let back = random.of(&[size, size, Size::Dw, Size::W]);
        let offset = -8 * (1 + random.below(3) as i16);
        let src = random.of(&NUMBERS);
        self.code.store(size, Reg::R10, offset, Src::Reg(src));
        if random.one_in(3) {
            let other = random.of(&NUMBERS);
            let width = random.of(Width::ALL);
            self.condition(random, other, width);
        }
        let sign = back != Size::Dw && random.one_in(4);
        let extend = if sign { Extend::Sign } else { Extend::Zero };
        self.code.emit(Insn::Load { size: back, extend, dst, mem: Mem { base: Reg::R10, offset } });
    }

    /// Brings the number near to what can be accessed.
    fn reduce(&mut self, random: &mut Random) {
        let dst = self.number;
        let width = random.of(Width::ALL);
        let bits = match self.used {
            Use::Value => 1 + random.below(LARGE_BITS as usize - 1) as u32,
            Use::Stack | Use::Length => 1 + random.below(8) as u32,
        };
        let (op, imm) = match random.below(4) {
            0 => (AluOp::Rsh, (width.bits() - bits) as i32),
            1 => (AluOp::Arsh, (width.bits() - bits) as i32),
            _ => (AluOp::And, ((1_i32 << bits) - 1) & random.imm()),
        };
        self.code.emit(Insn::Alu { op, width, dst, src: Src::Imm(imm) });
    }

    /// Offsets of which the first is legal if any is, and the last never.
    fn ends(&self) -> (i32, i32) {
        const FAR: i32 = 1 << 27;
        match (self.used, self.upper) {
            (Use::Length, _) => (512, -1),
            (_, true) => (-FAR, FAR),
            (_, false) => (FAR, -FAR),
        }
    }

    /// The program with its access at an offset. The end that is not probed is taken care of by a
    /// comparison.
    fn at(&self, offset: i32) -> Result<Case, String> {
        let mut code = self.code.clone();
        let mut bails = self.bails.clone();
        let bytes = self.size.bytes() as i32;
        match self.used {
            Use::Value | Use::Stack => {
                let (low, high) = match self.used {
                    Use::Value => (0, LARGE_BYTES as i32),
                    _ => (-512, 0),
                };
                // The pointer's own place is where the other end has all the room there is.
                if self.upper {
                    bails.push(code.branch(Cond::Slt, self.number, Src::Imm(low - offset)));
                } else {
                    let last = high - bytes - offset;
                    bails.push(code.branch(Cond::Sgt, self.number, Src::Imm(last)));
                }
                match self.used {
                    Use::Value => code.map_value(Reg::R1, place::LARGE, 0),
                    _ => code.copy(Reg::R1, Reg::R10),
                }
                code.alu(AluOp::Add, Reg::R1, Src::Reg(self.number));
                code.add(Reg::R1, offset);
                code.load(self.size, Reg::R0, Reg::R1, 0);
            }
            Use::Length => {
                // A fixed amount of memory, and a size that is up to `512 - offset` too large.
                let place = -offset.clamp(0, 512);
                code.copy(Reg::R1, Reg::R10);
                code.add(Reg::R1, place);
                code.copy(Reg::R2, self.number);
                code.set(Reg::R3, 0);
                code.set(Reg::R4, 0);
                code.set(Reg::R5, 0);
                // bpf_csum_diff(from, from_size, to, to_size, seed) or a probe of kernel memory.
                let (prog_type, _) = TYPES[self.of];
                if skep_bpf::platform::helper_allowed(
                    prog_type,
                    TYPES[self.of].1,
                    HelperId::CSUM_DIFF,
                ) {
                    code.helper(HelperId::CSUM_DIFF);
                } else {
                    code.helper(HelperId::PROBE_READ_KERNEL);
                }
            }
        }
        for bail in bails {
            code.lands(bail);
        }
        code.set(Reg::R0, 0);
        code.emit(Insn::Exit);
        Case::new(TYPES[self.of], &code.insns)
    }
}
