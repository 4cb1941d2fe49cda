//! Steps and the cursor that walks them: the interpreter's only unsafe code.
//!
//! A cursor points at a step of a program that outlives the run. It moves by one, which stays in
//! the program because no function runs off its end, or by a distance that binding computed from
//! a target that `Program::new` found to be an instruction.

#![allow(unsafe_code, reason = "the cursor is a pointer: an index would need the base beside it")]

use skep_bpf::insn::Reg;

use super::{Run, Stop};
use crate::memory::View;

/// What executes a step and goes on with the next.
pub(super) type Handler = fn(Cursor, &mut Run<'_>, View, i64) -> Stop;

/// An instruction with its handler.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    pub(super) run: Handler,
    /// The immediate as the operation takes it, or an index into a table.
    pub(super) imm: u64,
    /// The distance of a jump, from the step after this one to the target.
    pub(super) jump: i32,
    /// The index of a jump's target; of other instructions, of the next.
    pub(super) target: u32,
    /// The offset of a memory operand.
    pub(super) offset: i16,
    pub(super) dst: Reg,
    pub(super) src: Reg,
}

/// A position in the steps of a program.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor(*const Step);

// SAFETY: a cursor leads to immutable steps.
unsafe impl Send for Cursor {}

impl Cursor {
    /// The first of a program's steps, of which there is at least one. The cursor must not be
    /// used after them.
    pub(super) fn start(steps: &[Step]) -> Cursor {
        Cursor(steps.as_ptr())
    }

    /// The step.
    #[inline(always)]
    pub(super) fn step<'a>(self) -> &'a Step {
        // SAFETY: cursors stay within their program's steps (the file's first comment), and the
        // run that moves them keeps those alive; no step is reached after it.
        unsafe { &*self.0 }
    }

    /// The next step.
    #[inline(always)]
    pub(super) fn next(self) -> Cursor {
        Cursor(self.0.wrapping_add(1))
    }

    /// The step that this one jumps to.
    #[inline(always)]
    pub(super) fn target(self) -> Cursor {
        Cursor(self.0.wrapping_offset(self.step().jump as isize + 1))
    }

    /// The position as an index.
    pub(super) fn index(self, steps: &[Step]) -> usize {
        (self.0.addr() - steps.as_ptr().addr()) / size_of::<Step>()
    }

    /// Goes on at this step: where calls in tail position are jumps, by jumping there, else by
    /// returning to the loop.
    #[inline(always)]
    pub(super) fn go(self, run: &mut Run<'_>, view: View, fuel: i64) -> Stop {
        if cfg!(threaded) {
            (self.step().run)(self, run, view, fuel)
        } else {
            run.at = self;
            run.fuel = fuel;
            Stop::Next
        }
    }

    /// Enters the chain of handlers at this step.
    #[inline]
    pub(super) fn go_from_loop(self, run: &mut Run<'_>, view: View, fuel: i64) -> Stop {
        (self.step().run)(self, run, view, fuel)
    }
}
