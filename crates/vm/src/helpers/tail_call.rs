//! `bpf_tail_call`: which program comes next.
//!
//! It is no ordinary helper: where it succeeds it does not return. The engines call this and jump,
//! or go on behind the call.

use std::sync::Arc;

use skep_bpf::platform::{HelperId, MapType};

use super::Call;
use crate::cpu::MAX_TAIL_CALLS;
use crate::errno::Errno;
use crate::linked::Linked;
use crate::trap::TrapKind;

/// The helper that engines run themselves, since it changes which program runs.
pub(crate) const TAIL_CALL: HelperId = HelperId::TAIL_CALL;

/// Resolves a tail call: the program to go on in, or what `r0` holds if there is none because the
/// index (of which the low 32 bits count) is out of range or empty, or because the run has made
/// its 33 tail calls. Counts the call if it takes place.
///
/// In the kernel `r0` then holds nothing that a program could read: the verifier takes the helper
/// for one that returns nothing. Here it is the error that the helper's description promises.
///
/// # Errors
///
/// A trap if the second argument is no map of programs.
pub(crate) fn tail_call(call: &mut Call<'_>) -> Result<Result<Arc<Linked>, u64>, TrapKind> {
    let map = call.map(1)?;
    if map.spec().map_type != MapType::PROG_ARRAY {
        return Err(call.needs("a map of programs"));
    }
    if call.cpu.tail_calls >= MAX_TAIL_CALLS {
        return Ok(Err(Errno::EPERM.to_return()));
    }
    match map.program(call.scalar(2) as u32) {
        Some(program) => {
            let functions = program.program().functions().len() > 1;
            call.cpu.count_tail_call(call.machine.memory().window(), functions)?;
            Ok(Ok(program))
        }
        None => Ok(Err(Errno::ENOENT.to_return())),
    }
}
