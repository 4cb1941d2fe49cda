//! Cuts a program into blocks.

use skep_bpf::program::Pc;

use super::effects::{Kind, Marks, Scan};
use super::{Block, Payment, RegSet};
use crate::source::Source;

/// Basic blocks, and where each starts.
pub(super) struct Blocks {
    pub(super) blocks: Vec<Block>,
    /// By instruction: the block that starts there. Of others nothing is said.
    pub(super) block_at: Vec<u32>,
}

impl Blocks {
    pub(super) fn new(source: &Source<'_>, scan: &mut Scan) -> Blocks {
        let guess = scan.targets.len() * 2 + scan.functions.len();
        let mut blocks = Vec::with_capacity(guess);
        let mut block_at = vec![0; scan.effects.len()];
        let mut targets = scan.targets.iter().copied();
        let mut paying = scan.paying.iter().copied().peekable();
        for (function, found) in scan.functions.iter_mut().enumerate() {
            let first = blocks.len() as u32;
            let (mut start, after) = (found.entry as usize, found.end as usize);
            while start < after {
                let end = scan.marks.next(start).min(after);
                let mut paid = start as u32;
                while let Some(index) = paying.next_if(|index| (*index as usize) < end) {
                    paid = index + 1;
                }
                let index = blocks.len() as u32;
                block_at[start] = index;
                let last = scan.effects[end - 1].kind;
                let jump = if last.has(Kind::JUMPS) { targets.next() } else { None };
                let marks = scan.marks.at(start);
                let slot = || source.program.slot(Pc::from_index(start));
                blocks.push(Block {
                    start: start as u32,
                    end: end as u32,
                    function: function as u32,
                    // An instruction, until all blocks are known.
                    jump: jump.unwrap_or(Block::NONE),
                    // No function runs off its end.
                    next: if last.has(Kind::STOPS) { Block::NONE } else { index + 1 },
                    paid,
                    live_in: RegSet::EMPTY,
                    live_out: RegSet::EMPTY,
                    is_loop_head: marks & Marks::LOOP_HEAD != 0,
                    is_target: marks & Marks::TARGET != 0,
                    is_reached: source.proof.is_none_or(|proof| proof.is_reachable(slot())),
                    fuel: Payment::default(),
                });
                start = end;
            }
            found.blocks = (first, blocks.len() as u32);
        }
        for block in &mut blocks {
            if block.jump != Block::NONE {
                block.jump = block_at[block.jump as usize];
            }
        }
        Blocks { blocks, block_at }
    }
}
