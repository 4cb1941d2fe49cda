//! What both tiers and all targets know about a program before they choose instructions.
//!
//! Basic blocks, which registers are read later, what must be zeroed because it may be read
//! undefined, how much stack a function can touch, and where fuel is paid. Everything is computed
//! in a few passes over the instructions.

mod blocks;

mod effects;

mod fuel;

mod liveness;

mod registers;

mod stack;

use skep_bpf::program::Pc;

use crate::abi::FRAME_BYTES;
use crate::source::Source;

use blocks::Blocks;
use effects::{Kind, Scan};

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
    /// How many instructions access memory.
    pub accesses: usize,
    effects: Vec<Effects>,
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
    /// The index of the block that the jump at the end leads to, or [`Block::NONE`].
    pub jump: u32,
    /// The index of the block that control goes on to, or [`Block::NONE`].
    pub next: u32,
    /// The index after the last instruction that [`pays`], or of the first.
    paid: u32,
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
    /// Stands for no block.
    pub const NONE: u32 = u32::MAX;

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
    /// Whether it has address space casts.
    pub casts: bool,
    /// Whether it calls `bpf_loop`.
    pub repeats: bool,
    /// Whether it has jumps backward.
    loops: bool,
}

impl Flow {
    /// Analyses a program.
    #[must_use]
    pub fn new(source: &Source<'_>) -> Flow {
        let mut scan = Scan::new(source);
        let Blocks { blocks, block_at } = Blocks::new(source, &mut scan);
        let Scan { effects, functions, calls, accesses, .. } = scan;
        let zeroing = source.proof.is_none();
        let mut flow = Flow { blocks, functions, accesses, effects, block_at, zeroing };
        flow.find_liveness(&calls);
        if source.metered {
            fuel::plan(&mut flow);
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
        self.effects[index].live_after
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
        if self.zeroing { self.live_after(index) & RegSet::ARGUMENTS } else { RegSet::EMPTY }
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

    /// Whether no function accesses memory, calls anything, can trap or reads `r10`: the program
    /// computes with its registers alone.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        let mut functions = self.functions.iter();
        let mut blocks = self.blocks.iter();
        functions.all(|function| {
            let touches = function.accesses || function.calls || function.stack.escapes;
            !touches && !function.casts
        }) && blocks.all(|block| !block.fuel.check && block.is_reached)
    }

    /// The function with an entry.
    #[must_use]
    pub fn function_at(&self, entry: Pc) -> Option<usize> {
        self.function_by_entry(entry.index() as u32)
    }

    fn function_by_entry(&self, entry: u32) -> Option<usize> {
        self.functions.binary_search_by_key(&entry, |function| function.entry).ok()
    }

    /// The blocks that control can go to from the end of a block: by its jump and by going on.
    #[must_use]
    pub fn successors(&self, block: usize) -> (Option<usize>, Option<usize>) {
        let Block { jump, next, .. } = self.blocks[block];
        let block = |at: u32| (at != Block::NONE).then_some(at as usize);
        (block(jump), block(next))
    }

    /// Whether an instruction and the next may be of use to each other, so that a compiler should
    /// look at both. Most neighbours are not.
    #[must_use]
    #[inline]
    pub fn may_join(&self, index: usize) -> bool {
        self.effects[index].kind.has(Kind::PAIR)
    }
}

impl FunctionFlow {
    fn new(entry: u32, end: u32) -> FunctionFlow {
        FunctionFlow {
            entry,
            end,
            blocks: (0, 0),
            live_in: RegSet::EMPTY,
            zeroed: RegSet::EMPTY,
            saved: RegSet::EMPTY,
            stack: StackUse::default(),
            calls: false,
            nests: false,
            accesses: false,
            may_goto: false,
            fetches: false,
            casts: false,
            repeats: false,
            loops: false,
        }
    }
}
