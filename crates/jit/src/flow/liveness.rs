//! Which registers are read later.
//!
//! Functions are looked at from last to first: what a function reads of its arguments is known
//! where a function before it calls it, and assumed to be everything elsewhere.

use skep_bpf::program::Pc;

use super::{Flow, RegSet};
use crate::source::Source;

impl Flow {
    pub(super) fn find_liveness(&mut self, source: &Source<'_>) {
        for index in (0..self.functions.len()).rev() {
            let function = self.functions[index];
            self.narrow_calls(source, index);
            let (first, after) = (function.blocks.0 as usize, function.blocks.1 as usize);
            let summaries: Vec<(RegSet, RegSet)> =
                (first..after).map(|block| self.summary(block)).collect();
            let mut changed = true;
            while changed {
                changed = false;
                for block in (first..after).rev() {
                    let (reads, writes) = summaries[block - first];
                    let out = self.live_at_end(source, block);
                    let live_in = reads | (out - writes);
                    let block = &mut self.blocks[block];
                    block.live_out = out;
                    changed |= live_in != block.live_in;
                    block.live_in = live_in;
                }
            }
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

    /// Calls of functions that come later read what those read.
    fn narrow_calls(&mut self, source: &Source<'_>, index: usize) {
        let function = self.functions[index];
        if !function.nests {
            return;
        }
        for at in function.entry as usize..function.end as usize {
            let callee = source.insns[at].local_callee();
            let callee = callee.and_then(|entry| self.function_at(entry));
            if let Some(callee) = callee.filter(|callee| *callee > index) {
                self.effects[at].reads = self.functions[callee].live_in & RegSet::ARGUMENTS;
            }
        }
    }

    /// What a block reads before it writes it, and what it writes.
    fn summary(&self, block: usize) -> (RegSet, RegSet) {
        let mut summary = (RegSet::EMPTY, RegSet::EMPTY);
        for effects in &self.effects[self.blocks[block].range()] {
            summary.0 = summary.0 | (effects.reads - summary.1);
            summary.1 = summary.1 | effects.writes;
        }
        summary
    }

    fn live_at_end(&self, source: &Source<'_>, block: usize) -> RegSet {
        let (jump, next) = self.successors(source, block);
        let live = |at: Option<usize>| at.map_or(RegSet::EMPTY, |at| self.blocks[at].live_in);
        live(jump) | live(next)
    }

    /// The blocks that control can go to from the end of a block: by its jump and by going on.
    #[must_use]
    pub fn successors(&self, source: &Source<'_>, block: usize) -> (Option<usize>, Option<usize>) {
        let end = self.blocks[block].end as usize;
        let last = &source.insns[end - 1];
        let jump = last.jump_target().map(|target| self.block_at(*target));
        // No function runs off its end.
        let next = last.falls_through().then(|| self.block_at(Pc::from_index(end)));
        (jump, next)
    }

    fn spread(&mut self, block: usize) {
        let mut live = self.blocks[block].live_out;
        for index in self.blocks[block].range().rev() {
            self.live_after[index] = live;
            let effects = self.effects[index];
            live = effects.reads | (live - effects.writes);
        }
    }
}
