//! Pruning probes: diamonds in sequence, loops and calls that leave different things in the same
//! registers and slots, then uses that only some of the paths allow. Whoever gives up a path too
//! early accepts what must be refused; whoever compares too much walks longer.

use super::code::Code;
use super::maps::place;
use super::{Case, TYPES};
use crate::random::Random;
use skep_bpf::insn::{Callee, HelperId, Insn, Reg, Src};
use skep_bpf::op::{AluOp, Cond, Size, Width};

/// The registers that carry state across joins.
const CARRIERS: [Reg; 3] = [Reg::R6, Reg::R7, Reg::R8];
/// The slots that do.
const SLOTS: [i16; 4] = [-8, -16, -24, -32];
/// Numbers that are safe offsets of the array's value for an access of a byte.
const SAFE: [i32; 8] = [0, 1, 2, 7, 8, 31, 32, 63];
/// Numbers that are not.
const UNSAFE: [i32; 5] = [64, 65, -1, 4096, i32::MIN];

/// The case that a sequence of random numbers leads to.
pub(super) fn case(random: &mut Random) -> Result<Case, String> {
    let of = random.of(&TYPES);
    let everywhere = random.one_in(2);
    let risk = 2 + random.below(6);
    let mut maze = Maze { random: random.clone(), code: Code::default(), calls: Vec::new(), risk };
    maze.program();
    let mut case = Case::new(of, &maze.code.insns)?;
    case.checkpoint_everywhere = everywhere;
    Ok(case)
}

/// A program that is being made.
struct Maze {
    random: Random,
    code: Code,
    calls: Vec<usize>,
    /// One in so many assignments may be a trap.
    risk: usize,
}

impl Maze {
    fn program(&mut self) {
        for reg in CARRIERS {
            let imm = self.random.of(&SAFE);
            self.code.set(reg, imm);
        }
        for slot in SLOTS {
            let imm = self.random.of(&SAFE);
            self.code.store(Size::Dw, Reg::R10, slot, Src::Imm(imm));
        }
        for _ in 0..2 + self.random.below(5) {
            match self.random.below(13) {
                0 | 1 => self.repeat(),
                2 | 10 => self.call(),
                11 => {
                    let reg = self.random.of(&CARRIERS);
                    self.any_slot(reg);
                }
                12 => self.by_helper(),
                3 => self.transfer(),
                4 => self.guard(),
                _ => self.diamond(),
            }
        }
        for _ in 0..1 + self.random.below(2) {
            self.consume();
        }
        self.code.set(Reg::R0, 0);
        self.code.emit(Insn::Exit);
        self.function();
    }

    /// A number that nobody knows, in r1.
    fn unknown(&mut self) {
        let offset = self.random.below(56) as i16;
        self.code.map_value(Reg::R1, place::ARRAY, 0);
        let size = self.random.of(&[Size::B, Size::W, Size::Dw]);
        self.code.load(size, Reg::R1, Reg::R1, offset);
    }

    /// An undecided branch.
    fn undecided(&mut self) -> usize {
        self.unknown();
        let (cond, imm) = self.random.of(&[
            (Cond::Eq, 0),
            (Cond::Ne, 7),
            (Cond::Gt, 10),
            (Cond::Lt, 100),
            (Cond::Set, 1),
            (Cond::Le, 3),
        ]);
        let width = self.random.of(Width::ALL);
        self.code.emit(Insn::Branch { cond, width, dst: Reg::R1, src: Src::Imm(imm), target: 0 })
    }

    fn diamond(&mut self) {
        let branch = self.undecided();
        for _ in 0..1 + self.random.below(2) {
            self.assign();
        }
        if self.random.one_in(2) {
            let over = self.code.jump();
            self.code.lands(branch);
            self.assign();
            self.code.lands(over);
        } else {
            self.code.lands(branch);
        }
    }

    fn safe_or_not(&mut self) -> i32 {
        if self.random.one_in(self.risk) { self.random.of(&UNSAFE) } else { self.random.of(&SAFE) }
    }

    /// Leaves something else in a register or slot.
    fn assign(&mut self) {
        let reg = self.random.of(&CARRIERS);
        let slot = self.random.of(&SLOTS);
        match self.random.below(14) {
            0..=3 => {
                let imm = self.safe_or_not();
                self.code.set(reg, imm);
            }
            4 | 5 => {
                let imm = self.safe_or_not();
                self.code.store(Size::Dw, Reg::R10, slot, Src::Imm(imm));
            }
            6 => self.code.store(Size::Dw, Reg::R10, slot, Src::Reg(reg)),
            7 => self.code.load(Size::Dw, reg, Reg::R10, slot),
            8 if self.random.one_in(2) => self.through_pointer(reg, slot),
            8 => {
                self.unknown();
                let mask = if self.random.one_in(self.risk) { 127 } else { 63 };
                self.code.alu(AluOp::And, Reg::R1, Src::Imm(mask));
                self.code.copy(reg, Reg::R1);
            }
            9 => {
                let other = self.random.of(&CARRIERS);
                self.code.copy(reg, other);
            }
            10 => {
                let size = self.random.of(&[Size::B, Size::H, Size::W]);
                let within = self.random.below(2) as i16 * (8 - size.bytes() as i16);
                let imm = if self.random.one_in(2) { 0 } else { 5 };
                self.code.store(size, Reg::R10, slot + within, Src::Imm(imm));
            }
            11 if self.random.one_in(self.risk) => {
                self.unknown();
                self.code.copy(reg, Reg::R1);
            }
            12 if self.random.one_in(self.risk) => self.code.copy(reg, Reg::R10),
            13 => {
                let by = self.random.of(&[1, 1, 4, 8]);
                if self.random.one_in(2) {
                    self.code.alu(AluOp::And, reg, Src::Imm(15));
                }
                self.code.add(reg, by);
            }
            _ => {
                let op = self.random.of(&[AluOp::And, AluOp::Xor, AluOp::Or, AluOp::Rsh]);
                self.code.alu(op, reg, Src::Imm(3));
            }
        }
    }

    /// An access to a slot by another register than r10.
    fn through_pointer(&mut self, reg: Reg, slot: i16) {
        let apart = self.random.of(&[0, 8, -8, 64]);
        self.code.copy(Reg::R2, Reg::R10);
        self.code.add(Reg::R2, i32::from(slot) - apart);
        if self.random.one_in(2) {
            self.code.store(Size::Dw, Reg::R2, apart as i16, Src::Reg(reg));
        } else {
            self.code.load(Size::Dw, reg, Reg::R2, apart as i16);
        }
    }

    /// A load from or a store to any of the slots: which one, only the run decides.
    fn any_slot(&mut self, reg: Reg) {
        self.unknown();
        let slots = self.random.of(&[8, 24]);
        self.code.alu(AluOp::And, Reg::R1, Src::Imm(slots));
        self.code.copy(Reg::R2, Reg::R10);
        self.code.alu(AluOp::Add, Reg::R2, Src::Reg(Reg::R1));
        if self.random.one_in(3) {
            self.code.store(Size::Dw, Reg::R2, -32, Src::Reg(reg));
        } else {
            self.code.load(Size::Dw, reg, Reg::R2, -32);
            if !self.random.one_in(self.risk) {
                self.code.alu(AluOp::And, reg, Src::Imm(63));
            }
        }
    }

    /// A helper that reads or writes slots.
    fn by_helper(&mut self) {
        let slot = self.random.of(&SLOTS);
        let bytes = self.random.of(&[1, 4, 8]);
        self.code.map(Reg::R1, place::ARRAY);
        self.code.copy(Reg::R2, Reg::R10);
        self.code.add(Reg::R2, slot.into());
        self.code.helper(HelperId::MAP_LOOKUP_ELEM);
        let none = self.code.branch(Cond::Eq, Reg::R0, Src::Imm(0));
        if self.random.one_in(2) {
            let size = Size::of_bytes(bytes).unwrap_or(Size::Dw);
            self.code.load(size, Reg::R1, Reg::R0, 0);
            self.code.store(size, Reg::R10, slot, Src::Reg(Reg::R1));
        } else {
            let reg = self.random.of(&CARRIERS);
            let imm = self.safe_or_not();
            self.code.set(reg, imm);
        }
        self.code.lands(none);
    }

    /// Something moves between carriers on all paths.
    fn transfer(&mut self) {
        let (reg, slot) = (self.random.of(&CARRIERS), self.random.of(&SLOTS));
        if self.random.one_in(2) {
            self.code.store(Size::Dw, Reg::R10, slot, Src::Reg(reg));
        } else {
            self.code.load(Size::Dw, reg, Reg::R10, slot);
        }
    }

    /// What is learnt of one copy holds for the other.
    fn guard(&mut self) {
        let reg = self.random.of(&CARRIERS);
        let other = self.random.of(&CARRIERS);
        self.code.copy(Reg::R9, reg);
        let checked = if self.random.one_in(2) { Reg::R9 } else { reg };
        let limit = if self.random.one_in(6) { 64 } else { 63 };
        let branch = self.code.branch(Cond::Le, checked, Src::Imm(limit));
        self.code.set(reg, 0);
        if other != reg && self.random.one_in(2) {
            self.assign();
        }
        self.code.lands(branch);
    }

    /// A loop with a diamond in it.
    fn repeat(&mut self) {
        let times = 1 + self.random.below(6) as i32;
        self.code.set(Reg::R9, 0);
        let head = self.code.here();
        if self.random.one_in(2) {
            self.diamond();
        } else {
            self.assign();
        }
        if self.random.one_in(3) {
            // The guard uses r9, so the counter is kept on the stack meanwhile.
            self.code.store(Size::Dw, Reg::R10, -40, Src::Reg(Reg::R9));
            self.guard();
            self.code.load(Size::Dw, Reg::R9, Reg::R10, -40);
        }
        self.code.add(Reg::R9, 1);
        let src = Src::Imm(times);
        let back = self.code.branch(Cond::Lt, Reg::R9, src);
        self.code.leads(back, head);
    }

    fn call(&mut self) {
        let argument = self.random.of(&CARRIERS);
        self.code.copy(Reg::R1, argument);
        self.code.copy(Reg::R2, Reg::R10);
        let slot = self.random.of(&SLOTS);
        self.code.add(Reg::R2, slot.into());
        let call = self.code.emit(Insn::Call { callee: Callee::Local(0) });
        self.calls.push(call);
        let result = self.random.of(&CARRIERS);
        self.code.copy(result, Reg::R0);
    }

    /// A function that returns a number, and may read and change the caller's stack.
    fn function(&mut self) {
        if self.calls.is_empty() {
            return;
        }
        for call in std::mem::take(&mut self.calls) {
            self.code.lands(call);
        }
        match self.random.below(4) {
            0 => {
                self.code.copy(Reg::R6, Reg::R1);
                self.code.copy(Reg::R7, Reg::R2);
                let branch = self.undecided();
                let imm = self.safe_or_not();
                self.code.store(Size::Dw, Reg::R7, 0, Src::Imm(imm));
                self.code.lands(branch);
                self.code.copy(Reg::R0, Reg::R6);
            }
            1 => {
                // What the caller left in its slot decides.
                self.code.load(Size::Dw, Reg::R0, Reg::R2, 0);
                let limit = if self.random.one_in(self.risk) { 64 } else { 63 };
                let branch = self.code.branch(Cond::Le, Reg::R0, Src::Imm(limit));
                self.code.set(Reg::R0, 0);
                self.code.lands(branch);
                self.code.store(Size::Dw, Reg::R10, -8, Src::Reg(Reg::R1));
                if self.random.one_in(2) {
                    self.code.load(Size::Dw, Reg::R3, Reg::R10, -8);
                    self.code.store(Size::Dw, Reg::R2, 0, Src::Reg(Reg::R3));
                }
            }
            2 => {
                self.code.load(Size::Dw, Reg::R0, Reg::R2, 0);
                self.code.map_value(Reg::R3, place::ARRAY, 0);
                self.code.alu(AluOp::Add, Reg::R3, Src::Reg(Reg::R0));
                self.code.load(Size::B, Reg::R0, Reg::R3, 0);
                self.code.alu(AluOp::And, Reg::R0, Src::Imm(63));
            }
            _ => {
                self.code.copy(Reg::R0, Reg::R1);
                let limit = if self.random.one_in(self.risk) { 64 } else { 63 };
                let branch = self.code.branch(Cond::Le, Reg::R0, Src::Imm(limit));
                self.code.set(Reg::R0, 0);
                self.code.lands(branch);
            }
        }
        self.code.emit(Insn::Exit);
    }

    /// A use that not everything survives.
    fn consume(&mut self) {
        let from = if self.random.one_in(2) {
            self.random.of(&CARRIERS)
        } else {
            let slot = self.random.of(&SLOTS);
            self.code.load(Size::Dw, Reg::R3, Reg::R10, slot);
            Reg::R3
        };
        let skip = self.random.one_in(3).then(|| {
            let limit = if self.random.one_in(self.risk) { 64 } else { 63 };
            self.code.branch(Cond::Gt, from, Src::Imm(limit))
        });
        match self.random.below(4) {
            0 => {
                let spot = self.random.of(&[-64_i16, -63, -70]);
                self.code.copy(Reg::R2, Reg::R10);
                self.code.alu(AluOp::Add, Reg::R2, Src::Reg(from));
                self.code.load(Size::B, Reg::R0, Reg::R2, spot);
            }
            _ => {
                self.code.map_value(Reg::R2, place::ARRAY, 0);
                self.code.alu(AluOp::Add, Reg::R2, Src::Reg(from));
                self.code.load(Size::B, Reg::R0, Reg::R2, 0);
            }
        }
        if let Some(skip) = skip {
            self.code.lands(skip);
        }
    }
}
