//! Helpers that print: `bpf_trace_printk`, `bpf_trace_vprintk`, `bpf_snprintf`.

use skep_bpf::platform::HelperId;

use super::format::{MAX_ARGS, Text, format};
use super::{Call, Standard};
use crate::errno::Errno;
use crate::memory::{Access, PAGE_BYTES};
use crate::trap::TrapKind;

pub(super) const HELPERS: &[Standard] = &[
    (HelperId::TRACE_PRINTK, trace_printk),
    (HelperId::TRACE_VPRINTK, trace_vprintk),
    (HelperId::SNPRINTF, snprintf),
];

/// The longest line in bytes, its NUL counted (Linux, `MAX_BPRINTF_BUF`).
const LINE_BYTES: usize = 1024;

fn trace_printk(call: &mut Call<'_>) -> Result<u64, TrapKind> {
    let Some(template) = template(call)? else { return Ok(Errno::EINVAL.to_return()) };
    let [_, _, args @ ..] = call.args;
    Ok(print(call, &template, &args))
}

fn trace_vprintk(call: &mut Call<'_>) -> Result<u64, TrapKind> {
    let Some(args) = memory_args(call, 2)? else { return Ok(Errno::EINVAL.to_return()) };
    let Some(template) = template(call)? else { return Ok(Errno::EINVAL.to_return()) };
    Ok(print(call, &template, &args))
}

fn snprintf(call: &mut Call<'_>) -> Result<u64, TrapKind> {
    let room = call.scalar(1) as u32;
    let to = call.guest(0, room, Access::Write)?;
    let Some(args) = memory_args(call, 3)? else { return Ok(Errno::EINVAL.to_return()) };
    let template = call.string(2)?;
    let window = call.machine.memory().window();
    let text = match format(window, &template, &args, room as usize) {
        Ok(text) => text,
        Err(error) => return Ok(error.to_return()),
    };
    if room != 0 {
        let mut bytes = text.bytes;
        bytes.push(0);
        window.write(to, &bytes)?;
    }
    Ok(text.len + 1)
}

/// The format of the first argument, as long as the second says; nothing if its NUL is missing.
fn template(call: &Call<'_>) -> Result<Option<Vec<u8>>, TrapKind> {
    let len = call.scalar(1) as u32;
    let start = call.guest(0, len, Access::Read)?;
    let window = call.machine.memory().window();
    let mut bytes = Vec::new();
    while bytes.len() < len as usize {
        let done = bytes.len();
        let chunk = (len as usize - done).min(PAGE_BYTES as usize);
        bytes.resize(done + chunk, 0);
        window.read(start + done as u32, &mut bytes[done..])?;
        if let Some(end) = bytes[done..].iter().position(|byte| *byte == 0) {
            bytes.truncate(done + end);
            return Ok(Some(bytes));
        }
    }
    Ok(None)
}

/// Arguments in memory: the address is one argument, the length in bytes the next. Nothing if the
/// length is none that the kernel takes.
fn memory_args(call: &Call<'_>, arg: usize) -> Result<Option<Vec<u64>>, TrapKind> {
    let len = call.scalar(arg + 1) as u32 as usize;
    let (addr, bytes) = (call.scalar(arg), &mut [0; 8 * MAX_ARGS]);
    if !len.is_multiple_of(8) || len > bytes.len() || (len != 0 && addr == 0) {
        return Ok(None);
    }
    let bytes = &mut bytes[..len];
    call.read(arg, bytes)?;
    let word = |word: &[u8]| word.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte));
    Ok(Some(bytes.chunks(8).map(word).collect()))
}

/// Prints a line; gives its length or an error number.
fn print(call: &Call<'_>, template: &[u8], args: &[u64]) -> u64 {
    match format(call.machine.memory().window(), template, args, LINE_BYTES) {
        Ok(Text { bytes, len, .. }) => {
            // A reader of the trace sees a string, which ends at a NUL that `%c` may have printed.
            let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
            (call.machine.host().printk)(&String::from_utf8_lossy(&bytes[..end]));
            len
        }
        Err(error) => error.to_return(),
    }
}
