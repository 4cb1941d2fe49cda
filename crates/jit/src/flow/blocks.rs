//! Cuts a program into blocks.

use skep_bpf::program::Pc;

use super::effects::{Kind, Scan};
use super::{Block, Effects, Payment, RegSet};
use crate::source::Source;

/// What becomes of registers in a block: which it reads before it writes them, which it writes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Summary {
    pub(super) reads: RegSet,
    pub(super) writes: RegSet,
}

/// Basic blocks, and where each starts.
pub(super) struct Blocks {
    pub(super) blocks: Vec<Block>,
    pub(super) summaries: Vec<Summary>,
    /// By instruction: the block that starts there. Of others nothing is said.
    pub(super) block_at: Vec<u32>,
}

impl Blocks {
    pub(super) fn new(source: &Source<'_>, scan: &mut Scan) -> Blocks {
        let guess = scan.targets.len() * 2 + scan.functions.len();
        let mut found = Blocks {
            blocks: Vec::with_capacity(guess),
            summaries: Vec::with_capacity(guess),
            block_at: vec![0; scan.effects.len()],
        };
        let mut targets = scan.targets.iter();
        let effects = scan.effects.as_slice();
        for (index, function) in scan.functions.iter_mut().enumerate() {
            let first = found.blocks.len() as u32;
            let (mut start, end) = (function.entry as usize, function.end as usize);
            while start < end {
                start = found.cut(source, effects, (start, end), &mut targets);
            }
            function.blocks = (first, found.blocks.len() as u32);
            for block in &mut found.blocks[first as usize..] {
                block.function = index as u32;
            }
        }
        for block in &mut found.blocks {
            if block.jump != Block::NONE {
                block.jump = found.block_at[block.jump as usize];
            }
        }
        found
    }

    /// Takes a block from the start of the instructions that are left of a function: where the
    /// next one starts. The jump is left as an instruction.
    fn cut<'a>(
        &mut self,
        source: &Source<'_>,
        effects: &[Effects],
        (start, end): (usize, usize),
        targets: &mut impl Iterator<Item = &'a u32>,
    ) -> usize {
        let mut summary = Summary::default();
        let mut paid = start;
        let (mut at, mut last) = (start, Kind::default());
        for found in &effects[start..end] {
            let starts = found.kind.has(Kind::LEADER) && at > start;
            if starts || last.has(Kind::JUMPS | Kind::STOPS) {
                break;
            }
            last = found.kind;
            summary.reads = summary.reads | (found.reads - summary.writes);
            summary.writes = summary.writes | found.writes;
            at += 1;
            if last.has(Kind::PAYS) {
                paid = at;
            }
        }
        let index = self.blocks.len() as u32;
        self.block_at[start] = index;
        let jump = if last.has(Kind::JUMPS) { targets.next() } else { None };
        let kind = effects[start].kind;
        let slot = || source.program.slot(Pc::from_index(start));
        self.summaries.push(summary);
        self.blocks.push(Block {
            start: start as u32,
            end: at as u32,
            function: 0,
            jump: jump.copied().unwrap_or(Block::NONE),
            // No function runs off its end.
            next: if last.has(Kind::STOPS) { Block::NONE } else { index + 1 },
            paid: paid as u32,
            live_in: RegSet::EMPTY,
            live_out: RegSet::EMPTY,
            is_loop_head: kind.has(Kind::LOOP_HEAD),
            is_target: kind.has(Kind::TARGET),
            is_reached: source.proof.is_none_or(|proof| proof.is_reachable(slot())),
            fuel: Payment::default(),
        });
        at
    }
}
