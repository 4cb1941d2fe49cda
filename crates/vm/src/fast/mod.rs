//! The fast interpreter: one handler per instruction, each jumping to the next.
//!
//! Binding turns every instruction into a [`Step`]: the handler, specialised for operation, width
//! and operand kinds from the one statement in `skep_bpf::eval`, beside its operands. Steps and
//! instructions correspond one to one, so a position is an instruction's. Memory has window semantics:
//! addresses are taken modulo 2^32, and a page that is not mapped is a trap.
//!
//! Fuel is counted by position: a taken jump adds its distance, so that instructions executed are
//! always fuel given, less fuel left, plus position. Straight-line code pays nothing. Whether the
//! fuel is used up is asked at backward jumps and calls.

mod bind;
mod calls;
mod handlers;
mod step;

use std::sync::Arc;

use skep_bpf::insn::Reg;
use skep_bpf::platform::HelperId;

use self::step::{Cursor, Step};
use crate::cpu::CpuState;
use crate::helpers::Implementation;
use crate::linked::Linked;
use crate::machine::Machine;
use crate::memory::View;
use crate::run::{Finished, SLICE, Start};
use crate::trap::{Trap, TrapKind};

/// A program in the form that the fast interpreter runs.
#[derive(Debug)]
pub(crate) struct Steps {
    steps: Box<[Step]>,
    helpers: Vec<(HelperId, Arc<Implementation>)>,
}

/// Why a chain of handlers ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Stop {
    /// The main function returned.
    Exit,
    /// The fuel of this slice is used up; the cursor is where to go on.
    Fuel,
    /// Something went wrong; `Run::trap` says what and the cursor where.
    Trap,
    /// Go on at the cursor (only where handlers are not threaded).
    Next,
}

/// A caller's frame.
#[derive(Clone, Copy, Debug)]
struct Frame {
    return_to: Cursor,
    return_index: i64,
    program: usize,
    saved: [u64; 5],
    may_goto: u32,
}

/// What a run keeps beside the registers of the machine that executes it.
pub(crate) struct Run<'a> {
    registers: [u64; 11],
    at: Cursor,
    fuel: i64,
    callers: Vec<Frame>,
    /// How many callers there may be now.
    most_callers: usize,
    may_goto: u32,
    /// How many callers there are where an exit ends the run, or the function that was called back.
    base: usize,
    /// The fuel that was taken from what there is.
    given: u64,
    limit: u64,
    trap: Option<TrapKind>,
    /// The program that runs: 0 for the first, else one more than an index into `entered`.
    program: usize,
    /// The programs that the run has entered by tail calls, kept while frames lead to them.
    entered: Vec<Arc<Linked>>,
    /// The program that the run started in, which most never leave.
    first: &'a Arc<Linked>,
    machine: &'a Machine,
    cpu: &'a mut CpuState,
}

/// The program that `Run::program` means. (No method, since callers borrow other fields as well.)
#[inline(always)]
fn program<'a>(
    first: &'a Arc<Linked>,
    entered: &'a [Arc<Linked>],
    index: usize,
) -> &'a Arc<Linked> {
    index.checked_sub(1).map_or(first, |index| &entered[index])
}

/// Runs a program from its start to its exit or a trap.
pub(crate) fn run(
    linked: &Arc<Linked>,
    machine: &Machine,
    cpu: &mut CpuState,
    start: Start,
) -> Result<Finished, Box<Trap>> {
    let at = linked.steps().start();
    let mut registers = [0; 11];
    registers[Reg::R1.index()] = start.args[0];
    registers[Reg::R2.index()] = start.args[1];
    registers[Reg::R10.index()] = cpu.frame_top().into();
    let view = machine.memory().window().view();
    let mut run = Run {
        registers,
        at,
        fuel: 0,
        callers: Vec::new(),
        most_callers: cpu.frame_limit() - 1,
        may_goto: crate::run::MAY_GOTO_LIMIT,
        base: 0,
        given: 0,
        limit: start.budget.fuel,
        trap: None,
        program: 0,
        entered: Vec::new(),
        first: linked,
        machine,
        cpu,
    };
    match run.drive(view) {
        Ok(()) => {
            // The exit handler left the position after it in the cursor's place.
            let insns = (run.given as i64).wrapping_sub(run.fuel) as u64;
            Ok(Finished { r0: run.registers[0], insns: Some(insns) })
        }
        Err(kind) => Err(run.trapped(kind)),
    }
}

impl Run<'_> {
    /// Goes on at the cursor up to an exit at the base.
    fn drive(&mut self, view: View) -> Result<(), TrapKind> {
        loop {
            match self.at.go_from_loop(self, view, self.fuel) {
                Stop::Next => {}
                Stop::Fuel => self.refuel()?,
                Stop::Exit => return Ok(()),
                Stop::Trap => return Err(self.trap.take().unwrap_or(TrapKind::Stopped)),
            }
        }
    }

    /// Takes another slice of the fuel, unless there is none or the run was stopped.
    fn refuel(&mut self) -> Result<(), TrapKind> {
        if self.cpu.take_stop() {
            return Err(TrapKind::Stopped);
        }
        if self.given == self.limit {
            return Err(TrapKind::OutOfFuel { fuel: self.limit });
        }
        let slice = SLICE.min(self.limit - self.given);
        self.given += slice;
        self.fuel += slice as i64;
        Ok(())
    }

    fn trapped(&self, kind: TrapKind) -> Box<Trap> {
        let linked = program(self.first, &self.entered, self.program);
        linked.trap(linked.steps().pc(self.at), kind)
    }

    #[inline(always)]
    fn get(&self, reg: Reg) -> u64 {
        self.registers[reg.index()]
    }

    #[inline(always)]
    fn set(&mut self, reg: Reg, value: u64) {
        self.registers[reg.index()] = value;
    }
}
