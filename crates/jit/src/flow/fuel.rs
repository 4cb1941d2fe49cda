//! Where fuel is paid: exactly at backward jumps, calls and exits, and as seldom as possible
//! elsewhere.
//!
//! The fuel in its register may lag behind: at each point the *debt* says how many instructions
//! were executed but not yet paid. Within a block it grows by one for each; at the start of a
//! block it is a number that all ways into it agree on, which is why some jumps pay a difference.
//! Blocks that loops return to start without debt, so a loop pays once per round, in the same
//! operation that sets the sign that the jump tests. Where only the sign decides, other amounts
//! may be paid before or later, or paid back.

use skep_bpf::insn::{Callee, Insn};
use skep_bpf::program::Pc;

use super::Flow;
use super::effects::Kind;
use crate::source::CALLING_BACK;

/// How a block's instructions are paid for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Payment {
    /// The debt at the start: instructions executed that the fuel register does not know of.
    pub debt: u32,
    /// What is paid before the last instruction's jump, taken or not (`may_goto`: only on the way
    /// of the jump). Negative amounts are paid back. For a block that ends without a jump, what
    /// is paid at its end. For `exit`, the whole debt.
    pub pay: i32,
    /// Whether the fuel must not be negative after that if the jump is taken: it leads backward.
    pub check: bool,
    /// What is paid besides on the way to the next block.
    pub pay_next: i32,
}

/// Whether an instruction pays the debt up to and including itself, so that it is 0 after it:
/// calls of functions. (A call through a register pays without asking if it turns out to call a
/// helper, as does the call of a helper that may call functions.) The last instruction of a block
/// pays as [`Payment`] says instead.
#[must_use]
pub fn pays(insn: &Insn<Pc>) -> bool {
    match insn {
        Insn::Call { callee: Callee::Local(_) | Callee::Reg(_) } => true,
        Insn::Call { callee: Callee::Helper(id) } => CALLING_BACK.contains(id),
        _ => false,
    }
}

/// Not decided yet.
const OPEN: u32 = u32::MAX;

pub(super) fn plan(flow: &mut Flow) {
    for block in &mut flow.blocks {
        block.fuel.debt = if block.is_loop_head { 0 } else { OPEN };
    }
    for function in &flow.functions {
        flow.blocks[function.blocks.0 as usize].fuel.debt = 0;
    }
    for index in 0..flow.blocks.len() {
        let block = flow.blocks[index];
        // A block that no way leads to is never left either.
        let debt_at_start = if block.fuel.debt == OPEN { 0 } else { block.fuel.debt };
        let before = if block.paid == block.start { debt_at_start } else { 0 };
        let mut debt = before + (block.end - block.paid);
        let last = flow.effects[block.end as usize - 1].kind;
        let (jump, next) = flow.successors(index);
        let mut payment = Payment { debt: debt_at_start, ..Payment::default() };
        if last.has(Kind::EXIT) {
            payment.pay = debt as i32;
        }
        if let Some(jump) = jump {
            payment.check = flow.blocks[jump].start < block.end;
            let agreed = agree(&mut flow.blocks[jump].fuel.debt, debt);
            payment.pay = debt as i32 - agreed as i32;
            if !last.has(Kind::MAY_GOTO) {
                debt = agreed;
            }
        }
        if let Some(next) = next {
            let agreed = agree(&mut flow.blocks[next].fuel.debt, debt);
            payment.pay_next = debt as i32 - agreed as i32;
            if jump.is_none() {
                (payment.pay, payment.pay_next) = (payment.pay_next, 0);
            }
        }
        flow.blocks[index].fuel = payment;
    }
}

/// The debt at the start of a block that is reached with a debt.
fn agree(at_start: &mut u32, debt: u32) -> u32 {
    if *at_start == OPEN {
        *at_start = debt;
    }
    *at_start
}
