//! What instructions require, and what they do to a state: one file for each family.

pub(crate) mod allocated;
pub(crate) mod allocated_types;
pub(crate) mod alu;
pub(crate) mod branch;
pub(crate) mod call;
pub(crate) mod callback;
pub(crate) mod context;
pub(crate) mod dynptr;
pub(crate) mod dynptr_call;
pub(crate) mod exit;
pub(crate) mod format;
pub(crate) mod global_call;
pub(crate) mod graph;
pub(crate) mod helper_arg;
pub(crate) mod helper_call;
pub(crate) mod helper_map;
pub(crate) mod interrupts;
pub(crate) mod iterator;
pub(crate) mod kfunc_call;
pub(crate) mod kptr;
pub(crate) mod map_fields;
pub(crate) mod memory;
pub(crate) mod object;
pub(crate) mod packet_load;
pub(crate) mod pointer_arith;
pub(crate) mod pointer_compare;
pub(crate) mod region;
pub(crate) mod sections;
pub(crate) mod stack_access;
pub(crate) mod stack_depth;
pub(crate) mod target;
pub(crate) mod timer;
pub(crate) mod typed_call;
pub(crate) mod typed_result;

use crate::explore::Walk;
use crate::rejection::{Check, Rule, fault};
use crate::state::frame::Place;
use crate::state::value::{Kind, Value};
use skep_bpf::insn::Reg;

impl Walk<'_> {
    /// A register that is read.
    #[inline]
    pub(crate) fn read(&self, reg: Reg) -> Check<Value> {
        self.check_readable(reg)?;
        Ok(self.state.reg(reg))
    }

    /// A register that will be read.
    #[inline]
    pub(crate) fn check_readable(&self, reg: Reg) -> Check {
        match self.state.as_written(reg).kind {
            Kind::Invalid => not_written(reg),
            _ => Ok(()),
        }
    }

    /// A register that will be written.
    #[inline]
    pub(crate) fn check_writable(&self, reg: Reg) -> Check {
        if reg == Reg::R10 {
            return fault(Rule::FramePointer, "frame pointer is read only");
        }
        Ok(())
    }

    /// Writes a register.
    #[inline]
    pub(crate) fn write(&mut self, reg: Reg, value: Value) -> Check {
        self.check_writable(reg)?;
        self.state.set(reg, value);
        Ok(())
    }

    /// A number on which something was decided: all it was computed from matters.
    pub(crate) fn mark_precise(&mut self, value: &Value) {
        if value.is_scalar() {
            self.nodes.mark(value.node);
        }
    }

    /// The same of what is in a register.
    #[inline]
    pub(crate) fn mark_precise_reg(&mut self, reg: Reg) {
        let (frame, value) = (self.state.top(), self.state.as_written(reg));
        if value.is_scalar() {
            self.nodes.mark(frame.node(Place::Reg(reg.index()), value));
        }
    }
}

#[cold]
fn not_written<T>(reg: Reg) -> Check<T> {
    fault(Rule::Uninitialised, format!("R{} !read_ok", reg.index()))
}
