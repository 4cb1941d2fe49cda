//! Which registers are read later.
//!
//! Functions are looked at from last to first: what a function reads of its arguments is known
//! where a function before it calls it, and assumed to be everything elsewhere.

use super::blocks::Summary;
use super::{Block, Flow, RegSet};

impl Flow {
    /// `calls` are the calls of functions of the program and the entries that they call.
    pub(super) fn find_liveness(&mut self, summaries: &mut [Summary], calls: &[(u32, u32)]) {
        let mut calls_before = calls.len();
        for index in (0..self.functions.len()).rev() {
            let function = self.functions[index];
            let first_call = calls[..calls_before].partition_point(|call| call.0 < function.entry);
            for call in &calls[first_call..calls_before] {
                self.narrow_call(index, *call, summaries);
            }
            calls_before = first_call;
            let (first, after) = (function.blocks.0 as usize, function.blocks.1 as usize);
            while self.round(first..after, summaries) {}
            for block in first..after {
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

    /// Looks at the blocks of a function from last to first: whether something was learned that
    /// blocks behind ask for.
    fn round(&mut self, blocks: std::ops::Range<usize>, summaries: &[Summary]) -> bool {
        let mut again = false;
        for index in blocks.rev() {
            let Block { jump, next, .. } = self.blocks[index];
            let live =
                |at: u32| self.blocks.get(at as usize).map_or(RegSet::EMPTY, |at| at.live_in);
            let out = live(jump) | live(next);
            let Summary { reads, writes } = summaries[index];
            let live_in = reads | (out - writes);
            let block = &mut self.blocks[index];
            block.live_out = out;
            // Blocks before this one are still to come.
            again |= block.is_loop_head && live_in != block.live_in;
            block.live_in = live_in;
        }
        again
    }

    /// Calls of functions that come later read what those read.
    fn narrow_call(&mut self, caller: usize, (at, entry): (u32, u32), summaries: &mut [Summary]) {
        let callee = self.function_by_entry(entry);
        let Some(callee) = callee.filter(|callee| *callee > caller) else { return };
        self.effects[at as usize].reads = self.functions[callee].live_in & RegSet::ARGUMENTS;
        let blocks = self.functions[caller].blocks;
        let blocks = blocks.0 as usize..blocks.1 as usize;
        let after = self.blocks[blocks.clone()].partition_point(|block| block.start <= at);
        let block = blocks.start + after - 1;
        let mut summary = Summary::default();
        for effects in &self.effects[self.blocks[block].range()] {
            summary.reads = summary.reads | (effects.reads - summary.writes);
            summary.writes = summary.writes | effects.writes;
        }
        summaries[block] = summary;
    }

    fn spread(&mut self, block: usize) {
        let block = &self.blocks[block];
        let mut live = block.live_out;
        for effects in self.effects[block.range()].iter_mut().rev() {
            effects.live_after = live;
            live = effects.reads | (live - effects.writes);
        }
    }
}
