//! Helpers that read memory which may not be there.
//!
//! Guest memory is all that there is of the kernel's and of user space's. An address at or above
//! 4 GiB is the kernel's and leads to nothing. One below that is not mapped is no kernel address:
//! `bpf_probe_read_kernel` says so (`ERANGE`), as it does to NULL in Linux on x86-64.

use skep_bpf::platform::HelperId;

use super::{Call, Standard};
use crate::errno::Errno;
use crate::memory::{Access, PAGE_BYTES};
use crate::trap::TrapKind;

pub(super) const HELPERS: &[Standard] = &[
    (HelperId::PROBE_READ, read_user),
    (HelperId::PROBE_READ_USER, read_user),
    (HelperId::PROBE_READ_KERNEL, read_kernel),
    (HelperId::PROBE_READ_STR, read_user_string),
    (HelperId::PROBE_READ_USER_STR, read_user_string),
    (HelperId::PROBE_READ_KERNEL_STR, read_kernel_string),
    (HelperId::COPY_FROM_USER, read_user),
    (HelperId::PROBE_WRITE_USER, write_user),
];

/// Guest memory that can be written to is the user's, too.
fn write_user(call: &mut Call<'_>) -> Result<u64, TrapKind> {
    let len = call.scalar(2) as u32;
    let from = call.guest(1, len, Access::Read)?;
    let to = u32::try_from(call.scalar(0));
    let window = call.machine.memory().window();
    let written = to.is_ok_and(|to| window.copy(from, to, len).is_ok());
    Ok(if written { 0 } else { Errno::EFAULT.to_return() })
}

fn read_user(call: &mut Call<'_>) -> Result<u64, TrapKind> {
    read(call, Errno::EFAULT)
}

fn read_kernel(call: &mut Call<'_>) -> Result<u64, TrapKind> {
    read(call, Errno::ERANGE)
}

fn read_user_string(call: &mut Call<'_>) -> Result<u64, TrapKind> {
    read_string(call, Errno::EFAULT)
}

fn read_kernel_string(call: &mut Call<'_>) -> Result<u64, TrapKind> {
    read_string(call, Errno::ERANGE)
}

fn read(call: &Call<'_>, below_kernel: Errno) -> Result<u64, TrapKind> {
    let (len, from) = (call.scalar(1) as u32, call.scalar(2));
    let to = call.guest(0, len, Access::Write)?;
    let window = call.machine.memory().window();
    let copied = u32::try_from(from).is_ok_and(|from| window.copy(from, to, len).is_ok());
    if copied && (len != 0 || window.check(from as u32, 1, Access::Read).is_ok()) {
        return Ok(0);
    }
    failed(call, to, len, below_kernel)
}

/// Copies up to a NUL, or cuts the string so that it ends in one. Gives the number of bytes.
fn read_string(call: &Call<'_>, below_kernel: Errno) -> Result<u64, TrapKind> {
    let (len, from) = (call.scalar(1) as u32, call.scalar(2));
    let to = call.guest(0, len, Access::Write)?;
    let window = call.machine.memory().window();
    let mut buffer = [0; 256];
    let mut done = 0;
    while done < len {
        let Some(at) = from.checked_add(done.into()).and_then(|at| u32::try_from(at).ok()) else {
            return failed(call, to, len, below_kernel);
        };
        // Up to the end of the page, since the next may not be there.
        let chunk = (len - done).min(PAGE_BYTES - at % PAGE_BYTES).min(buffer.len() as u32);
        let part = &mut buffer[..chunk as usize];
        if window.read(at, part).is_err() {
            return failed(call, to, len, below_kernel);
        }
        let end = part.iter().position(|byte| *byte == 0);
        let part = &part[..end.map_or(part.len(), |end| end + 1)];
        window.write(to + done, part)?;
        done += part.len() as u32;
        if end.is_some() {
            return Ok(done.into());
        }
    }
    if len != 0 {
        window.write(to + len - 1, &[0])?;
    }
    Ok(len.into())
}

/// Clears the destination.
fn failed(call: &Call<'_>, to: u32, len: u32, below_kernel: Errno) -> Result<u64, TrapKind> {
    call.machine.memory().window().fill(to, len, 0)?;
    let start = u32::try_from(call.scalar(2));
    let is_mapped = |at| call.machine.memory().window().check(at, 1, Access::Read).is_ok();
    Ok(match start {
        // It begins in memory and runs out of it.
        Ok(at) if is_mapped(at) => Errno::EFAULT.to_return(),
        Ok(_) => below_kernel.to_return(),
        Err(_) => Errno::EFAULT.to_return(),
    })
}
