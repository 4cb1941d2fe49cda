//! Helpers that take and release the lock in a value of a map.
//!
//! The machine knows which locks are held; the word in the value only shows it (1 while it is
//! held), so that whatever else is written there, by a host that replaces the value or by a program
//! without a proof, nobody waits for a lock that nobody holds. A processor holds one at a time;
//! what it holds when its run ends, however that comes, is released.

use skep_bpf::op::Size;
use skep_bpf::platform::HelperId;

use super::{Call, Standard};
use crate::cpu::CpuState;
use crate::machine::Machine;
use crate::memory::Access;
use crate::trap::TrapKind;

pub(super) const HELPERS: &[Standard] =
    &[(HelperId::SPIN_LOCK, lock), (HelperId::SPIN_UNLOCK, unlock)];

const FREE: u32 = 0;
const HELD: u32 = 1;
const LOCK_BYTES: u32 = 4;

fn lock(call: &mut Call<'_>) -> Result<u64, TrapKind> {
    let addr = call.guest(0, LOCK_BYTES, Access::Write)?;
    if call.cpu.lock.is_some() {
        return Err(call.needs("no other lock to be held"));
    }
    if !addr.is_multiple_of(LOCK_BYTES) {
        return Err(call.needs("a lock at a multiple of four bytes"));
    }
    while !call.machine.locks.lock().insert(addr) {
        // The holder releases it when its run ends, at the latest.
        if call.cpu.is_stopping() {
            return Err(call.needs("a lock that gets free"));
        }
        std::thread::yield_now();
    }
    call.cpu.lock = Some(addr);
    call.write(0, &HELD.to_le_bytes())?;
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
        let _ = view.store_release(addr, Size::W, FREE.into());
        machine.locks.lock().remove(&addr);
    }
}
