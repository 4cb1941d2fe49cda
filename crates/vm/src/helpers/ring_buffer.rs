//! Helpers on ring buffers: reserving and committing records, copying one in, asking.
//!
//! What a ring buffer is stands in [`crate::maps::RingBuffer`].

use skep_bpf::platform::HelperId;

use super::{Call, Standard};
use crate::errno::Errno;
use crate::maps::{FORCE_WAKEUP, NO_WAKEUP, Query, RingBuffer};
use crate::memory::Access;
use crate::trap::TrapKind;

pub(super) const HELPERS: &[Standard] = &[
    (HelperId::RINGBUF_OUTPUT, output),
    (HelperId::RINGBUF_RESERVE, reserve),
    (HelperId::RINGBUF_SUBMIT, submit),
    (HelperId::RINGBUF_DISCARD, discard),
    (HelperId::RINGBUF_QUERY, query),
];

/// The ring buffer of the first argument.
fn ring<'a>(call: &'a Call<'_>) -> Result<&'a RingBuffer, TrapKind> {
    call.map(0)?.ring_buffer().ok_or_else(|| call.needs("a ring buffer"))
}

fn output(call: &mut Call<'_>) -> Result<u64, TrapKind> {
    let ring = ring(call)?;
    let (len, flags) = (call.scalar(2), call.scalar(3));
    let from = call.guest(1, u32::try_from(len).unwrap_or(u32::MAX), Access::Read)?;
    if flags & !(NO_WAKEUP | FORCE_WAKEUP) != 0 {
        return Ok(Errno::EINVAL.to_return());
    }
    let Some(record) = ring.reserve(len) else { return Ok(Errno::EAGAIN.to_return()) };
    let copied = call.machine.memory().window().copy(from, record, len as u32);
    ring.commit(record, copied.is_err(), flags);
    copied?;
    Ok(0)
}

fn reserve(call: &mut Call<'_>) -> Result<u64, TrapKind> {
    let ring = ring(call)?;
    if call.scalar(2) != 0 {
        return Ok(0);
    }
    Ok(ring.reserve(call.scalar(1)).map_or(0, u64::from))
}

fn submit(call: &mut Call<'_>) -> Result<u64, TrapKind> {
    commit(call, false)
}

fn discard(call: &mut Call<'_>) -> Result<u64, TrapKind> {
    commit(call, true)
}

fn commit(call: &Call<'_>, discard: bool) -> Result<u64, TrapKind> {
    let addr = u32::try_from(call.scalar(0)).unwrap_or(0);
    let ring = call.machine.ring_buffer_at(addr);
    if ring.is_some_and(|ring| ring.commit(addr, discard, call.scalar(1))) {
        return Ok(0);
    }
    Err(call.needs("a record of a ring buffer that is reserved"))
}

fn query(call: &mut Call<'_>) -> Result<u64, TrapKind> {
    let what = match call.scalar(1) {
        0 => Query::Available,
        1 => Query::Size,
        2 => Query::Consumed,
        3 => Query::Produced,
        _ => return Ok(0),
    };
    Ok(ring(call)?.query(what))
}
