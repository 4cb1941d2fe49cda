//! Which registers are read later.
//!
//! Functions are looked at from last to first: what a function reads of its arguments is known
//! where a function before it calls it, and assumed to be everything elsewhere. One walk from a
//! function's last instruction to the first finds everything without loops; with loops, blocks
//! behind which more is read than was known are walked again.

use std::ops::Range;

use super::effects::{Effects, Kind};
use super::{Block, Flow, RegSet};

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
            self.walk(first..after);
            if function.loops {
                while self.walk_again(first..after) {}
            }
            let function = &mut self.functions[index];
            function.live_in = self.blocks[first].live_in;
            if self.zeroing {
                function.zeroed = function.live_in & (RegSet::RESULT | RegSet::PRESERVED);
                function.saved = function.saved | (function.zeroed & RegSet::PRESERVED);
            }
        }
    }

    /// What is read behind a block, as far as it is known.
    #[inline]
    fn live_behind(&self, block: &Block) -> RegSet {
        let live = |at: u32| self.blocks.get(at as usize).map_or(RegSet::EMPTY, |at| at.live_in);
        live(block.jump) | live(block.next)
    }

    /// Tells every instruction of a function what is read behind it, as far as it is known, and
    /// whether it and the next may be of use to each other.
    fn walk(&mut self, blocks: Range<usize>) {
        for index in blocks.rev() {
            let block = &self.blocks[index];
            let (range, live_out) = (block.range(), self.live_behind(block));
            let mut live = live_out;
            let mut next = Effects::default();
            for effects in self.effects[range].iter_mut().rev() {
                // Taken apart and put together: the processor waits for words that it reads after
                // parts of them were written.
                let found = *effects;
                let kind = found.kind | Kind::PAIR.when(found.may_join(next));
                *effects = Effects { live_after: live, kind, ..found };
                live = found.reads | (live - found.writes);
                next = found;
            }
            let block = &mut self.blocks[index];
            (block.live_in, block.live_out) = (live, live_out);
        }
    }

    /// Walks blocks again behind which more is read than was known: whether that was found where
    /// blocks behind ask for it.
    fn walk_again(&mut self, blocks: Range<usize>) -> bool {
        let mut again = false;
        for index in blocks.rev() {
            let block = &self.blocks[index];
            let (range, live_out) = (block.range(), self.live_behind(block));
            if live_out == block.live_out {
                continue;
            }
            let mut live = live_out;
            for effects in self.effects[range].iter_mut().rev() {
                effects.live_after = live;
                live = effects.reads | (live - effects.writes);
            }
            let block = &mut self.blocks[index];
            again |= block.is_loop_head && live != block.live_in;
            (block.live_in, block.live_out) = (live, live_out);
        }
        again
    }

    /// Calls of functions that come later read what those read.
    fn narrow_call(&mut self, caller: usize, (at, entry): (u32, u32)) {
        let callee = self.function_by_entry(entry);
        let Some(callee) = callee.filter(|callee| *callee > caller) else { return };
        self.effects[at as usize].reads = self.functions[callee].live_in & RegSet::ARGUMENTS;
    }
}
