//! Calls and returns, and what the arguments of helpers must lead to.

use std::sync::Arc;

use skep_bpf::insn::{Callee, Reg};
use skep_bpf::platform::helper::MemoryUse;
use skep_bpf::platform::{ArgKind, HelperId, HelperRow, ReturnKind};
use skep_bpf::program::Pc;

use super::value::Value;
use super::{Checked, Flow, Frame};
use crate::helpers::{self, Call, Caller, Passed};
use crate::machine::Machine;
use crate::memory::Access;
use crate::run::MAY_GOTO_LIMIT;
use crate::trap::TrapKind;

const ARGUMENTS: [Reg; 5] = [Reg::R1, Reg::R2, Reg::R3, Reg::R4, Reg::R5];
const SAVED: [Reg; 5] = [Reg::R6, Reg::R7, Reg::R8, Reg::R9, Reg::R10];
const UNDEFINED_AT_ENTRY: [Reg; 5] = [Reg::R0, Reg::R6, Reg::R7, Reg::R8, Reg::R9];

impl Caller for Checked<'_> {
    fn machine(&self) -> &Machine {
        self.machine
    }

    fn cpu(&self) -> u32 {
        self.cpu.index
    }

    fn args(&self) -> [u64; 5] {
        ARGUMENTS.map(|reg| self.get(reg).bits)
    }

    /// A trap leaves the position where it happened; else all is as it was before.
    fn enter(&mut self, function: u64, args: &[Passed]) -> Result<u64, TrapKind> {
        let target = self.program.function_at(function);
        let target = target.ok_or(TrapKind::NotAFunction { value: function })?;
        let call = self.pc;
        let own = ARGUMENTS.map(|reg| self.get(reg).clone());
        let values = args.iter().map(|passed| match *passed {
            Passed::Argument(index) => own.get(index).cloned().unwrap_or_default(),
            Passed::Number(bits) => Value::number(bits),
            Passed::Object(addr) => self.pointer(addr.into()),
        });
        let values: Vec<Value> = values.collect();
        let depth = self.callers.len();
        self.call_function(target)?;
        self.clear(&ARGUMENTS);
        for (reg, value) in ARGUMENTS.into_iter().zip(values) {
            self.set(reg, value);
        }
        while self.callers.len() > depth {
            self.advance()?;
        }
        let result = self.get(Reg::R0).bits;
        for (reg, value) in ARGUMENTS.into_iter().zip(own) {
            self.set(reg, value);
        }
        self.pc = call;
        Ok(result)
    }
}

impl Checked<'_> {
    pub(super) fn call(&mut self, callee: Callee<Pc>) -> Result<Flow, TrapKind> {
        match callee {
            Callee::Local(target) => self.call_function(target),
            Callee::Helper(helpers::TAIL_CALL) => self.tail_call(),
            Callee::Helper(id) => self.call_helper(id),
            Callee::Kfunc { .. } => {
                Err(TrapKind::Unsupported { what: "a call of a kernel function" })
            }
            Callee::Reg(reg) => {
                let value = self.get(reg).bits;
                match (self.program.function_at(value), u32::try_from(value)) {
                    (Some(target), _) => self.call_function(target),
                    (None, Ok(id)) if self.machine.helper(HelperId(id)).is_some() => {
                        self.call_helper(HelperId(id))
                    }
                    _ => Err(TrapKind::NotAFunction { value }),
                }
            }
        }
    }

    fn call_function(&mut self, target: Pc) -> Result<Flow, TrapKind> {
        // Calls can repeat by recursion, so they ask for fuel in both directions.
        self.ask()?;
        let limit = self.cpu.frame_limit();
        if self.callers.len() + 1 == limit {
            return Err(TrapKind::CallDepth { limit });
        }
        let saved = SAVED.map(|reg| self.get(reg).clone());
        let return_to = Pc::from_index(self.pc.index() + 1);
        let program = Arc::clone(&self.program);
        let (may_goto, serial) = (self.may_goto, self.serial);
        self.callers.push(Frame { return_to, program, saved, may_goto, serial });
        self.may_goto = MAY_GOTO_LIMIT;
        self.serials += 1;
        self.serial = self.serials;
        self.set(Reg::R10, self.frame_pointer());
        self.clear(&UNDEFINED_AT_ENTRY);
        self.pc = target;
        Ok(Flow::Continue)
    }

    /// Returns to the caller or ends the run.
    pub(super) fn leave(&mut self) -> Flow {
        let Some(frame) = self.callers.pop() else { return Flow::Exit };
        for (reg, value) in SAVED.into_iter().zip(frame.saved) {
            self.set(reg, value);
        }
        self.clear(&ARGUMENTS);
        self.may_goto = frame.may_goto;
        self.serial = frame.serial;
        self.program = frame.program;
        self.pc = frame.return_to;
        Flow::Continue
    }

    fn clear(&mut self, registers: &[Reg]) {
        for reg in registers {
            self.set(*reg, Value::default());
        }
    }

    fn call_helper(&mut self, id: HelperId) -> Result<Flow, TrapKind> {
        if helpers::calls_back(id) && self.machine.helper(id).is_none() {
            if let Some(row) = id.row() {
                self.check_arguments(row)?;
            }
            let result = helpers::call_back(id, self)?;
            self.returned(Value::number(result));
            return Ok(Flow::Continue);
        }
        let implementation = self.machine.helper(id).ok_or(TrapKind::NoSuchHelper(id))?;
        let row = id.row();
        if let Some(row) = row {
            self.check_arguments(row)?;
        }
        let program = Arc::clone(&self.program);
        let (size, slice_size) = (self.get(Reg::R2).bits, self.get(Reg::R3).bits);
        let result = implementation.call(&mut self.start_call(&program, id))?;
        let r0 = match row.map(|row| row.returns) {
            None | Some(ReturnKind::Integer | ReturnKind::Void) => Value::number(result),
            Some(ReturnKind::RingbufRecordOrNull) => self.part(result, size),
            Some(ReturnKind::DynptrSliceOrNull) => self.part(result, slice_size),
            Some(_) => self.pointer(result),
        };
        self.returned(r0);
        Ok(Flow::Continue)
    }

    fn start_call<'b>(
        &'b mut self,
        program: &'b crate::linked::Linked,
        helper: HelperId,
    ) -> Call<'b> {
        let args = ARGUMENTS.map(|reg| self.get(reg).bits);
        Call { machine: self.machine, cpu: &mut *self.cpu, program, helper, args }
    }

    fn returned(&mut self, r0: Value) {
        self.clear(&ARGUMENTS);
        self.set(Reg::R0, r0);
        self.pc = Pc::from_index(self.pc.index() + 1);
    }

    fn tail_call(&mut self) -> Result<Flow, TrapKind> {
        self.ask()?;
        let program = Arc::clone(&self.program);
        let context = self.get(Reg::R1).clone();
        match helpers::tail_call(&mut self.start_call(&program, helpers::TAIL_CALL))? {
            Ok(next) => {
                self.program = next;
                self.clear(&UNDEFINED_AT_ENTRY);
                self.clear(&ARGUMENTS);
                self.set(Reg::R1, context);
                self.may_goto = MAY_GOTO_LIMIT;
                self.pc = Pc::START;
            }
            Err(r0) => self.returned(Value::number(r0)),
        }
        Ok(Flow::Continue)
    }

    /// Checks the memory that a helper's arguments lead to, as its signature says it uses it.
    fn check_arguments(&self, row: &HelperRow) -> Result<(), TrapKind> {
        let mut map = None;
        for (index, _) in row.params.iter().enumerate().take(ARGUMENTS.len()) {
            let Some(kind) = row.arg_kind(index, self.program.prog_type()) else { continue };
            let value = self.get(ARGUMENTS[index]);
            let (len, uses, or_null) = match kind {
                ArgKind::ConstMap => {
                    let (helper, arg, value) = (row.id, index + 1, value.bits);
                    let found = self.machine.map_at(value);
                    map = Some(found.ok_or(TrapKind::NotAMap { helper, arg, value })?.1.spec());
                    continue;
                }
                ArgKind::MapKey => (map.map_or(0, |spec| spec.key_bytes), MemoryUse::Read, false),
                ArgKind::MapValue { uses, or_null } => {
                    (map.map_or(0, |spec| spec.value_bytes), uses, or_null)
                }
                ArgKind::FixedMemory { uses, size } => (size, uses, false),
                ArgKind::Memory { uses, or_null } => {
                    let size = ARGUMENTS.get(index + 1).map_or(0, |reg| self.get(*reg).bits);
                    (u32::try_from(size).unwrap_or(u32::MAX), uses, or_null)
                }
                _ => continue,
            };
            if len == 0 || (or_null && value.bits == 0) {
                continue;
            }
            let access = match uses {
                MemoryUse::Read => Access::Read,
                MemoryUse::ReadWrite | MemoryUse::Write => Access::Write,
            };
            self.check_at(value.origin.as_ref(), value.bits as u32, len, access)?;
        }
        Ok(())
    }
}
