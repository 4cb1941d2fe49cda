//! Helpers that ask for what a machine does not have: control groups, sockets behind packets,
//! routes of packets, call stacks, tasks.
//!
//! They answer as Linux does where there is none of it: a packet without a socket and without a
//! route, a process in the first control group, a stack that cannot be walked.

use skep_bpf::platform::{HelperId, MapType};

use super::{Call, Standard};
use crate::context::Kind;
use crate::errno::Errno;
use crate::host::ROUTE_BYTES;
use crate::memory::Access;
use crate::trap::TrapKind;

pub(super) const HELPERS: &[Standard] = &[
    (HelperId::GET_CGROUP_CLASSID, zero),
    (HelperId::SKB_CGROUP_CLASSID, zero),
    (HelperId::GET_ROUTE_REALM, zero),
    (HelperId::SKB_CGROUP_ID, zero),
    (HelperId::SKB_ANCESTOR_CGROUP_ID, zero),
    (HelperId::SKB_UNDER_CGROUP, |call| under_cgroup(call, 1, 2, Errno::ENOENT)),
    (HelperId::CURRENT_TASK_UNDER_CGROUP, |call| under_cgroup(call, 0, 1, Errno::EAGAIN)),
    (HelperId::GET_CURRENT_CGROUP_ID, first_cgroup),
    (HelperId::GET_CURRENT_ANCESTOR_CGROUP_ID, ancestor),
    (HelperId::GET_SOCKET_COOKIE, zero),
    (HelperId::GET_SOCKET_UID, nobody),
    (HelperId::GET_NETNS_COOKIE, first_namespace),
    (HelperId::GET_CURRENT_TASK, task),
    (HelperId::GET_ATTACH_COOKIE, zero),
    (HelperId::GET_FUNC_IP, zero),
    (HelperId::GET_STACKID, stack_id),
    (HelperId::GET_STACK, stack),
    (HelperId::GET_LOCAL_STORAGE, local_storage),
    (HelperId::CSUM_LEVEL, checksum_level),
    (HelperId::FIB_LOOKUP, route),
];

fn zero(_call: &mut Call<'_>) -> Result<u64, TrapKind> {
    Ok(0)
}

/// The groups that a map holds are none, so that there is nothing to be under.
fn under_cgroup(
    call: &Call<'_>,
    map: usize,
    index: usize,
    without: Errno,
) -> Result<u64, TrapKind> {
    let spec = call.map(map)?.spec();
    if spec.map_type != MapType::CGROUP_ARRAY {
        return Err(call.needs("an array of control groups"));
    }
    // A packet without a socket is asked for that first.
    let errno = match call.scalar(index) as u32 >= spec.max_entries {
        _ if without == Errno::ENOENT => without,
        true => Errno::E2BIG,
        false => without,
    };
    Ok(errno.to_return())
}

/// The number of the group that everything is in.
const FIRST_CGROUP: u64 = 1;

fn first_cgroup(_call: &mut Call<'_>) -> Result<u64, TrapKind> {
    Ok(FIRST_CGROUP)
}

fn ancestor(call: &mut Call<'_>) -> Result<u64, TrapKind> {
    Ok(if call.scalar(0) as i32 == 0 { FIRST_CGROUP } else { 0 })
}

/// The user to whom packets without a socket belong (`overflowuid`).
fn nobody(_call: &mut Call<'_>) -> Result<u64, TrapKind> {
    Ok(65534)
}

fn first_namespace(_call: &mut Call<'_>) -> Result<u64, TrapKind> {
    Ok(1)
}

/// An address of the kernel's, where there is nothing to read.
fn task(_call: &mut Call<'_>) -> Result<u64, TrapKind> {
    Ok(0xffff_8880_0000_0000)
}

fn stack_id(call: &mut Call<'_>) -> Result<u64, TrapKind> {
    /// The number of frames to skip, and `BPF_F_USER_STACK`, `_FAST_STACK_CMP`, `_REUSE_STACKID`.
    const KNOWN: u64 = 0xff | (1 << 8) | (1 << 9) | (1 << 10);
    if call.map(1)?.spec().map_type != MapType::STACK_TRACE {
        return Err(call.needs("a map of call stacks"));
    }
    let known = call.scalar(2) & !KNOWN == 0;
    Ok(if known { Errno::EFAULT } else { Errno::EINVAL }.to_return())
}

fn stack(call: &mut Call<'_>) -> Result<u64, TrapKind> {
    let len = call.scalar(2) as u32;
    let to = call.guest(1, len, Access::Write)?;
    /// The number of frames to skip, and `BPF_F_USER_STACK`, `_USER_BUILD_ID`.
    const KNOWN: u64 = 0xff | (1 << 8) | (1 << 11);
    call.machine.memory().window().fill(to, len, 0)?;
    let known = call.scalar(3) & !KNOWN == 0;
    Ok(if known { Errno::EFAULT } else { Errno::EINVAL }.to_return())
}

fn local_storage(call: &mut Call<'_>) -> Result<u64, TrapKind> {
    let storage = call.map(0)?.local_storage(call.cpu.index);
    storage.map(u64::from).ok_or_else(|| call.needs("storage of control groups"))
}

/// Nothing is known of the packet's checksums.
fn checksum_level(call: &mut Call<'_>) -> Result<u64, TrapKind> {
    Ok(match call.scalar(1) {
        0 => Errno::EACCES.to_return(),
        1..=3 => 0,
        _ => Errno::EINVAL.to_return(),
    })
}

/// Looks a route up: what the host says, where there is such an interface.
fn route(call: &mut Call<'_>) -> Result<u64, TrapKind> {
    /// Where the family and the interface stand in `struct bpf_fib_lookup`.
    const FAMILY: usize = 0;
    const INTERFACE: usize = 8;
    /// All flags up to `BPF_FIB_LOOKUP_MARK`.
    const KNOWN: u32 = (1 << 6) - 1;
    const AF_INET: u8 = 2;
    const AF_INET6: u8 = 10;
    if !matches!(call.cpu.input.kind(), Kind::Skb | Kind::Xdp) {
        return Err(call.needs("a packet as context"));
    }
    let (len, flags) = (call.scalar(2) as i32, call.scalar(3) as u32);
    if len < ROUTE_BYTES as i32 || flags & !KNOWN != 0 {
        return Ok(Errno::EINVAL.to_return());
    }
    let at = call.guest(1, ROUTE_BYTES as u32, Access::Write)?;
    let window = call.machine.memory().window();
    let mut parameters = [0; ROUTE_BYTES];
    window.read(at, &mut parameters)?;
    let mut interface = [0; 4];
    interface.copy_from_slice(&parameters[INTERFACE..INTERFACE + 4]);
    let host = call.machine.host();
    match (parameters[FAMILY], (host.mtu)(u32::from_le_bytes(interface))) {
        (AF_INET | AF_INET6, Some(_)) => {
            let answer = (host.route)(&mut parameters, flags);
            window.write(at, &parameters)?;
            Ok(answer as u64)
        }
        (AF_INET | AF_INET6, None) => Ok(Errno::ENODEV.to_return()),
        _ => Ok(Errno::EAFNOSUPPORT.to_return()),
    }
}
