//! Jumps between blocks: which are short, where loops start, which blocks come out empty.
//!
//! A function is written twice. What the first time tells makes jumps short and loops start so
//! that they lie in as few cache lines as they can.

use regalloc2::Output;

use super::super::inst::Inst;
use super::super::layout::Placed;
use super::super::select::Machine;
use super::super::stubs::StubKind;
use super::{Emitter, Items};
use crate::x64::asm::{Alu, Bits, Cc};
use crate::x64::regs::FUEL;

/// What is known from writing a function a first time.
#[derive(Clone, Debug, Default)]
pub(super) struct Plan {
    /// For each jump to a block, in order, whether a short one reaches.
    pub(super) is_short: Vec<bool>,
    /// For each block that starts a loop without loops in it, the size of its code.
    pub(super) loop_bytes: Vec<usize>,
}

/// The greatest distance at which a jump is made short. Padding of loops may move its target on.
const SHORT: usize = 127 - LINE;

/// The size of a cache line, which is what the processor fetches instructions from at a time.
const LINE: usize = 64;

impl Emitter<'_, '_> {
    /// What the first time tells.
    pub(super) fn plan(&self, order: &[Placed]) -> Plan {
        let at = |block: usize| self.compiler.asm.offset_of(self.labels[block]).unwrap_or(0);
        let end = self.compiler.asm.offset();
        let is_short = |(from, to): &(usize, usize)| at(*to).abs_diff(*from) <= SHORT;
        let is_short = self.jumps.iter().map(is_short).collect();
        let mut loop_bytes = vec![0; self.machine.blocks.len()];
        for (index, block) in order.iter().enumerate().filter(|(_, block)| block.is_loop_head) {
            let after = order[index + 1..].iter().find(|other| other.depth < block.depth);
            let inner = order[index + 1..].iter().take_while(|other| other.depth >= block.depth);
            if inner.clone().all(|other| other.depth == block.depth) {
                let end = after.map_or(end, |after| at(after.index));
                loop_bytes[block.index] = end.saturating_sub(at(block.index));
            }
        }
        Plan { is_short, loop_bytes }
    }

    /// Puts the start of a loop where its code lies in as few lines as it can.
    pub(super) fn align_loop(&mut self, index: usize) {
        let Some(plan) = &self.known else { return };
        let (size, at) = (plan.loop_bytes[index], self.compiler.asm.offset() % LINE);
        let lines = |at: usize| (at + size).div_ceil(LINE);
        if size == 0 || size > 8 * LINE {
            self.compiler.asm.align(16);
        } else if lines(at) > lines(0) {
            self.compiler.asm.align(LINE);
        }
    }

    pub(super) fn is_short(&mut self, to: usize) -> bool {
        let index = self.jumps.len();
        let known = self.known.as_ref().and_then(|plan| plan.is_short.get(index).copied());
        self.jumps.push((self.compiler.asm.offset(), to));
        known.unwrap_or(false) && self.compiler.asm.offset_of(self.labels[to]).is_none()
    }

    pub(super) fn jump_to(&mut self, to: usize) {
        let label = self.labels[to];
        if self.is_short(to) {
            self.compiler.asm.jmp_short(label);
        } else {
            self.compiler.asm.jmp(label);
        }
    }

    pub(super) fn jump_if(&mut self, cc: Cc, to: usize) {
        let label = self.labels[to];
        if self.is_short(to) {
            self.compiler.asm.jcc_short(cc, label);
        } else {
            self.compiler.asm.jcc(cc, label);
        }
    }

    /// Where the edge of a block with a number leads in the end.
    pub(super) fn destination(&self, block: usize, edge: usize) -> usize {
        let to = self.machine.blocks.succs(block)[edge].index();
        self.ways.leads_to[to]
    }

    pub(super) fn branch(&mut self, block: usize, cc: Cc, next: Option<usize>) {
        let (then, other) = (self.destination(block, 0), self.destination(block, 1));
        if then == other {
            if Some(then) != next {
                self.jump_to(then);
            }
        } else if Some(then) == next {
            self.jump_if(cc.negated(), other);
        } else {
            self.jump_if(cc, then);
            if Some(other) != next {
                self.jump_to(other);
            }
        }
    }

    /// Writes the end of a block that pays, asks for fuel and jumps as one conditional jump.
    pub(super) fn checks_and_jumps(
        &mut self,
        block: usize,
        inst: regalloc2::Inst,
        next: Option<usize>,
        rest: &Items<'_>,
    ) -> bool {
        let chosen = self.machine.insts[inst.index()];
        let Inst::ChargeAndCheck(count) = chosen.inst else { return false };
        let (_, last) = self.machine.blocks.insts(block);
        let follows = inst.index() + 2 == last
            && matches!(self.machine.insts[last - 1].inst, Inst::Jump)
            && rest.are_only_instructions();
        let to = if follows { self.destination(block, 0) } else { return false };
        if count == 0 || Some(to) == next {
            return false;
        }
        self.compiler.place(chosen.pc);
        let resume = self.labels[to];
        let stub = self.compiler.stub(chosen.pc, StubKind::Refuel { resume });
        let asm = &mut self.compiler.asm;
        asm.alu_imm(Alu::Sub, Bits::B64, FUEL, count);
        asm.jcc(Cc::Ns, resume);
        asm.jmp(stub);
        true
    }
}

/// What is known of blocks when registers are allocated.
#[derive(Clone, Debug)]
pub(super) struct Ways {
    /// For each block, itself, or where it leads if nothing is left of it but a jump.
    pub(super) leads_to: Vec<usize>,
    /// For each block, where its moves start among those of the function.
    pub(super) moves: Vec<usize>,
}

impl Ways {
    pub(super) fn new(machine: &Machine, output: &Output) -> Ways {
        let count = machine.blocks.len();
        let mut leads_to: Vec<usize> = (0..count).collect();
        let mut moves = Vec::with_capacity(count);
        let mut is_empty = Vec::with_capacity(count);
        let mut next = 0;
        for index in 0..count {
            let (start, end) = machine.blocks.insts(index);
            let first = next;
            while output.edits.get(next).is_some_and(|(point, _)| point.inst().index() < end) {
                next += 1;
            }
            let only_jumps = end - start == 1 && matches!(machine.insts[start].inst, Inst::Jump);
            moves.push(first);
            is_empty.push(only_jumps && first == next && index != 0);
        }
        for place in &mut leads_to {
            // A cycle of empty blocks leads to one of them.
            for _ in 0..64 {
                if !is_empty[*place] {
                    break;
                }
                *place = machine.blocks.succs(*place).first().map_or(*place, |to| to.index());
            }
        }
        Ways { leads_to, moves }
    }
}
