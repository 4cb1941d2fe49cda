//! Calls of the program's own functions: a new frame, walked anew at every call.

use crate::explore::{Step, Walk};
use crate::rejection::{Check, Rule, fault};
use crate::state::MAX_FRAMES;
use crate::state::frame::{Entered, Frame};
use crate::state::value::{Kind, Value};
use skep_bpf::insn::Reg;

/// The registers that hold arguments.
pub(crate) const ARGUMENTS: [Reg; 5] = [Reg::R1, Reg::R2, Reg::R3, Reg::R4, Reg::R5];

impl Walk<'_> {
    /// A call of the function at a slot.
    pub(crate) fn local_call(&mut self, entry: usize) -> Check<Step> {
        let Some(function) = self.code.function_at(entry) else {
            return fault(Rule::Structure, "call to invalid destination");
        };
        if self.code.functions[function].global {
            return self.global_call(function);
        }
        let mut frame = self.new_frame(function)?;
        for reg in ARGUMENTS {
            frame.set(reg, self.state.reg(reg));
        }
        self.clobber_caller_saved();
        self.state.frames.push(frame.into());
        Ok(Step::Jump(entry))
    }

    /// The frame of a function that is entered from here, now or by a helper.
    pub(crate) fn new_frame(&mut self, function: usize) -> Check<Frame> {
        let index = self.state.frames.len();
        if index >= MAX_FRAMES {
            return fault(
                Rule::CallDepth,
                format!("the call stack of {} frames is too deep", index + 1),
            );
        }
        let outer = self.state.top().instance;
        let instance = self.liveness.enter(&self.code, outer, self.at, function);
        Ok(Frame::new(index, self.at, function, instance))
    }

    /// The end of a function: r0 goes to the caller.
    pub(crate) fn return_to_caller(&mut self) -> Check<Step> {
        let result = self.state.reg(Reg::R0);
        if let Kind::Stack { .. } = result.kind {
            return fault(Rule::Stack, "cannot return stack pointer to the caller");
        }
        if self.state.top().entered == Entered::Callback {
            return self.return_from_callback();
        }
        let Some(frame) = self.state.frames.pop() else {
            return fault(Rule::CallDepth, "return from no function");
        };
        self.state.set(Reg::R0, result);
        Ok(Step::Jump(frame.callsite + 1))
    }

    /// A tail call of a function that was called: where it succeeds, the other program returns to
    /// the caller whatever it will, and may have changed the packet; where it fails, this function
    /// goes on. (Linux 6.18.)
    pub(crate) fn return_from_tail_call(&mut self) -> Check<Step> {
        let failed = self.state.clone();
        self.push(failed, self.at + 1, None)?;
        self.forget_packet();
        self.state.set(Reg::R0, Value::UNKNOWN);
        self.return_to_caller()
    }

    /// A call destroys r0 to r5.
    pub(crate) fn clobber_caller_saved(&mut self) {
        for reg in [Reg::R0, Reg::R1, Reg::R2, Reg::R3, Reg::R4, Reg::R5] {
            self.state.set(reg, Value::INVALID);
        }
    }
}
