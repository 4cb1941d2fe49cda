//! Helpers that ask who runs, where: process, processor; and for a random number.

use skep_bpf::platform::HelperId;

use super::{Call, Standard};
use crate::memory::Access;
use crate::trap::TrapKind;

pub(super) const HELPERS: &[Standard] = &[
    (HelperId::GET_CURRENT_PID_TGID, pid_tgid),
    (HelperId::GET_CURRENT_UID_GID, uid_gid),
    (HelperId::GET_CURRENT_COMM, comm),
    (HelperId::GET_SMP_PROCESSOR_ID, processor),
    (HelperId::GET_NUMA_NODE_ID, numa_node),
    (HelperId::GET_PRANDOM_U32, random),
];

fn pid_tgid(call: &mut Call<'_>) -> Result<u64, TrapKind> {
    Ok((call.machine.host().pid_tgid)())
}

fn uid_gid(call: &mut Call<'_>) -> Result<u64, TrapKind> {
    Ok((call.machine.host().uid_gid)())
}

/// Copies the command's name, cut so that it ends in a NUL, and zeros behind it.
fn comm(call: &mut Call<'_>) -> Result<u64, TrapKind> {
    let len = call.scalar(1) as u32;
    let to = call.guest(0, len, Access::Write)?;
    let window = call.machine.memory().window();
    window.fill(to, len, 0)?;
    let comm = (call.machine.host().comm)();
    let end = comm.iter().position(|byte| *byte == 0).unwrap_or(comm.len());
    let fits = end.min(len.saturating_sub(1) as usize);
    window.write(to, &comm[..fits])?;
    Ok(0)
}

fn processor(call: &mut Call<'_>) -> Result<u64, TrapKind> {
    Ok(call.cpu.index.into())
}

/// All processors are of one node.
fn numa_node(_call: &mut Call<'_>) -> Result<u64, TrapKind> {
    Ok(0)
}

fn random(call: &mut Call<'_>) -> Result<u64, TrapKind> {
    Ok((call.machine.host().random)().into())
}
