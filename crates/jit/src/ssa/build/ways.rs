//! Calls, and the ways out of a block.

use skep_bpf::insn::{Callee, HelperId, Insn, PacketIndex, Reg};
use skep_bpf::op::{Cond, Size, Width};
use skep_bpf::program::Pc;

use super::super::ir::{Bin, BlockId, CallSite, Edge, OUTSIDE_PACKET, Op, Target, Term, Val};
use super::{Builder, MAY_GOTO, NOWHERE, edge};
use crate::flow::RegSet;
use crate::source::CALLING_BACK;

impl Builder<'_> {
    /// Adds a call; false if nothing comes after it.
    pub(super) fn call(&mut self, index: usize, callee: Callee<Pc>, debt: i32) -> bool {
        if let Callee::Helper(id) = callee
            && self.lookup(id)
        {
            return true;
        }
        self.stored.forget();
        if let Callee::Helper(id) = callee
            && self.source.calls_back(id)
            && self.loops(id, debt)
        {
            return true;
        }
        let regs = self.flow.effects(index).reads & RegSet::ARGUMENTS;
        let mut args: Vec<Val> = Vec::with_capacity(6);
        for reg in regs.iter() {
            args.push(self.get(reg));
        }
        let target = match callee {
            Callee::Kfunc { .. } => {
                self.finish(Term::Unsupported { pc: Pc::from_index(index) });
                return false;
            }
            Callee::Helper(HelperId::TAIL_CALL) => Target::TailCall,
            Callee::Helper(id) if self.source.calls_back(id) => Target::CallBack(id),
            Callee::Helper(id) => Target::Helper(id),
            Callee::Local(entry) => Target::Local(entry),
            Callee::Reg(reg) => {
                args.push(self.get(reg));
                Target::Register
            }
        };
        if self.source.metered {
            match target {
                Target::Local(_) | Target::TailCall => {
                    self.add(Op::ChargeAndCheck(debt));
                }
                // Whether fuel is asked for depends on what is called.
                Target::Register | Target::CallBack(_) => self.charge(debt),
                // A helper of an embedder's under such a number.
                Target::Helper(id) if CALLING_BACK.contains(&id) => self.charge(debt),
                Target::Helper(_) | Target::Lookup(_) | Target::Packet(_) => {}
            }
        }
        self.func.calls.push(CallSite { target, regs, args });
        let result = self.add(Op::Call(self.func.calls.len() as u32 - 1));
        if self.source.metered && target == Target::TailCall {
            // A tail call that fails does not count as one.
            self.charge(-debt);
        }
        self.after_call(result);
        true
    }

    pub(super) fn after_call(&mut self, result: Val) {
        self.set(Reg::R0, result);
        let zero = self.func.make_const(0);
        for reg in RegSet::ARGUMENTS.iter() {
            self.set(reg, zero);
        }
    }

    pub(super) fn load_packet(&mut self, (size, index, imm): (Size, PacketIndex, i32), debt: i32) {
        let imm = self.func.make_const(i64::from(imm) as u64);
        let offset = match index {
            PacketIndex::Absolute => imm,
            PacketIndex::Indirect(reg) => {
                let reg = self.get(reg);
                self.add(Op::Binary(Bin::Add, Width::W32, reg, imm))
            }
        };
        let site =
            CallSite { target: Target::Packet(size), regs: RegSet::EMPTY, args: vec![offset] };
        self.func.calls.push(site);
        let value = self.add(Op::Call(self.func.calls.len() as u32 - 1));
        let outside = self.new_block(NOWHERE);
        let after = self.new_block(NOWHERE);
        let b = self.func.make_const(OUTSIDE_PACKET);
        let (then, other) = (edge(outside), edge(after));
        let (cond, width) = (Cond::Eq, Width::W64);
        self.finish(Term::Branch { cond, width, a: value, b, then, other });
        self.block = outside.index();
        if self.source.metered {
            self.charge(debt);
        }
        let zero = self.func.make_const(0);
        self.finish(Term::Return(zero));
        self.block = after.index();
        self.set(Reg::R0, value);
    }

    /// The edges of a block of `flow`, from where the builder is.
    pub(super) fn leave(&mut self, block: usize) {
        self.origin[self.block] = block;
        let last = self.source.insns[self.flow.blocks[block].end as usize - 1];
        let metered = self.source.metered;
        let debt = if metered { self.debts.at_end(block) } else { 0 };
        let check = self.flow.blocks[block].fuel.check;
        let (jump, next) = self.flow.successors(block);
        let [live_jump, live_next] = self.successors(block);
        let (cond, width, a, b) = match last {
            Insn::Exit => {
                self.charge(debt);
                let value = self.get(Reg::R0);
                return self.finish(Term::Return(value));
            }
            Insn::Branch { cond, width, dst, src, .. } => {
                (cond, width, self.get(dst), self.operand(src))
            }
            Insn::MayGoto { .. } => {
                // The budget may go on falling below 0, where it stays used up.
                let one = self.func.make_const(1);
                let left = self.now[MAY_GOTO];
                let left = self.add(Op::Binary(Bin::Sub, Width::W64, left, one));
                self.now[MAY_GOTO] = left;
                (Cond::Slt, Width::W64, left, self.func.make_const(0))
            }
            _ => {
                let to = jump.or(next).map_or(BlockId::ENTRY, |to| self.block_of(to));
                let start = jump.or(next).map_or(0, |to| self.debts.at_start(to));
                if check {
                    self.add(Op::ChargeAndCheck(debt - start));
                } else if metered {
                    self.charge(debt - start);
                }
                return self.finish(Term::Jump(edge(to)));
            }
        };
        let pay = |to: usize| if metered { debt - self.debts.at_start(to) } else { 0 };
        let (mut pay_jump, mut pay_next) = (live_jump.map_or(0, pay), live_next.map_or(0, pay));
        if pay_jump == pay_next && !check && live_jump.is_some() && live_next.is_some() {
            self.charge(pay_jump);
            (pay_jump, pay_next) = (0, 0);
        }
        let then = live_jump.map(|to| (to, pay_jump, check));
        let other = live_next.map(|to| (to, pay_next, false));
        match (then, other) {
            (Some(then), Some(other)) => {
                let (then, other) = (self.way(block, then), self.way(block, other));
                self.finish(Term::Branch { cond, width, a, b, then, other });
            }
            (Some(way), None) | (None, Some(way)) => {
                let only = self.way(block, way);
                self.finish(Term::Jump(only));
            }
            (None, None) => {}
        }
    }

    /// An edge to a block of `flow`, through a block that pays if something is to be paid.
    pub(super) fn way(&mut self, from: usize, (to, pay, check): (usize, i32, bool)) -> Edge {
        let to = self.block_of(to);
        if !self.source.metered || (pay == 0 && !check) {
            return edge(to);
        }
        let between = self.new_block(from);
        let back = std::mem::replace(&mut self.block, between.index());
        if check {
            self.add(Op::ChargeAndCheck(pay));
        } else {
            self.charge(pay);
        }
        self.finish(Term::Jump(edge(to)));
        self.block = back;
        edge(between)
    }
}
