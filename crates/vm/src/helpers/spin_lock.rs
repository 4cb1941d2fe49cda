//! Helpers that take and release the lock in a value of a map.
//!
//! A lock is a word that is 1 while some processor holds it. A processor holds one at a time; what
//! it holds when its run ends, however that comes, is released.

use skep_bpf::op::{AtomicOp, Size, Width};
use skep_bpf::platform::HelperId;

use super::{Call, Standard};
use crate::cpu::CpuState;
use crate::machine::Machine;
use crate::memory::{Access, AtomicFault};
use crate::trap::TrapKind;

pub(super) const HELPERS: &[Standard] =
    &[(HelperId::SPIN_LOCK, lock), (HelperId::SPIN_UNLOCK, unlock)];

const FREE: u64 = 0;
const HELD: u64 = 1;
const LOCK_BYTES: u32 = 4;

fn lock(call: &mut Call<'_>) -> Result<u64, TrapKind> {
    let addr = call.guest(0, LOCK_BYTES, Access::Write)?;
    if call.cpu.lock.is_some() {
        return Err(call.needs("no other lock to be held"));
    }
    let view = call.machine.memory().window().view();
    loop {
        let before = view.atomic(addr, Width::W32, AtomicOp::Cmpxchg, HELD, FREE);
        match before.map_err(|fault| trap(call, fault))? {
            FREE => break,
            // The holder releases it when its run ends, at the latest.
            _ if call.cpu.is_stopping() => return Err(call.needs("a lock that gets free")),
            _ => std::thread::yield_now(),
        }
    }
    call.cpu.lock = Some(addr);
    Ok(0)
}

fn unlock(call: &mut Call<'_>) -> Result<u64, TrapKind> {
    let addr = call.guest(0, LOCK_BYTES, Access::Write)?;
    if call.cpu.lock != Some(addr) {
        return Err(call.needs("the lock that is held"));
    }
    release(call.machine, call.cpu);
    Ok(0)
}

/// Releases the lock that a processor holds, if it does.
pub(crate) fn release(machine: &Machine, cpu: &mut CpuState) {
    if let Some(addr) = cpu.lock.take() {
        let view = machine.memory().window().view();
        // A lock whose map is gone in the meantime cannot be waited for.
        let _ = view.store_release(addr, Size::W, FREE);
    }
}

fn trap(call: &Call<'_>, fault: AtomicFault) -> TrapKind {
    match fault {
        AtomicFault::Fault(fault) => TrapKind::HelperMemory { helper: call.helper, arg: 1, fault },
        AtomicFault::Misaligned { .. } => call.needs("a lock at a multiple of four bytes"),
    }
}
