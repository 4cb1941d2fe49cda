//! Helpers of XDP programs: moving the packet's ends, copying its bytes.
//!
//! Limits and errors: Linux, `net/core/filter.c`. A packet is always in one piece.

use skep_bpf::platform::HelperId;

use super::{Call, Standard};
use crate::context::{FRAME_HEADER_BYTES, Kind, MAX_META_BYTES, MIN_PACKET_BYTES, Packet};
use crate::errno::Errno;
use crate::memory::Access;
use crate::trap::TrapKind;

pub(super) const HELPERS: &[Standard] = &[
    (HelperId::XDP_ADJUST_HEAD, adjust_head),
    (HelperId::XDP_ADJUST_META, adjust_meta),
    (HelperId::XDP_ADJUST_TAIL, adjust_tail),
    (HelperId::XDP_GET_BUFF_LEN, get_buff_len),
    (HelperId::XDP_LOAD_BYTES, load_bytes),
    (HelperId::XDP_STORE_BYTES, store_bytes),
];

const MIN_BYTES: i64 = MIN_PACKET_BYTES as i64;

/// The packet of an XDP program; its context is the first argument.
fn packet<'a>(call: &'a Call<'_>) -> Result<&'a Packet, TrapKind> {
    call.input(Kind::Xdp).ok_or_else(|| call.needs("the context of an XDP program"))
}

/// The second argument, a number of bytes that an end moves by: an `int`.
fn delta(call: &Call<'_>) -> i64 {
    i64::from(call.scalar(1) as i32)
}

fn adjust_head(call: &mut Call<'_>) -> Result<u64, TrapKind> {
    let delta = delta(call);
    let packet = packet(call)?;
    let (meta, old, meta_len) = (packet.meta(), packet.data(), packet.data() - packet.meta());
    let data = i64::from(old) + delta;
    let lowest = i64::from(packet.frame() + FRAME_HEADER_BYTES + meta_len);
    if data < lowest || data > i64::from(packet.end()) - MIN_BYTES {
        return Ok(Errno::EINVAL.to_return());
    }
    let data = data as u32;
    call.machine.memory().window().copy(meta, data - meta_len, meta_len)?;
    call.cpu.input.packet.set_data(data);
    publish(call)
}

fn adjust_meta(call: &mut Call<'_>) -> Result<u64, TrapKind> {
    let delta = delta(call);
    let packet = packet(call)?;
    let meta = i64::from(packet.meta()) + delta;
    let data = i64::from(packet.data());
    if meta < i64::from(packet.frame() + FRAME_HEADER_BYTES) || meta > data {
        return Ok(Errno::EINVAL.to_return());
    }
    let len = data - meta;
    if len % 4 != 0 || len > MAX_META_BYTES.into() {
        return Ok(Errno::EACCES.to_return());
    }
    call.cpu.input.packet.set_meta(meta as u32);
    publish(call)
}

fn adjust_tail(call: &mut Call<'_>) -> Result<u64, TrapKind> {
    let delta = delta(call);
    let packet = packet(call)?;
    let old = packet.end();
    let end = i64::from(old) + delta;
    if end > i64::from(packet.limit()) || end < i64::from(packet.data()) + MIN_BYTES {
        return Ok(Errno::EINVAL.to_return());
    }
    let end = end as u32;
    call.machine.memory().window().fill(old, end.saturating_sub(old), 0)?;
    call.cpu.input.packet.set_end(end);
    publish(call)
}

/// The context follows the packet.
fn publish(call: &Call<'_>) -> Result<u64, TrapKind> {
    call.cpu.input.publish(call.machine.memory().window())?;
    Ok(0)
}

fn get_buff_len(call: &mut Call<'_>) -> Result<u64, TrapKind> {
    Ok(packet(call)?.len().into())
}

fn load_bytes(call: &mut Call<'_>) -> Result<u64, TrapKind> {
    let len = call.scalar(3) as u32;
    let to = call.guest(2, len, Access::Write)?;
    copy(call, |call, at| Ok(call.machine.memory().window().copy(at, to, len)?))
}

fn store_bytes(call: &mut Call<'_>) -> Result<u64, TrapKind> {
    let len = call.scalar(3) as u32;
    let from = call.guest(2, len, Access::Read)?;
    copy(call, |call, at| Ok(call.machine.memory().window().copy(from, at, len)?))
}

/// Copies as many bytes as the fourth argument says at the packet's offset in the second.
fn copy(
    call: &Call<'_>,
    run: impl FnOnce(&Call<'_>, u32) -> Result<(), TrapKind>,
) -> Result<u64, TrapKind> {
    let packet = packet(call)?;
    let (offset, len) = (call.scalar(1) as u32, call.scalar(3) as u32);
    if offset > 0xffff || len > 0xffff {
        return Ok(Errno::EFAULT.to_return());
    }
    if offset + len > packet.len() {
        return Ok(Errno::EINVAL.to_return());
    }
    run(call, packet.data() + offset)?;
    Ok(0)
}
