//! `bpf_loop` of a function that is known: a loop that calls it.

use skep_bpf::insn::{HelperId, Reg};
use skep_bpf::op::{Cond, Width};

use super::super::ir::{Bin, BlockId, CallSite, Edge, Op, Target, Term, Un, Val};
use super::{Builder, NOWHERE, edge};
use crate::flow::RegSet;
use crate::source::MAX_LOOPS;

/// What Linux returns for flags that are not 0.
const EINVAL: i64 = 22;
/// What Linux returns for too many turns.
const E2BIG: i64 = 7;

impl Builder<'_> {
    /// Makes a loop of a call, if the helper is `bpf_loop` and its function is known.
    pub(super) fn loops(&mut self, id: HelperId, debt: i32) -> bool {
        if id != HelperId::LOOP {
            return false;
        }
        let function = self.get(Reg::R2);
        let entry = self.func.constant(function).and_then(|value| (self.source.function)(value));
        let Some(callee) = entry.and_then(|entry| self.flow.function_at(entry)) else {
            return false;
        };
        let Some(entry) = entry else { return false };
        let reads = self.flow.functions[callee].live_in & RegSet::ARGUMENTS;
        let [turns, context, flags] = [Reg::R1, Reg::R3, Reg::R4].map(|reg| self.get(reg));
        // Whether the fuel suffices is asked when the function is called.
        if self.source.metered {
            self.charge(debt);
        }
        let turns = self.add(Op::Unary(Un::Zext, Width::W32, turns));
        let [zero, one, most] = [0, 1, MAX_LOOPS.into()].map(|number| self.func.make_const(number));
        let [invalid, too_big] =
            [EINVAL, E2BIG].map(|error| self.func.make_const(error.wrapping_neg() as u64));
        let after = self.new_block(NOWHERE);
        let result = self.func.make(Op::Param, self.pc);
        self.func.blocks[after.index()].params.push(result);
        self.leave_if((Cond::Ne, flags, zero), (after, invalid));
        self.leave_if((Cond::Gt, turns, most), (after, too_big));
        self.leave_if((Cond::Eq, turns, zero), (after, zero));
        let head = self.new_block(NOWHERE);
        let turn = self.func.make(Op::Param, self.pc);
        self.func.blocks[head.index()].params.push(turn);
        self.finish(Term::Jump(bringing(head, zero)));
        self.block = head.index();
        if self.source.metered {
            self.add(Op::ChargeAndCheck(0));
        }
        let passed = |reg| match reg {
            Reg::R1 => turn,
            Reg::R2 => context,
            _ => zero,
        };
        let args = reads.iter().map(passed).collect();
        self.func.calls.push(CallSite { target: Target::Local(entry), regs: reads, args });
        let returned = self.add(Op::Call(self.func.calls.len() as u32 - 1));
        let made = self.add(Op::Binary(Bin::Add, Width::W32, turn, one));
        self.leave_if((Cond::Ne, returned, zero), (after, made));
        let (then, other) = (bringing(head, made), bringing(after, made));
        let (cond, width) = (Cond::Lt, Width::W64);
        self.finish(Term::Branch { cond, width, a: made, b: turns, then, other });
        self.block = after.index();
        self.after_call(result);
        true
    }

    /// Goes to a block with a value if a comparison holds; else the builder goes on.
    fn leave_if(&mut self, (cond, a, b): (Cond, Val, Val), (to, value): (BlockId, Val)) {
        let on = self.new_block(NOWHERE);
        let (then, other) = (bringing(to, value), edge(on));
        self.finish(Term::Branch { cond, width: Width::W64, a, b, then, other });
        self.block = on.index();
    }
}

/// An edge to a block with one parameter.
fn bringing(to: BlockId, value: Val) -> Edge {
    Edge { to, args: vec![value] }
}
