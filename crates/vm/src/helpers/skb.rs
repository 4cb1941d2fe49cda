//! Helpers on socket buffers: copying bytes, changing the length.
//!
//! Limits and errors: Linux, `net/core/filter.c`. A packet is always in one piece and writable.

use skep_bpf::platform::HelperId;

use super::{Call, Standard};
use crate::context::{Kind, MAX_GROWN_BYTES, Packet, set_hash};
use crate::errno::Errno;
use crate::memory::Access;
use crate::trap::TrapKind;

pub(super) const HELPERS: &[Standard] = &[
    (HelperId::SKB_LOAD_BYTES, load_bytes),
    (HelperId::SKB_LOAD_BYTES_RELATIVE, load_bytes_relative),
    (HelperId::SKB_STORE_BYTES, store_bytes),
    (HelperId::SKB_PULL_DATA, pull_data),
    (HelperId::SKB_CHANGE_TAIL, change_tail),
    (HelperId::SET_HASH, set_hash_to),
    (HelperId::SET_HASH_INVALID, set_hash_invalid),
];

const RECOMPUTE_CSUM: u64 = 1 << 0;
const INVALIDATE_HASH: u64 = 1 << 1;

/// The packet of a socket buffer; its context is the first argument.
pub(super) fn packet<'a>(call: &'a Call<'_>) -> Result<&'a Packet, TrapKind> {
    call.input(Kind::Skb).ok_or_else(|| call.needs("a socket buffer as context"))
}

/// The start of the packet's data, if it has as many bytes.
pub(super) fn writable(call: &Call<'_>, len: u64) -> Result<Option<u32>, TrapKind> {
    let packet = packet(call)?;
    Ok((len <= packet.len().into()).then_some(packet.data()))
}

fn load_bytes(call: &mut Call<'_>) -> Result<u64, TrapKind> {
    let packet = packet(call)?;
    let (offset, start, end) = (call.scalar(1) as u32, packet.data(), packet.end());
    load(call, (offset <= i32::MAX as u32).then_some((start, end)))
}

fn load_bytes_relative(call: &mut Call<'_>) -> Result<u64, TrapKind> {
    const FROM_LINK: u32 = 0;
    const FROM_NETWORK: u32 = 1;
    let packet = packet(call)?;
    let (offset, end) = (call.scalar(1) as u32, packet.end());
    let start = match call.scalar(4) as u32 {
        FROM_LINK => Some(packet.link()),
        FROM_NETWORK => Some(packet.network()),
        _ => None,
    };
    load(call, start.filter(|_| offset <= 0xffff).map(|start| (start, end)))
}

/// Copies bytes at the offset in the second argument from what begins and ends there, or clears
/// the destination.
fn load(call: &Call<'_>, bounds: Option<(u32, u32)>) -> Result<u64, TrapKind> {
    let (offset, len) = (call.scalar(1) as u32, call.scalar(3) as u32);
    let to = call.guest(2, len, Access::Write)?;
    let window = call.machine.memory().window();
    if let Some((start, end)) = bounds {
        let from = u64::from(start) + u64::from(offset);
        if from + u64::from(len) <= end.into() {
            window.copy(from as u32, to, len)?;
            return Ok(0);
        }
    }
    window.fill(to, len, 0)?;
    Ok(Errno::EFAULT.to_return())
}

fn store_bytes(call: &mut Call<'_>) -> Result<u64, TrapKind> {
    let (offset, len) = (call.scalar(1) as u32, call.scalar(3) as u32);
    let from = call.guest(2, len, Access::Read)?;
    let start = writable(call, u64::from(offset) + u64::from(len))?;
    let flags = call.scalar(4);
    if flags & !(RECOMPUTE_CSUM | INVALIDATE_HASH) != 0 {
        return Ok(Errno::EINVAL.to_return());
    }
    let Some(start) = start.filter(|_| offset <= i32::MAX as u32) else {
        return Ok(Errno::EFAULT.to_return());
    };
    call.machine.memory().window().copy(from, start + offset, len)?;
    if flags & INVALIDATE_HASH != 0 {
        write_hash(call, 0)?;
    }
    Ok(0)
}

/// All data is in place; what is not there cannot be pulled.
fn pull_data(call: &mut Call<'_>) -> Result<u64, TrapKind> {
    let enough = writable(call, call.scalar(1) & 0xffff_ffff)?;
    Ok(if enough.is_some() { 0 } else { Errno::ENOMEM.to_return() })
}

fn change_tail(call: &mut Call<'_>) -> Result<u64, TrapKind> {
    let packet = packet(call)?;
    let new_len = call.scalar(1) as u32;
    let transport = packet.transport().saturating_sub(packet.data());
    let network = packet.network().saturating_sub(packet.data());
    let min = if transport > 0 { transport } else { network };
    // A packet that came in longer than one can grow cannot keep its length either.
    if call.scalar(2) != 0 || new_len > MAX_GROWN_BYTES || new_len < min {
        return Ok(Errno::EINVAL.to_return());
    }
    if packet.is_encapsulated() {
        return Ok(Errno::ENOTSUPP.to_return());
    }
    let (old, new) = (packet.end(), packet.data() + new_len);
    let window = call.machine.memory().window();
    window.fill(old, new.saturating_sub(old), 0)?;
    call.cpu.input.packet.set_end(new);
    call.cpu.input.publish(window)?;
    Ok(0)
}

fn set_hash_to(call: &mut Call<'_>) -> Result<u64, TrapKind> {
    packet(call)?;
    write_hash(call, call.scalar(1) as u32)
}

fn set_hash_invalid(call: &mut Call<'_>) -> Result<u64, TrapKind> {
    packet(call)?;
    write_hash(call, 0)
}

fn write_hash(call: &Call<'_>, hash: u32) -> Result<u64, TrapKind> {
    set_hash(call.machine.memory().window(), call.cpu.context, hash)?;
    Ok(0)
}
