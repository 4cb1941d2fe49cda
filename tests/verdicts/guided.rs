//! Forward generation: every statement is legal where it stands, as far as the light model of
//! [`Holds`] can tell. Statements are drawn from memory, control and calls in equal parts.

mod calls;
mod control;
mod memory;
mod model;

use super::code::{Code, SIZES};
use super::{Case, TYPES};
use crate::random::Random;
use model::{Holds, State};
use skep_bpf::insn::{Insn, Reg, Src};
use skep_bpf::op::{AluOp, Cond, Endian, Movsx, SwapBits, Width};
use skep_bpf::platform::{AttachType, ProgType};

/// The case that a sequence of random numbers leads to.
pub(super) fn case(random: &mut Random) -> Result<Case, String> {
    let of = random.of(&TYPES);
    let mut guide = Guide::new(random.clone(), of);
    guide.program();
    let mut case = Case::new(of, &guide.code.insns)?;
    case.checkpoint_everywhere = random.one_in(4);
    Ok(case)
}

/// A function that is called but not yet made.
struct Function {
    calls: Vec<usize>,
    entry: [Holds; 10],
}

/// A program that is being made.
struct Guide {
    random: Random,
    prog_type: ProgType,
    attach_type: AttachType,
    code: Code,
    state: State,
    /// Registers that must not be written.
    reserved: Vec<Reg>,
    /// Jumps to the end of the current function.
    bails: Vec<usize>,
    functions: Vec<Function>,
    /// Which function is being made; 0 is the main function.
    function: usize,
    branches: usize,
    depth: usize,
    loops: usize,
    last_id: u32,
}

const MOST_BRANCHES: usize = 14;
const MOST_FUNCTIONS: usize = 3;

impl Guide {
    fn new(mut random: Random, (prog_type, attach_type): (ProgType, AttachType)) -> Guide {
        random.bits();
        Guide {
            random,
            prog_type,
            attach_type,
            code: Code::default(),
            state: State::new(),
            reserved: Vec::new(),
            bails: Vec::new(),
            functions: Vec::new(),
            function: 0,
            branches: 0,
            depth: 0,
            loops: 0,
            last_id: 0,
        }
    }

    fn program(&mut self) {
        self.state.set(Reg::R1, Holds::Context);
        if !self.random.one_in(8) {
            self.code.copy(Reg::R6, Reg::R1);
            self.state.set(Reg::R6, Holds::Context);
        }
        let statements = 5 + self.random.below(20);
        self.statements(statements);
        self.end();
        while self.function < self.functions.len() {
            self.function += 1;
            self.one_function();
        }
    }

    fn one_function(&mut self) {
        let index = self.function - 1;
        let entry = self.code.here();
        for call in self.functions[index].calls.clone() {
            self.code.leads(call, entry);
        }
        self.state = State::new();
        self.state.regs = self.functions[index].entry;
        let statements = 1 + self.random.below(6);
        self.statements(statements);
        self.end();
    }

    /// The end of a function, where bails lead, too.
    fn end(&mut self) {
        let small = matches!(self.state.get(Reg::R0), Holds::Scalar { max } if max <= 1);
        let any = self.prog_type != ProgType::CGROUP_SKB || self.function > 0;
        let keeps = matches!(self.state.get(Reg::R0), Holds::Scalar { .. }) && (any || small);
        if !keeps || self.random.one_in(3) {
            let imm = self.random.below(2) as i32;
            self.code.set(Reg::R0, imm);
        }
        self.code.emit(Insn::Exit);
        let bails = std::mem::take(&mut self.bails);
        if !bails.is_empty() {
            for bail in bails {
                self.code.lands(bail);
            }
            self.code.set(Reg::R0, 0);
            self.code.emit(Insn::Exit);
        }
    }

    fn statements(&mut self, count: usize) {
        for _ in 0..count {
            self.statement();
        }
    }

    fn statement(&mut self) {
        let nests = self.depth < 3 && self.branches < MOST_BRANCHES;
        match self.random.below(40) {
            0..=5 => self.arithmetic(),
            6 | 7 => self.narrow(),
            8 | 9 => self.mask(),
            10..=12 => self.load_context(),
            13..=16 => self.access(),
            17 => self.access_variable(),
            18 => self.pointer_moves(),
            19 | 20 => self.spill(),
            21 | 22 => self.fill(),
            23 | 24 => self.lookup(),
            25 if nests => self.check_null(),
            26 => self.check_null(),
            27 | 28 => self.packet_start(),
            29 => self.packet_variable(),
            30 => self.atomic(),
            31 | 32 if nests => self.if_else(),
            33 if nests => self.repeat(),
            34 => self.local_call(),
            35..=37 => self.helper(),
            38 => self.locked(),
            39 => self.ring_record(),
            _ => self.arithmetic(),
        }
    }

    fn new_id(&mut self) -> u32 {
        self.last_id += 1;
        self.last_id
    }

    /// A register that may be written; those with pointers are spared mostly.
    fn destination(&mut self) -> Reg {
        let mut reg = Reg::R0;
        for _ in 0..64 {
            reg = self.random.of(&Reg::ALL[..10]);
            let keeps = self.state.get(reg).is_pointer() && !self.random.one_in(8);
            if !self.reserved.contains(&reg) && !keeps {
                return reg;
            }
        }
        if self.reserved.contains(&reg) { Reg::R0 } else { reg }
    }

    /// A destination that is none of these.
    fn destination_beside(&mut self, others: &[Reg]) -> Option<Reg> {
        (0..16).map(|_| self.destination()).find(|reg| !others.contains(reg))
    }

    fn find(&mut self, fits: impl Fn(Holds) -> bool) -> Option<Reg> {
        let found: Vec<Reg> =
            Reg::ALL[..10].iter().copied().filter(|reg| fits(self.state.get(*reg))).collect();
        if found.is_empty() { None } else { Some(self.random.of(&found)) }
    }

    fn scalar_register(&mut self) -> Option<Reg> {
        self.find(|holds| matches!(holds, Holds::Scalar { .. }))
    }

    /// A register with a number, made if there is none.
    fn scalar(&mut self) -> Reg {
        if let Some(reg) = self.scalar_register() {
            return reg;
        }
        let reg = self.destination();
        self.constant(reg);
        reg
    }

    /// A register with a number that may be changed.
    fn changeable_scalar(&mut self) -> Reg {
        let reserved = self.reserved.clone();
        let found = (0..16).map(|_| self.scalar()).find(|reg| !reserved.contains(reg));
        found.unwrap_or_else(|| {
            let reg = self.destination();
            self.constant(reg);
            reg
        })
    }

    fn constant(&mut self, reg: Reg) {
        let imm =
            if self.random.one_in(2) { self.random.below(80) as i32 } else { self.random.imm() };
        self.code.set(reg, imm);
        self.state.set(reg, Holds::Scalar { max: i64::from(imm) as u64 });
    }

    fn operand(&mut self) -> Src {
        match self.scalar_register() {
            Some(reg) if !self.random.one_in(3) => Src::Reg(reg),
            _ => Src::Imm(self.random.imm()),
        }
    }

    fn max_of(&self, src: Src) -> u64 {
        match src {
            Src::Imm(imm) => i64::from(imm) as u64,
            Src::Reg(reg) => self.state.max(reg),
        }
    }

    fn arithmetic(&mut self) {
        let width = self.random.of(Width::ALL);
        match self.random.below(12) {
            0 => {
                let (src, dst) = (self.scalar(), self.destination());
                let op = self.random.of(Movsx::ALL);
                self.code.emit(Insn::Movsx { op, dst, src });
                self.state.set(dst, Holds::UNKNOWN);
            }
            1 => {
                let dst = self.changeable_scalar();
                let (op, bits) = (self.random.of(Endian::ALL), self.random.of(SwapBits::ALL));
                self.code.emit(Insn::Endian { op, bits, dst });
                self.state.set(dst, Holds::UNKNOWN);
            }
            2 => {
                let dst = self.changeable_scalar();
                self.code.emit(Insn::Neg { width, dst });
                self.state.set(dst, Holds::UNKNOWN);
            }
            3 => {
                let dst = self.destination();
                self.constant(dst);
            }
            4 => {
                let (src, dst) = (self.scalar(), self.destination());
                self.code.emit(Insn::Alu { op: AluOp::Mov, width, dst, src: Src::Reg(src) });
                let max = self.state.max(src);
                let max = if width == Width::W32 { max.min(u32::MAX.into()) } else { max };
                self.state.set(dst, Holds::Scalar { max });
            }
            _ => self.operation(width),
        }
    }

    fn operation(&mut self, width: Width) {
        let dst = self.changeable_scalar();
        let op = self.random.of(AluOp::ALL);
        let mut src = self.operand();
        if let Src::Imm(imm) = &mut src {
            match op {
                AluOp::Div | AluOp::Sdiv | AluOp::Mod | AluOp::Smod if *imm == 0 => *imm = 3,
                AluOp::Lsh | AluOp::Rsh | AluOp::Arsh => *imm &= width.bits() as i32 - 1,
                _ => {}
            }
        }
        self.code.emit(Insn::Alu { op, width, dst, src });
        let (left, right) = (self.state.max(dst), self.max_of(src));
        let max = match (op, src) {
            (AluOp::Mov, _) => right,
            (AluOp::And, _) => left.min(right),
            (AluOp::Add, _) => left.saturating_add(right),
            (AluOp::Rsh, Src::Imm(imm)) => left >> (imm & 63),
            _ => u64::MAX,
        };
        let max = if width == Width::W32 { max.min(u32::MAX.into()) } else { max };
        self.state.set(dst, Holds::Scalar { max });
    }

    /// A comparison after which a number is small.
    fn narrow(&mut self) {
        let reg = self.scalar();
        let limit = self.random.of(&[1, 3, 7, 10, 15, 16, 31, 40, 63, 100, 255, 4095]);
        let max = limit as u64;
        let width = self.random.of(Width::ALL);
        if width == Width::W32 && self.state.max(reg) > u64::from(u32::MAX) {
            let jump = self.code.emit(Insn::Branch {
                cond: Cond::Gt,
                width,
                dst: reg,
                src: Src::Imm(limit),
                target: 0,
            });
            self.bails.push(jump);
            // Only the low half is known; a move makes it the whole.
            if !self.reserved.contains(&reg) && self.random.one_in(2) {
                self.code.emit(Insn::Alu { op: AluOp::Mov, width, dst: reg, src: Src::Reg(reg) });
                self.state.set(reg, Holds::Scalar { max });
            }
            return;
        }
        let signed = width == Width::W64 && self.random.one_in(3);
        if signed {
            let jump = self.code.branch(Cond::Slt, reg, Src::Imm(0));
            self.bails.push(jump);
            let jump = self.code.branch(Cond::Sgt, reg, Src::Imm(limit));
            self.bails.push(jump);
        } else {
            let (cond, imm) =
                if self.random.one_in(2) { (Cond::Gt, limit) } else { (Cond::Ge, limit + 1) };
            let src = Src::Imm(imm);
            let jump = self.code.emit(Insn::Branch { cond, width, dst: reg, src, target: 0 });
            self.bails.push(jump);
        }
        self.state.set(reg, Holds::Scalar { max: max.min(self.state.max(reg)) });
    }

    /// Makes a number small.
    fn mask(&mut self) {
        let dst = self.changeable_scalar();
        let bits = 1 + self.random.below(9) as i32;
        let width = self.random.of(Width::ALL);
        let (op, imm) = match self.random.below(3) {
            0 => (AluOp::Rsh, width.bits() as i32 - bits),
            _ => (AluOp::And, (1 << bits) - 1),
        };
        self.code.emit(Insn::Alu { op, width, dst, src: Src::Imm(imm) });
        self.state.set(dst, Holds::Scalar { max: (1 << bits) - 1 });
    }

    fn size(&mut self) -> skep_bpf::op::Size {
        self.random.of(&SIZES)
    }
}
