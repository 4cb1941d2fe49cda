//! Which registers are read later.
//!
//! Functions are looked at from last to first: what a function reads of its arguments is known
//! where a function before it calls it, and assumed to be everything elsewhere. Without loops one
//! walk from the last instruction to the first finds everything; with loops, blocks are summed up
//! and looked at until nothing changes before that walk.

use super::effects::{Effects, Kind};
use super::{Block, Flow, RegSet};

/// What becomes of registers in a block: which it reads before it writes them, which it writes.
#[derive(Clone, Copy, Debug, Default)]
struct Summary {
    reads: RegSet,
    writes: RegSet,
}

impl Summary {
    fn new(effects: &[Effects]) -> Summary {
        let mut summary = Summary::default();
        for Effects { reads, writes, .. } in effects {
            summary.reads = summary.reads | (*reads - summary.writes);
            summary.writes = summary.writes | *writes;
        }
        summary
    }
}

impl Flow {
    /// `calls` are the calls of functions of the program and the entries that they call.
    pub(super) fn find_liveness(&mut self, calls: &[(u32, u32)]) {
        let mut calls_before = calls.len();
        for index in (0..self.functions.len()).rev() {
            let function = self.functions[index];
            let first_call = calls[..calls_before].partition_point(|call| call.0 < function.entry);
            for call in &calls[first_call..calls_before] {
                self.narrow_call(index, *call);
            }
            calls_before = first_call;
            let (first, after) = (function.blocks.0 as usize, function.blocks.1 as usize);
            if function.loops {
                let sum_up = |block: &Block| Summary::new(&self.effects[block.range()]);
                let summaries: Vec<Summary> =
                    self.blocks[first..after].iter().map(sum_up).collect();
                while self.round(first..after, &summaries) {}
            }
            for block in (first..after).rev() {
                self.spread(block);
            }
            let function = &mut self.functions[index];
            function.live_in = self.blocks[first].live_in;
            if self.zeroing {
                function.zeroed = function.live_in & (RegSet::RESULT | RegSet::PRESERVED);
                function.saved = function.saved | (function.zeroed & RegSet::PRESERVED);
            }
        }
    }

    /// What is read after a block, as far as it is known.
    #[inline]
    fn live_behind(&self, block: &Block) -> RegSet {
        let live = |at: u32| self.blocks.get(at as usize).map_or(RegSet::EMPTY, |at| at.live_in);
        live(block.jump) | live(block.next)
    }

    /// Looks at the blocks of a function from last to first: whether something was learned that
    /// blocks behind ask for.
    fn round(&mut self, blocks: std::ops::Range<usize>, summaries: &[Summary]) -> bool {
        let mut again = false;
        for (index, Summary { reads, writes }) in blocks.zip(summaries).rev() {
            let out = self.live_behind(&self.blocks[index]);
            let live_in = *reads | (out - *writes);
            let block = &mut self.blocks[index];
            // Blocks before this one are still to come.
            again |= block.is_loop_head && live_in != block.live_in;
            block.live_in = live_in;
        }
        again
    }

    /// Calls of functions that come later read what those read.
    fn narrow_call(&mut self, caller: usize, (at, entry): (u32, u32)) {
        let callee = self.function_by_entry(entry);
        let Some(callee) = callee.filter(|callee| *callee > caller) else { return };
        self.effects[at as usize].reads = self.functions[callee].live_in & RegSet::ARGUMENTS;
    }

    /// Tells every instruction of a block what is read behind it, and which neighbours may be of
    /// use to each other.
    fn spread(&mut self, index: usize) {
        let block = &self.blocks[index];
        let mut live = self.live_behind(block);
        let range = block.range();
        let live_out = live;
        let mut next = Effects::default();
        for effects in self.effects[range].iter_mut().rev() {
            // Taken apart and put together: the processor waits for words that it reads after
            // parts of them were written.
            let Effects { reads, writes, kind, .. } = *effects;
            let found = Effects { reads, writes, live_after: live, kind };
            let pair = Kind::PAIR.when(found.may_join(next));
            *effects = Effects { kind: kind | pair, ..found };
            live = reads | (live - writes);
            next = found;
        }
        let block = &mut self.blocks[index];
        (block.live_in, block.live_out) = (live, live_out);
    }
}
