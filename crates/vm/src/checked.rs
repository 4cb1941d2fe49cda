//! The checked interpreter.
use std::sync::Arc;

use crate::cpu::CpuState;
use crate::linked::Linked;
use crate::machine::Machine;
use crate::run::{Finished, Start};
use crate::trap::Trap;

pub(crate) fn run(
    linked: &Arc<Linked>,
    machine: &Machine,
    cpu: &mut CpuState,
    start: Start,
) -> Result<Finished, Trap> {
    crate::fast::run(linked, machine, cpu, start)
}
