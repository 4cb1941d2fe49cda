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
pub(crate) mod iterator;
pub(crate) mod kfunc_call;
pub(crate) mod kptr;
pub(crate) mod memory;
pub(crate) mod object;
pub(crate) mod packet_load;
pub(crate) mod pointer_arith;
pub(crate) mod pointer_compare;
pub(crate) mod region;
pub(crate) mod stack_access;
pub(crate) mod stack_depth;
pub(crate) mod target;
pub(crate) mod timer;
pub(crate) mod typed_call;

use crate::explore::Walk;
use crate::rejection::{Check, Rule, fault};
use crate::state::value::Value;
use skep_bpf::insn::Reg;

impl Walk<'_> {
    /// A register that is read.
    pub(crate) fn read(&self, reg: Reg) -> Check<Value> {
        let value = self.state.reg(reg);
        if matches!(value.kind, crate::state::value::Kind::Invalid) {
            return fault(Rule::Uninitialised, format!("R{} !read_ok", reg.index()));
        }
        Ok(value)
    }

    /// A register that will be written.
    pub(crate) fn check_writable(&self, reg: Reg) -> Check {
        if reg == Reg::R10 {
            return fault(Rule::FramePointer, "frame pointer is read only");
        }
        Ok(())
    }

    /// Writes a register.
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
}
