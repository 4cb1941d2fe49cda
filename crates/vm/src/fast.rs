//! The fast interpreter.
use skep_bpf::insn::Insn;
use skep_bpf::program::{Pc, Program};

use crate::machine::Machine;

/// A program in the form that the fast interpreter runs.
#[derive(Debug)]
pub(crate) struct Steps;
impl Steps {
    pub(crate) fn bind(_machine: &Machine, _program: &Program, _insns: &[Insn<Pc>]) -> Steps {
        Steps
    }
}
