//! Calls and returns: frames, helpers, tail calls.

use std::sync::Arc;

use skep_bpf::insn::Reg;
use skep_bpf::op::Size;
use skep_bpf::platform::HelperId;

use super::step::Cursor;
use super::{Frame, Run, Stop, program};
use crate::cpu::FRAME_BYTES;
use crate::helpers::{self, Call, Caller, Implementation, Passed};
use crate::machine::Machine;
use crate::memory::View;
use crate::run::MAY_GOTO_LIMIT;
use crate::trap::TrapKind;

/// The registers that a callee preserves, and the frame pointer.
const SAVED: [Reg; 5] = [Reg::R6, Reg::R7, Reg::R8, Reg::R9, Reg::R10];
/// The registers that a call leaves undefined, which is 0 here.
const ARGUMENTS: [Reg; 5] = [Reg::R1, Reg::R2, Reg::R3, Reg::R4, Reg::R5];
/// The registers that are undefined at the entry of a function, which is 0 here.
const UNDEFINED_AT_ENTRY: [Reg; 5] = [Reg::R0, Reg::R6, Reg::R7, Reg::R8, Reg::R9];

impl Run<'_> {
    /// Enters a frame below the current one. The caller checked that there is room.
    #[inline(always)]
    pub(super) fn push_frame(&mut self, call: Cursor) {
        let return_index = i64::from(call.step().target) - i64::from(call.step().jump);
        self.push_frame_returning(call.next(), return_index);
    }

    #[inline(always)]
    fn push_frame_returning(&mut self, return_to: Cursor, return_index: i64) {
        let saved = SAVED.map(|reg| self.get(reg));
        let program = self.program;
        let may_goto = self.may_goto;
        self.callers.push(Frame { return_to, return_index, program, saved, may_goto });
        self.may_goto = MAY_GOTO_LIMIT;
        self.set(Reg::R10, self.get(Reg::R10).wrapping_sub(FRAME_BYTES.into()));
        for reg in UNDEFINED_AT_ENTRY {
            self.set(reg, 0);
        }
    }

    /// Leaves the innermost frame; None if it is that of the function that the run, or a helper
    /// that calls back, started with.
    #[inline(always)]
    pub(super) fn pop_frame(&mut self) -> Option<Frame> {
        if self.callers.len() == self.base {
            return None;
        }
        let frame = self.callers.pop()?;
        for (reg, value) in SAVED.into_iter().zip(frame.saved) {
            self.set(reg, value);
        }
        for reg in ARGUMENTS {
            self.set(reg, 0);
        }
        self.may_goto = frame.may_goto;
        self.program = frame.program;
        Some(frame)
    }

    /// Calls the helper of a step. False means that the trap is set.
    #[inline(never)]
    pub(super) fn invoke(&mut self, at: Cursor) -> bool {
        let linked = program(self.first, &self.entered, self.program);
        let Some((id, implementation)) = linked.steps().helpers.get(at.step().imm as usize) else {
            return false;
        };
        let args = ARGUMENTS.map(|reg| self.registers[reg.index()]);
        let mut call =
            Call { machine: self.machine, cpu: &mut *self.cpu, program: linked, helper: *id, args };
        let result = implementation.call(&mut call);
        self.returned(result)
    }

    fn returned(&mut self, result: Result<u64, TrapKind>) -> bool {
        match result {
            Ok(value) => {
                self.set(Reg::R0, value);
                for reg in ARGUMENTS {
                    self.set(reg, 0);
                }
                true
            }
            Err(kind) => {
                self.trap = Some(kind);
                false
            }
        }
    }

    /// Resolves a tail call: where to go on if it succeeds, `Some(None)` if it fails and the
    /// program goes on, `None` if the trap is set.
    #[inline(never)]
    pub(super) fn enter_tail_call(&mut self, _at: Cursor) -> Option<Option<Cursor>> {
        let args = ARGUMENTS.map(|reg| self.get(reg));
        let linked = Arc::clone(program(self.first, &self.entered, self.program));
        let mut call = Call {
            machine: self.machine,
            cpu: &mut *self.cpu,
            program: &linked,
            helper: helpers::TAIL_CALL,
            args,
        };
        match helpers::tail_call(&mut call) {
            Ok(Ok(next)) => {
                let first = next.steps().start();
                self.entered.push(next);
                self.program = self.entered.len();
                self.most_callers = self.cpu.frame_limit() - 1;
                for reg in UNDEFINED_AT_ENTRY.into_iter().chain(ARGUMENTS) {
                    self.set(reg, 0);
                }
                self.set(Reg::R1, args[0]);
                self.may_goto = MAY_GOTO_LIMIT;
                Some(Some(first))
            }
            Ok(Err(errno)) => {
                self.returned(Ok(errno));
                Some(None)
            }
            Err(kind) => {
                self.returned(Err(kind));
                None
            }
        }
    }

    /// Calls what a register names: a function of the program by its reference, else a helper by
    /// its number.
    #[inline(never)]
    pub(super) fn call_through_register(&mut self, at: Cursor, view: View, fuel: i64) -> Stop {
        let value = self.get(at.step().dst);
        let linked = Arc::clone(program(self.first, &self.entered, self.program));
        if let Some(entry) = linked.function_at(value) {
            let return_index = linked.steps().pc(at).index() as i64 + 1;
            let left = fuel - return_index + entry.index() as i64;
            if left < entry.index() as i64 {
                return self.out_of_fuel(at, fuel);
            }
            if self.callers.len() == self.most_callers {
                return self.too_deep(at, fuel);
            }
            self.push_frame_returning(at.next(), return_index);
            return linked.steps().at(entry).go(self, view, left);
        }
        let id = HelperId(value as u32);
        let known = u64::from(id.0) == value;
        let Some(helper) = self.machine.helper(id).filter(|_| known) else {
            return self.stop(at, fuel, TrapKind::NotAFunction { value });
        };
        if self.invoke_helper(&linked, id, &helper) {
            at.next().go(self, view, fuel)
        } else {
            self.stopped(at, fuel)
        }
    }

    fn invoke_helper(
        &mut self,
        linked: &crate::linked::Linked,
        helper: HelperId,
        implementation: &Implementation,
    ) -> bool {
        let args = ARGUMENTS.map(|reg| self.get(reg));
        let cpu = &mut *self.cpu;
        let mut call = Call { machine: self.machine, cpu, program: linked, helper, args };
        let result = implementation.call(&mut call);
        self.returned(result)
    }

    /// Calls a helper that calls functions back.
    #[inline(never)]
    pub(super) fn call_back(&mut self, at: Cursor, view: View, fuel: i64) -> Stop {
        let helper = HelperId(at.step().imm as u32);
        let mut calling = Calling { run: self, at, view, fuel, inside: false };
        let result = helpers::call_back(helper, &mut calling);
        let Calling { fuel, inside, .. } = calling;
        match result {
            Err(kind) if inside => {
                self.trap = Some(kind);
                Stop::Trap
            }
            result => {
                if self.returned(result) {
                    at.next().go(self, view, fuel)
                } else {
                    self.stopped(at, fuel)
                }
            }
        }
    }

    /// A deprecated packet load: the value, `Some(None)` outside the packet, `None` without one.
    #[inline(never)]
    pub(super) fn packet_value(&self, offset: i32, size: Size) -> Option<Option<u64>> {
        self.cpu.input.load_packet(self.machine.memory(), offset, size)
    }
}

/// A run that stands at a call of a helper that calls functions back.
struct Calling<'r, 'a> {
    run: &'r mut Run<'a>,
    at: Cursor,
    view: View,
    fuel: i64,
    /// Whether a function was left by a trap: the run's cursor is there.
    inside: bool,
}

impl Caller for Calling<'_, '_> {
    fn machine(&self) -> &Machine {
        self.run.machine
    }

    fn cpu(&self) -> u32 {
        self.run.cpu.index
    }

    fn args(&self) -> [u64; 5] {
        ARGUMENTS.map(|reg| self.run.get(reg))
    }

    fn enter(&mut self, function: u64, args: &[Passed]) -> Result<u64, TrapKind> {
        let own = self.args();
        let run = &mut *self.run;
        let linked = Arc::clone(program(run.first, &run.entered, run.program));
        let entry = linked.function_at(function);
        let entry = entry.ok_or(TrapKind::NotAFunction { value: function })?;
        let return_index = linked.steps().pc(self.at).index() as i64 + 1;
        // As for any call: fuel counts by position, and calls ask for it.
        (run.at, run.fuel) = (self.at, self.fuel - return_index + entry.index() as i64);
        self.inside = true;
        while run.fuel < entry.index() as i64 {
            run.refuel()?;
        }
        if run.callers.len() == run.most_callers {
            return Err(TrapKind::CallDepth { limit: run.cpu.frame_limit() });
        }
        run.push_frame_returning(self.at.next(), return_index);
        for reg in ARGUMENTS {
            run.set(reg, 0);
        }
        for (reg, passed) in ARGUMENTS.into_iter().zip(args) {
            let value = match *passed {
                Passed::Argument(index) => own.get(index).copied().unwrap_or(0),
                Passed::Number(value) => value,
                Passed::Object(addr) => addr.into(),
            };
            run.set(reg, value);
        }
        run.at = linked.steps().at(entry);
        let base = core::mem::replace(&mut run.base, run.callers.len());
        run.drive(self.view)?;
        run.base = base;
        self.inside = false;
        let result = run.get(Reg::R0);
        // The callee left its frame to this one.
        let Some(frame) = run.pop_frame() else { return Err(TrapKind::Stopped) };
        self.fuel = run.fuel.wrapping_add(frame.return_index);
        for (reg, value) in ARGUMENTS.into_iter().zip(own) {
            run.set(reg, value);
        }
        Ok(result)
    }
}
