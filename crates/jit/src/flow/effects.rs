//! What an instruction reads and changes, the calling convention's part included.
//!
//! Every instruction is looked at once; what later passes ask of it is kept as bits, so that they
//! do not branch on what it is. Where blocks start is kept apart, as jumps lead anywhere.

use std::ops::BitOr;

use skep_bpf::insn::{Callee, HelperId, Insn, Mem, PacketIndex, Reg, Src};
use skep_bpf::op::{AluOp, AtomicOp};
use skep_bpf::program::Pc;

use super::{FunctionFlow, RegSet, StackUse, pays};
use crate::source::{CALLING_BACK, Source};

/// What an instruction reads and changes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Effects {
    /// The registers whose values matter to it.
    pub reads: RegSet,
    /// The registers whose values are others after it. A call leaves `r1` to `r5` undefined,
    /// which is 0 here.
    pub writes: RegSet,
    /// What is read later of the registers' values after it.
    pub(super) live_after: RegSet,
    pub(super) kind: Kind,
}

impl Effects {
    /// What an instruction's operands must have to do with the one before it for the two to be of
    /// use to each other. Until the walk that finds what is live, it stands in the place of that.
    #[inline(always)]
    fn wanted(self) -> RegSet {
        self.live_after
    }

    /// Whether an instruction and the next, on which the walk has not been yet, may be of use to
    /// each other: arithmetic on a register behind a copy or a sum of it, an access through such a
    /// sum, a byte swap of what was loaded. Most neighbours are not.
    #[inline(always)]
    pub(super) fn may_join(self, next: Effects) -> bool {
        let touched = (self.reads | self.writes) & next.wanted();
        !touched.is_empty() & self.kind.gives(next.kind)
    }
}

/// What kind of instruction it is: a set.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Kind(u16);

impl Kind {
    const NONE: Kind = Kind(0);
    /// It has a jump target.
    pub(super) const JUMPS: Kind = Kind(1);
    /// Control does not go on to the next instruction.
    pub(super) const STOPS: Kind = Kind(1 << 1);
    pub(super) const EXIT: Kind = Kind(1 << 2);
    pub(super) const MAY_GOTO: Kind = Kind(1 << 3);
    /// It and the next may be of use to each other.
    pub(super) const PAIR: Kind = Kind(1 << 4);
    /// Arithmetic that a neighbour may be joined to: a copy, a sum, a shift to the left.
    const JOINS: Kind = Kind(1 << 8);
    /// A plain load or store.
    const ACCESS: Kind = Kind(1 << 9);
    /// It may be joined to such arithmetic before it: arithmetic of two operands, accesses.
    const JOINED: Kind = Kind(Kind::JOINS.0 << Kind::WANTS);
    /// It may be joined to an access before it: a byte swap.
    const SWAP: Kind = Kind(Kind::ACCESS.0 << Kind::WANTS);
    /// How far above what an instruction is stands what it wants the one before it to be.
    const WANTS: u32 = 4;

    #[inline]
    pub(super) const fn has(self, other: Kind) -> bool {
        self.0 & other.0 != 0
    }

    /// Whether an instruction is what the next one wants it to be.
    #[inline]
    const fn gives(self, next: Kind) -> bool {
        let either = Kind::JOINS.0 | Kind::ACCESS.0;
        self.0 & next.0 >> Kind::WANTS & either != 0
    }

    #[inline]
    pub(super) const fn when(self, condition: bool) -> Kind {
        Kind(self.0 & (condition as u16).wrapping_neg())
    }
}

impl BitOr for Kind {
    type Output = Kind;

    #[inline]
    fn bitor(self, other: Kind) -> Kind {
        Kind(self.0 | other.0)
    }
}

/// Arithmetic that [`Kind::JOINS`] names, by number.
const JOINING: u32 = 1 << AluOp::Mov as u32
    | 1 << AluOp::Add as u32
    | 1 << AluOp::Sub as u32
    | 1 << AluOp::Lsh as u32;

/// What is found in one pass over a program.
pub(super) struct Scan {
    pub(super) effects: Vec<Effects>,
    pub(super) functions: Vec<FunctionFlow>,
    pub(super) marks: Marks,
    /// The targets of the jumps, in the order of the program.
    pub(super) targets: Vec<u32>,
    /// The calls of functions of the program and the entries that they call, in its order.
    pub(super) calls: Vec<(u32, u32)>,
    /// The instructions that pay the debt, in the order of the program: [`super::pays`].
    pub(super) paying: Vec<u32>,
    /// How many instructions access memory.
    pub(super) accesses: usize,
}

impl Scan {
    pub(super) fn new(source: &Source<'_>) -> Scan {
        let insns = source.insns;
        let functions = source.program.functions();
        let mut effects = Vec::with_capacity(insns.len());
        let mut scan = Scan {
            effects: Vec::new(),
            functions: Vec::with_capacity(functions.len()),
            marks: Marks::new(insns.len()),
            targets: Vec::with_capacity(insns.len() / 4 + 4),
            calls: Vec::new(),
            paying: Vec::new(),
            accesses: 0,
        };
        for function in functions {
            let range = function.entry.index()..function.end.index();
            let mut found = FunctionFlow::new(range.start as u32, range.end as u32);
            let mut seen = Seen::default();
            scan.marks.set(range.start, Marks::LEADER);
            // Functions follow each other without gaps.
            let body = range.clone().zip(&insns[range]);
            effects.extend(
                body.map(|(index, insn)| scan.see(source, (index, insn), &mut seen, &mut found)),
            );
            scan.accesses += seen.accesses as usize;
            found.accesses = seen.accesses > 0;
            found.saved = seen.writes() & RegSet::PRESERVED;
            found.stack = seen.stack();
            scan.functions.push(found);
        }
        scan.effects = effects;
        scan
    }

    #[inline(always)]
    fn see(
        &mut self,
        source: &Source<'_>,
        (index, insn): (usize, &Insn<Pc>),
        seen: &mut Seen,
        function: &mut FunctionFlow,
    ) -> Effects {
        let one = RegSet::of;
        let none = RegSet::EMPTY;
        // The registers whose values are read other than as the base of an access, those that
        // are written, the kind.
        let (values, writes, kind, base) = match *insn {
            Insn::Alu { op, dst, src, .. } => {
                let (is_mov, by) = (op == AluOp::Mov, operand(src));
                let joins = JOINING >> op as u32 & 1 != 0 && !(is_mov && by.is_empty());
                let read = if is_mov { none } else { one(dst) };
                (read | by, one(dst), Kind::JOINED | Kind::JOINS.when(joins), none)
            }
            Insn::Load { dst, mem, .. } => {
                (none, one(dst), Kind::ACCESS | Kind::JOINED, seen.access(mem, true))
            }
            Insn::Store { mem, src, .. } => {
                (operand(src), none, Kind::ACCESS | Kind::JOINED, seen.access(mem, false))
            }
            Insn::Branch { dst, src, target, .. } => {
                let kind = self.jump(index, target, function);
                (one(dst) | operand(src), none, kind, none)
            }
            Insn::LoadImm64 { dst, .. } => (none, one(dst), Kind::NONE, none),
            Insn::Jump { target, .. } => {
                let kind = self.jump(index, target, function);
                (none, none, kind | Kind::STOPS, none)
            }
            Insn::Call { callee } => self.call(source, index, callee, function),
            Insn::Exit => {
                self.marks.set(index + 1, Marks::LEADER);
                (RegSet::RESULT, none, Kind::STOPS | Kind::EXIT, none)
            }
            _ => {
                let (values, writes, kind, access) = self.rare(index, insn, function);
                let base = access.map_or(none, |(mem, reads)| seen.access(mem, reads));
                (values, writes, kind, base)
            }
        };
        seen.note(values, writes);
        // An access wants its base, the others what they change.
        let wanted = if base.is_empty() { writes } else { base };
        Effects { reads: values | base, writes, live_after: wanted, kind }
    }

    /// [`Scan::see`] of instructions of which there are few: values, writes, kind, and the access
    /// with whether it reads.
    #[inline(never)]
    fn rare(
        &mut self,
        index: usize,
        insn: &Insn<Pc>,
        function: &mut FunctionFlow,
    ) -> (RegSet, RegSet, Kind, Option<(Mem, bool)>) {
        let one = RegSet::of;
        let none = RegSet::EMPTY;
        match *insn {
            Insn::Neg { dst, .. } => (one(dst), one(dst), Kind::NONE, None),
            Insn::Endian { dst, .. } => (one(dst), one(dst), Kind::SWAP, None),
            Insn::Movsx { dst, src, .. } => (one(src), one(dst), Kind::NONE, None),
            Insn::AddrSpaceCast { dst, src, .. } => {
                function.casts = true;
                (one(src), one(dst), Kind::NONE, None)
            }
            Insn::MayGoto { target } => {
                function.may_goto = true;
                let kind = self.jump(index, target, function);
                (none, none, kind | Kind::MAY_GOTO, None)
            }
            Insn::LoadAcquire { dst, mem, .. } => (none, one(dst), Kind::NONE, Some((mem, true))),
            Insn::StoreRelease { mem, src, .. } => (one(src), none, Kind::NONE, Some((mem, false))),
            Insn::Atomic { op, mem, src, .. } => {
                function.fetches |= needs_loop(op);
                let compared = if op == AtomicOp::Cmpxchg { RegSet::RESULT } else { none };
                let written = insn.written().map_or(none, one);
                (one(src) | compared, written, Kind::NONE, Some((mem, true)))
            }
            Insn::LoadPacket { index, .. } => {
                function.calls = true;
                let read = match index {
                    PacketIndex::Indirect(reg) => one(reg),
                    PacketIndex::Absolute => none,
                };
                (read, RegSet::RESULT, Kind::NONE, None)
            }
            // What `see` knows.
            Insn::Alu { .. }
            | Insn::Load { .. }
            | Insn::Store { .. }
            | Insn::Branch { .. }
            | Insn::LoadImm64 { .. }
            | Insn::Jump { .. }
            | Insn::Call { .. }
            | Insn::Exit => (none, none, Kind::NONE, None),
        }
    }

    #[inline]
    fn jump(&mut self, index: usize, target: Pc, function: &mut FunctionFlow) -> Kind {
        let target = target.index();
        self.targets.push(target as u32);
        let is_back = target <= index;
        function.loops |= is_back;
        let back = if is_back { Marks::LOOP_HEAD } else { 0 };
        self.marks.set(target, Marks::LEADER | Marks::TARGET | back);
        self.marks.set(index + 1, Marks::LEADER);
        Kind::JUMPS
    }

    #[inline(never)]
    fn call(
        &mut self,
        source: &Source<'_>,
        index: usize,
        callee: Callee<Pc>,
        function: &mut FunctionFlow,
    ) -> (RegSet, RegSet, Kind, RegSet) {
        function.calls = true;
        function.nests |= nests(&callee);
        function.repeats |= matches!(callee, Callee::Helper(HelperId::LOOP));
        if pays(&Insn::Call { callee }) {
            self.paying.push(index as u32);
        }
        let reads = match callee {
            // Which of them the function reads is found when its liveness is known.
            Callee::Local(entry) => {
                self.calls.push((index as u32, entry.index() as u32));
                RegSet::ARGUMENTS
            }
            Callee::Reg(reg) => RegSet::ARGUMENTS | RegSet::of(reg),
            Callee::Helper(HelperId::TAIL_CALL) => RegSet::arguments(TAIL_CALL_ARGS),
            Callee::Helper(id) => RegSet::arguments((source.helper)(id).args()),
            Callee::Kfunc { .. } => RegSet::EMPTY,
        };
        (reads, RegSet::CALL, Kind::NONE, RegSet::EMPTY)
    }
}

/// Where blocks start and which jumps lead there: a byte for each instruction.
pub(super) struct Marks(Vec<u8>);

impl Marks {
    /// A block starts here.
    pub(super) const LEADER: u8 = 1;
    /// A jump leads here.
    pub(super) const TARGET: u8 = 1 << 1;
    /// A jump backward, or from itself, leads here.
    pub(super) const LOOP_HEAD: u8 = 1 << 2;
    /// How many are looked at together.
    const STEP: usize = 8;

    /// Of so many instructions, with room to look at too many behind them.
    fn new(insns: usize) -> Marks {
        let mut marks = vec![0; insns + 2 * Marks::STEP];
        marks[insns] = Marks::LEADER;
        Marks(marks)
    }

    #[inline]
    fn set(&mut self, index: usize, mark: u8) {
        self.0[index] |= mark;
    }

    /// The marks of an instruction.
    #[inline]
    pub(super) fn at(&self, index: usize) -> u8 {
        self.0[index]
    }

    /// The next instruction after one that has a mark, or the end of the program.
    #[inline]
    pub(super) fn next(&self, mut index: usize) -> usize {
        index += 1;
        while let Some(marks) = self.0.get(index..).and_then(|rest| rest.first_chunk()) {
            let marks = u64::from_le_bytes(*marks);
            if marks != 0 {
                return index + marks.trailing_zeros() as usize / 8;
            }
            index += Marks::STEP;
        }
        index
    }
}

/// What the instructions of a function so far do.
#[derive(Default)]
struct Seen {
    /// The registers whose values are read other than as the base of an access, and above them
    /// those that are written: in one word, or the optimiser keeps the pair in memory.
    registers: u32,
    /// The greatest distance below `r10` at which it is accessed.
    below: i32,
    reads_stack: bool,
    accesses: u32,
}

impl Seen {
    #[inline]
    fn note(&mut self, values: RegSet, writes: RegSet) {
        self.registers |= u32::from(values.bits()) | u32::from(writes.bits()) << 16;
    }

    fn values(&self) -> RegSet {
        RegSet::from_bits(self.registers as u16)
    }

    fn writes(&self) -> RegSet {
        RegSet::from_bits((self.registers >> 16) as u16)
    }

    /// Notes an access; gives its base.
    #[inline]
    fn access(&mut self, mem: Mem, reads: bool) -> RegSet {
        let is_stack = mem.base == Reg::R10;
        self.accesses += 1;
        self.reads_stack |= is_stack & reads;
        self.below = self.below.max(if is_stack { -i32::from(mem.offset) } else { 0 });
        RegSet::of(mem.base)
    }

    fn stack(&self) -> StackUse {
        StackUse::new(self.below as u32, self.reads_stack, self.values().has(Reg::R10))
    }
}

/// Whether a call can lead into a function of a program.
fn nests(callee: &Callee<Pc>) -> bool {
    match callee {
        Callee::Local(_) | Callee::Reg(_) | Callee::Helper(HelperId::TAIL_CALL) => true,
        Callee::Helper(id) => CALLING_BACK.contains(id),
        Callee::Kfunc { .. } => false,
    }
}

/// Whether targets without a single instruction for it repeat a compare-and-exchange.
fn needs_loop(op: AtomicOp) -> bool {
    matches!(op, AtomicOp::FetchOr | AtomicOp::FetchAnd | AtomicOp::FetchXor)
}

#[inline]
fn operand(src: Src) -> RegSet {
    match src {
        Src::Imm(_) => RegSet::EMPTY,
        Src::Reg(reg) => RegSet::of(reg),
    }
}

/// `bpf_tail_call(ctx, map, index)`.
const TAIL_CALL_ARGS: u8 = 3;
