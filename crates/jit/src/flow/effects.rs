//! What an instruction reads and changes, the calling convention's part included.
//!
//! Every instruction is looked at once; what later passes ask of it is kept as bits, so that they
//! do not branch on what it is.

use std::ops::{BitOr, BitOrAssign};

use skep_bpf::insn::{Callee, HelperId, Insn, Mem, PacketIndex, Reg, Src};
use skep_bpf::op::{AluOp, AtomicOp};
use skep_bpf::program::Pc;

use super::{FunctionFlow, RegSet, StackUse};
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
    /// Whether an instruction and the next may be of use to each other: arithmetic on a register
    /// behind a copy or a sum of it, an access through such a sum, a byte swap of what was loaded.
    #[inline]
    pub(super) fn may_join(self, next: Effects) -> bool {
        let touched = self.reads | self.writes;
        let is_arithmetic = next.kind.has(Kind::ALU) & !(next.writes & touched).is_empty();
        let is_access = next.kind.has(Kind::ACCESS) & !(next.reads & self.writes).is_empty();
        let is_swap = next.kind.has(Kind::SWAP) & (next.writes == self.writes);
        (self.kind.has(Kind::JOINS) & (is_arithmetic | is_access))
            | (self.kind.has(Kind::ACCESS) & is_swap)
    }
}

/// What kind of instruction it is, and which jumps lead to it: a set.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Kind(u16);

impl Kind {
    const NONE: Kind = Kind(0);
    /// A block starts here.
    pub(super) const LEADER: Kind = Kind(1);
    /// A jump leads here.
    pub(super) const TARGET: Kind = Kind(1 << 1);
    /// A jump backward, or from itself, leads here.
    pub(super) const LOOP_HEAD: Kind = Kind(1 << 2);
    /// It has a jump target.
    pub(super) const JUMPS: Kind = Kind(1 << 3);
    /// Control does not go on to the next instruction.
    pub(super) const STOPS: Kind = Kind(1 << 4);
    /// It pays the debt: [`super::pays`].
    pub(super) const PAYS: Kind = Kind(1 << 5);
    pub(super) const EXIT: Kind = Kind(1 << 6);
    pub(super) const MAY_GOTO: Kind = Kind(1 << 7);
    /// Arithmetic of two operands.
    const ALU: Kind = Kind(1 << 8);
    /// Arithmetic that a neighbour may be joined to: a copy, a sum, a shift to the left.
    const JOINS: Kind = Kind(1 << 9);
    /// A plain load or store.
    const ACCESS: Kind = Kind(1 << 10);
    /// A byte swap.
    const SWAP: Kind = Kind(1 << 11);

    #[inline]
    pub(super) const fn has(self, other: Kind) -> bool {
        self.0 & other.0 != 0
    }

    #[inline]
    const fn when(self, condition: bool) -> Kind {
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

impl BitOrAssign for Kind {
    #[inline]
    fn bitor_assign(&mut self, other: Kind) {
        *self = *self | other;
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
    /// The targets of the jumps, in the order of the program.
    pub(super) targets: Vec<u32>,
    /// The calls of functions of the program and the entries that they call, in its order.
    pub(super) calls: Vec<(u32, u32)>,
    /// How many instructions access memory.
    pub(super) accesses: usize,
}

impl Scan {
    pub(super) fn new(source: &Source<'_>) -> Scan {
        let insns = source.insns;
        let functions = source.program.functions();
        let mut scan = Scan {
            effects: vec![Effects::default(); insns.len()],
            functions: Vec::with_capacity(functions.len()),
            targets: Vec::with_capacity(insns.len() / 4 + 4),
            calls: Vec::new(),
            accesses: 0,
        };
        for function in functions {
            let range = function.entry.index()..function.end.index();
            let mut found = FunctionFlow::new(range.start as u32, range.end as u32);
            let mut seen = Seen::default();
            scan.effects[range.start].kind |= Kind::LEADER;
            for index in range {
                scan.see(source, index, &mut seen, &mut found);
            }
            scan.accesses += seen.accesses as usize;
            found.accesses = seen.accesses > 0;
            found.saved = seen.writes & RegSet::PRESERVED;
            found.stack = seen.stack();
            scan.functions.push(found);
        }
        scan
    }

    #[inline]
    fn see(
        &mut self,
        source: &Source<'_>,
        index: usize,
        seen: &mut Seen,
        function: &mut FunctionFlow,
    ) {
        let one = RegSet::of;
        let none = RegSet::EMPTY;
        // The registers whose values are read other than as the base of an access, those that
        // are written, the kind.
        let (values, writes, kind, base) = match source.insns[index] {
            Insn::Alu { op, dst, src, .. } => {
                let (is_mov, by) = (op == AluOp::Mov, operand(src));
                let joins = JOINING >> op as u32 & 1 != 0 && !(is_mov && by.is_empty());
                let read = if is_mov { none } else { one(dst) };
                (read | by, one(dst), Kind::ALU | Kind::JOINS.when(joins), none)
            }
            Insn::Load { dst, mem, .. } => (none, one(dst), Kind::ACCESS, seen.access(mem, true)),
            Insn::Store { mem, src, .. } => {
                (operand(src), none, Kind::ACCESS, seen.access(mem, false))
            }
            Insn::Branch { dst, src, target, .. } => {
                (one(dst) | operand(src), none, self.jump(index, target), none)
            }
            Insn::LoadImm64 { dst, .. } => (none, one(dst), Kind::NONE, none),
            Insn::Jump { target, .. } => (none, none, self.jump(index, target) | Kind::STOPS, none),
            Insn::Call { callee } => self.call(source, index, callee, function),
            Insn::Exit => (RegSet::RESULT, none, Kind::STOPS | Kind::EXIT, none),
            Insn::Neg { dst, .. } => (one(dst), one(dst), Kind::NONE, none),
            Insn::Endian { dst, .. } => (one(dst), one(dst), Kind::SWAP, none),
            Insn::Movsx { dst, src, .. } => (one(src), one(dst), Kind::NONE, none),
            Insn::AddrSpaceCast { dst, src, .. } => {
                function.casts = true;
                (one(src), one(dst), Kind::NONE, none)
            }
            Insn::MayGoto { target } => {
                function.may_goto = true;
                (none, none, self.jump(index, target) | Kind::MAY_GOTO, none)
            }
            Insn::LoadAcquire { dst, mem, .. } => {
                (none, one(dst), Kind::NONE, seen.access(mem, true))
            }
            Insn::StoreRelease { mem, src, .. } => {
                (one(src), none, Kind::NONE, seen.access(mem, false))
            }
            Insn::Atomic { op, mem, src, .. } => {
                function.fetches |= needs_loop(op);
                let compared = if op == AtomicOp::Cmpxchg { RegSet::RESULT } else { none };
                let written = source.insns[index].written().map_or(none, one);
                (one(src) | compared, written, Kind::NONE, seen.access(mem, true))
            }
            Insn::LoadPacket { index, .. } => {
                function.calls = true;
                let read = match index {
                    PacketIndex::Indirect(reg) => one(reg),
                    PacketIndex::Absolute => none,
                };
                (read, RegSet::RESULT, Kind::NONE, none)
            }
        };
        seen.values = seen.values | values;
        seen.writes = seen.writes | writes;
        let effects = &mut self.effects[index];
        effects.reads = values | base;
        effects.writes = writes;
        effects.kind |= kind;
    }

    #[inline]
    fn jump(&mut self, index: usize, target: Pc) -> Kind {
        let target = target.index();
        self.targets.push(target as u32);
        let back = Kind::LOOP_HEAD.when(target <= index);
        self.effects[target].kind |= Kind::LEADER | Kind::TARGET | back;
        Kind::JUMPS
    }

    fn call(
        &mut self,
        source: &Source<'_>,
        index: usize,
        callee: Callee<Pc>,
        function: &mut FunctionFlow,
    ) -> (RegSet, RegSet, Kind, RegSet) {
        function.calls = true;
        function.nests |= nests(&callee);
        let (reads, kind) = match callee {
            // Which of them the function reads is found when its liveness is known.
            Callee::Local(entry) => {
                self.calls.push((index as u32, entry.index() as u32));
                (RegSet::ARGUMENTS, Kind::PAYS)
            }
            Callee::Reg(reg) => (RegSet::ARGUMENTS | RegSet::of(reg), Kind::PAYS),
            Callee::Helper(HelperId::TAIL_CALL) => (RegSet::arguments(TAIL_CALL_ARGS), Kind::NONE),
            Callee::Helper(id) => {
                let pays = Kind::PAYS.when(CALLING_BACK.contains(&id));
                (RegSet::arguments((source.helper)(id).args()), pays)
            }
            Callee::Kfunc { .. } => (RegSet::EMPTY, Kind::NONE),
        };
        (reads, RegSet::CALL, kind, RegSet::EMPTY)
    }
}

/// What the instructions of a function so far do.
#[derive(Default)]
struct Seen {
    /// The registers whose values are read other than as the base of an access.
    values: RegSet,
    writes: RegSet,
    /// The greatest distance below `r10` at which it is accessed.
    below: i32,
    reads_stack: bool,
    accesses: u32,
}

impl Seen {
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
        StackUse::new(self.below as u32, self.reads_stack, self.values.has(Reg::R10))
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
