//! Helpers that call functions of the program: from generated code to a helper and back into
//! generated code.
//!
//! A function that is called back leaves by itself or by a trap. A trap ends its part of the
//! native stack only: the helper returns, and the code that called it traps in turn. What the run
//! reports is the first of these traps.

use std::panic::{self, AssertUnwindSafe};

use skep_jit::abi::{Callback, EXITED, FRAME_BYTES, RunState};

use super::runtime::{run_of, site_of};
use super::tier_index;
use crate::helpers::{self, Caller, Passed};
use crate::linked::Linked;
use crate::machine::Machine;
use crate::trap::TrapKind;

/// A call of such a helper in generated code.
struct Calling<'a> {
    state: *mut RunState,
    machine: &'a Machine,
    program: &'a Linked,
    cpu: u32,
    args: [u64; 5],
    /// `r10` of the caller.
    frame_top: u64,
    /// Whether a function was left by a trap.
    inside: bool,
}

impl Caller for Calling<'_> {
    fn machine(&self) -> &Machine {
        self.machine
    }

    fn cpu(&self) -> u32 {
        self.cpu
    }

    fn args(&self) -> [u64; 5] {
        self.args
    }

    fn enter(&mut self, function: u64, args: &[Passed]) -> Result<u64, TrapKind> {
        let entry = self.program.function_at(function);
        let entry = entry.ok_or(TrapKind::NotAFunction { value: function })?;
        let functions = self.program.program().functions();
        let index = functions.partition_point(|function| function.entry < entry);
        // SAFETY: nobody else uses the state or the owner while generated code waits.
        let (state, owner) = unsafe { run_of(self.state) };
        owner.refuel(state)?;
        if self.frame_top == state.lowest_frame {
            return Err(TrapKind::CallDepth { limit: owner.cpu.frame_limit() });
        }
        // The code that asks is the metered one: what callbacks drive is not bounded.
        let code = self.program.native().code[tier_index(owner.tier)][1].get();
        let code = code.and_then(|code| code.as_ref().ok());
        let entry = code.and_then(|code| code.executable.entry(index));
        let (Some(code), Some(entry)) = (code, entry) else {
            return Err(TrapKind::Unsupported { what: "a function without machine code" });
        };
        let mut values = [0; 5];
        for (value, passed) in values.iter_mut().zip(args) {
            *value = match *passed {
                Passed::Argument(index) => self.args.get(index).copied().unwrap_or(0),
                Passed::Number(value) => value,
                Passed::Object(addr) => addr.into(),
            };
        }
        let frame_top = self.frame_top - u64::from(FRAME_BYTES);
        state.callback = Callback { entry, frame_top, args: values };
        // SAFETY: as for the run that this is part of, which entered code of the same program or
        // of one that leads there by tail calls.
        let how = unsafe { code.executable.call_back(self.state) };
        // SAFETY: as above; what ran meanwhile is over.
        let (state, owner) = unsafe { run_of(self.state) };
        if how == Some(EXITED) {
            return Ok(state.r0);
        }
        self.inside = true;
        owner.first_trap.get_or_insert(state.trap);
        Err(TrapKind::Stopped)
    }
}

/// Calls a helper that calls functions of the program.
pub(super) unsafe extern "C" fn call_back(
    r1: u64,
    r2: u64,
    r3: u64,
    r4: u64,
    r5: u64,
    state_at: *mut RunState,
) -> u64 {
    // SAFETY: called by generated code.
    let (state, owner) = unsafe { run_of(state_at) };
    // SAFETY: as above.
    let (site, program) = unsafe { site_of(state.site) };
    let Some((helper, _)) = &site.helper else { return 0 };
    let mut calling = Calling {
        state: state_at,
        machine: owner.machine,
        program,
        cpu: owner.cpu.index,
        args: [r1, r2, r3, r4, r5],
        frame_top: state.callback.frame_top,
        inside: false,
    };
    let result =
        panic::catch_unwind(AssertUnwindSafe(|| helpers::call_back(*helper, &mut calling)));
    let inside = calling.inside;
    // SAFETY: as above; what was called is over.
    let (state, owner) = unsafe { run_of(state_at) };
    match result {
        Ok(Ok(value)) => value,
        Ok(Err(_)) if inside => {
            state.trapped = 1;
            0
        }
        Ok(Err(kind)) => owner.stop(state, kind),
        Err(payload) => {
            owner.panic = Some(payload);
            owner.stop(state, TrapKind::Stopped)
        }
    }
}
