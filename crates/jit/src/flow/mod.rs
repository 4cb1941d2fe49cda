//! What both tiers and all targets know about a program before they choose instructions.
//!
//! Basic blocks, which registers are read later, what must be zeroed because it may be read
//! undefined, how much stack a function can touch, and where fuel is paid. Everything is computed
//! in a few passes over the instructions.

mod effects;

mod fuel;

mod liveness;

mod registers;

mod stack;

use skep_bpf::insn::Insn;
use skep_bpf::program::Pc;

use crate::abi::FRAME_BYTES;
use crate::source::Source;

pub use effects::Effects;
pub use fuel::{Payment, pays};
pub use registers::RegSet;
pub use stack::StackUse;

/// The analysed program.
#[derive(Clone, Debug)]
pub struct Flow {
    /// The basic blocks, in the order of the program.
    pub blocks: Vec<Block>,
    /// The functions, in the order of the program.
    pub functions: Vec<FunctionFlow>,
    effects: Vec<Effects>,
    live_after: Vec<RegSet>,
    block_at: Vec<u32>,
    zeroing: bool,
}

/// Instructions that are executed together: jumps lead to the first and leave from the last.
/// (Traps and calls, which come back, can be anywhere.)
#[derive(Clone, Copy, Debug)]
pub struct Block {
    /// The index of the first instruction.
    pub start: u32,
    /// The index after the last instruction.
    pub end: u32,
    /// The index of the function.
    pub function: u32,
    /// What is read of the registers' values at the start.
    pub live_in: RegSet,
    /// What is read of the registers' values at the end.
    pub live_out: RegSet,
    /// Whether a jump backward, or from itself, leads here.
    pub is_loop_head: bool,
    /// Whether any jump leads here; else only the block before.
    pub is_target: bool,
    /// Whether the proof leaves a path here. Without a proof, true.
    pub is_reached: bool,
    /// How the instructions are paid for. Zeros in code that is not metered.
    pub fuel: Payment,
}

impl Block {
    /// The indices of the instructions.
    #[must_use]
    pub fn range(&self) -> std::ops::Range<usize> {
        self.start as usize..self.end as usize
    }
}

/// A function.
#[derive(Clone, Copy, Debug)]
pub struct FunctionFlow {
    /// The index of the first instruction.
    pub entry: u32,
    /// The index after the last instruction.
    pub end: u32,
    /// The indices of the first block and the one after the last.
    pub blocks: (u32, u32),
    /// The registers whose values at the entry are read, arguments included.
    pub live_in: RegSet,
    /// Of `r0` and `r6` to `r9`, those that must be zeroed at the entry. (For the main function
    /// `r3` to `r5` are zero before.) None with a proof.
    pub zeroed: RegSet,
    /// Of `r6` to `r9`, those that the function changes and therefore preserves.
    pub saved: RegSet,
    /// What it does with its frame.
    pub stack: StackUse,
    /// Whether it calls anything, helpers and runtime functions included.
    pub calls: bool,
    /// Whether it calls functions of the program or may make tail calls.
    pub nests: bool,
    /// Whether it accesses memory.
    pub accesses: bool,
    /// Whether it has `may_goto` instructions.
    pub may_goto: bool,
    /// Whether it has atomic operations that return the old value, other than additions and
    /// exchanges.
    pub fetches: bool,
}

impl Flow {
    /// Analyses a program.
    #[must_use]
    pub fn new(source: &Source<'_>) -> Flow {
        let effects: Vec<Effects> = effects::of_all(source);
        let (blocks, block_at) = blocks(source);
        let mut flow = Flow {
            blocks,
            functions: Vec::with_capacity(source.program.functions().len()),
            live_after: vec![RegSet::EMPTY; effects.len()],
            effects,
            block_at,
            zeroing: source.proof.is_none(),
        };
        flow.find_functions(source);
        flow.find_liveness(source);
        if source.metered {
            fuel::plan(source, &mut flow);
        }
        flow
    }

    /// The index of the block that starts at an instruction, to which a jump leads or which
    /// follows one.
    #[must_use]
    pub fn block_at(&self, pc: Pc) -> usize {
        self.block_at[pc.index()] as usize
    }

    /// What is read later of the registers' values after an instruction.
    #[must_use]
    pub fn live_after(&self, index: usize) -> RegSet {
        self.live_after[index]
    }

    /// What an instruction reads and changes.
    #[must_use]
    pub fn effects(&self, index: usize) -> Effects {
        self.effects[index]
    }

    /// Of `r1` to `r5`, those that must be zeroed after a call: they are read before they are
    /// written. None with a proof.
    #[must_use]
    pub fn zeroed_after(&self, index: usize) -> RegSet {
        if self.zeroing { self.live_after[index] & RegSet::ARGUMENTS } else { RegSet::EMPTY }
    }

    /// How many bytes below the main function's `r10` the program may read before it writes
    /// them, as far as it reaches them through `r10`. None if that may be more than a frame.
    #[must_use]
    pub fn reads_stack(&self) -> Option<u32> {
        let main = self.functions.first()?;
        match self.functions.iter().any(|function| function.stack.reads) {
            _ if main.nests => None,
            false => Some(0),
            true => Some(main.stack.bytes).filter(|bytes| *bytes <= FRAME_BYTES),
        }
    }

    /// The function with an entry.
    #[must_use]
    pub fn function_at(&self, entry: Pc) -> Option<usize> {
        let entry = entry.index() as u32;
        self.functions.binary_search_by_key(&entry, |function| function.entry).ok()
    }

    fn find_functions(&mut self, source: &Source<'_>) {
        for function in source.program.functions() {
            let (start, end) = (function.entry.index(), function.end.index());
            let first = self.block_at[start];
            let after = self.block_at.get(end).copied().unwrap_or(self.blocks.len() as u32);
            let index = self.functions.len() as u32;
            for block in &mut self.blocks[first as usize..after as usize] {
                block.function = index;
            }
            let mut found = FunctionFlow {
                entry: start as u32,
                end: end as u32,
                blocks: (first, after),
                live_in: RegSet::EMPTY,
                zeroed: RegSet::EMPTY,
                saved: RegSet::EMPTY,
                stack: StackUse::default(),
                calls: false,
                nests: false,
                accesses: false,
                may_goto: false,
                fetches: false,
            };
            for index in start..end {
                found.see(&source.insns[index], self.effects[index]);
            }
            found.saved = found.saved & RegSet::PRESERVED;
            self.functions.push(found);
        }
    }
}

impl FunctionFlow {
    fn see(&mut self, insn: &Insn<Pc>, effects: Effects) {
        self.saved = self.saved | effects.writes;
        self.stack.see(insn);
        match insn {
            Insn::Call { callee } => {
                self.calls = true;
                self.nests |= effects::nests(callee);
            }
            Insn::LoadPacket { .. } => self.calls = true,
            Insn::MayGoto { .. } => self.may_goto = true,
            Insn::Load { .. }
            | Insn::Store { .. }
            | Insn::LoadAcquire { .. }
            | Insn::StoreRelease { .. } => self.accesses = true,
            Insn::Atomic { op, .. } => {
                self.accesses = true;
                self.fetches |= effects::needs_loop(*op);
            }
            Insn::Alu { .. }
            | Insn::Neg { .. }
            | Insn::Movsx { .. }
            | Insn::Endian { .. }
            | Insn::AddrSpaceCast { .. }
            | Insn::LoadImm64 { .. }
            | Insn::Jump { .. }
            | Insn::Branch { .. }
            | Insn::Exit => {}
        }
    }
}

/// No block starts at an instruction.
const NO_BLOCK: u32 = u32::MAX;

/// Cuts a program into blocks.
fn blocks(source: &Source<'_>) -> (Vec<Block>, Vec<u32>) {
    const LEADER: u32 = 1;
    const TARGET: u32 = 2;
    const LOOP_HEAD: u32 = 4;
    let insns = source.insns;
    let mut marks = vec![0; insns.len()];
    let mut leaders = 0;
    let mut mark = |index: usize, bits: u32| {
        if let Some(mark) = marks.get_mut(index) {
            leaders += usize::from(*mark == 0);
            *mark |= bits;
        }
    };
    for function in source.program.functions() {
        mark(function.entry.index(), LEADER);
    }
    for (index, insn) in insns.iter().enumerate() {
        if let Some(target) = insn.jump_target() {
            let back = target.index() <= index;
            mark(target.index(), LEADER | TARGET | if back { LOOP_HEAD } else { 0 });
            mark(index + 1, LEADER);
        } else if matches!(insn, Insn::Exit) {
            mark(index + 1, LEADER);
        }
    }
    let mut blocks: Vec<Block> = Vec::with_capacity(leaders);
    for (index, mark) in marks.iter_mut().enumerate() {
        let bits = std::mem::replace(mark, NO_BLOCK);
        if bits == 0 {
            continue;
        }
        *mark = blocks.len() as u32;
        if let Some(last) = blocks.last_mut() {
            last.end = index as u32;
        }
        let slot = || source.program.slot(Pc::from_index(index));
        blocks.push(Block {
            start: index as u32,
            end: insns.len() as u32,
            function: 0,
            live_in: RegSet::EMPTY,
            live_out: RegSet::EMPTY,
            is_loop_head: bits & LOOP_HEAD != 0,
            is_target: bits & TARGET != 0,
            is_reached: source.proof.is_none_or(|proof| proof.is_reachable(slot())),
            fuel: Payment::default(),
        });
    }
    (blocks, marks)
}
