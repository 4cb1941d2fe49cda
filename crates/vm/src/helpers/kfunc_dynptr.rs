//! Kernel functions on dynamic pointers: to packets, parts of what they lead to, moving them.
//!
//! A packet is always in one piece, so that a part of it needs no copy. Linux,
//! `kernel/bpf/helpers.c`, `net/core/filter.c`.

use skep_bpf::platform::ProgType;

use super::Call;
use super::dynptr::Dynptr;
use super::kfunc::{Kfunc, failed, int};
use crate::context::Kind;
use crate::errno::Errno;
use crate::trap::TrapKind;

pub(super) const KFUNCS: &[Kfunc] = &[
    ("bpf_dynptr_from_skb", |call| from_packet(call, Kind::Skb)),
    ("bpf_dynptr_from_xdp", |call| from_packet(call, Kind::Xdp)),
    ("bpf_dynptr_slice", |call| slice(call, false)),
    ("bpf_dynptr_slice_rdwr", |call| slice(call, true)),
    ("bpf_dynptr_adjust", adjust),
    ("bpf_dynptr_is_null", |call| Ok((Dynptr::load(call, 0)?.addr == 0).into())),
    ("bpf_dynptr_is_rdonly", is_read_only),
    ("bpf_dynptr_size", size),
    ("bpf_dynptr_clone", clone),
];

/// The types of programs that may write to their packets.
const WRITERS: [ProgType; 5] =
    [ProgType::XDP, ProgType::SCHED_CLS, ProgType::SCHED_ACT, ProgType::LWT_XMIT, ProgType::SK_SKB];

fn from_packet(call: &Call<'_>, kind: Kind) -> Result<u64, TrapKind> {
    let packet = call.input(kind).ok_or_else(|| call.needs("a packet as context"))?;
    if call.scalar(1) != 0 {
        Dynptr::NULL.store(call, 2)?;
        return Ok(failed(Errno::EINVAL));
    }
    let read_only = !WRITERS.contains(&call.program.prog_type());
    let (addr, size) = (call.scalar(0), packet.len());
    Dynptr { addr, size, offset: 0, read_only }.store(call, 2)?;
    Ok(0)
}

/// The address of so many bytes, or NULL.
fn slice(call: &Call<'_>, writes: bool) -> Result<u64, TrapKind> {
    let dynptr = Dynptr::load(call, 0)?;
    if dynptr.addr == 0 || (writes && dynptr.read_only) {
        return Ok(0);
    }
    Ok(dynptr.part(call, call.scalar(1), call.scalar(3)).map_or(0, u64::from))
}

fn adjust(call: &mut Call<'_>) -> Result<u64, TrapKind> {
    let dynptr = Dynptr::load(call, 0)?;
    let (start, end) = (call.scalar(1) as u32, call.scalar(2) as u32);
    if dynptr.addr == 0 || start > end {
        return Ok(failed(Errno::EINVAL));
    }
    if end > dynptr.size {
        return Ok(failed(Errno::ERANGE));
    }
    let offset = dynptr.offset.wrapping_add(start);
    Dynptr { offset, size: end - start, ..dynptr }.store(call, 0)?;
    Ok(0)
}

fn is_read_only(call: &mut Call<'_>) -> Result<u64, TrapKind> {
    let dynptr = Dynptr::load(call, 0)?;
    Ok((dynptr.addr != 0 && dynptr.read_only).into())
}

fn size(call: &mut Call<'_>) -> Result<u64, TrapKind> {
    let dynptr = Dynptr::load(call, 0)?;
    Ok(if dynptr.addr == 0 { failed(Errno::EINVAL) } else { int(dynptr.size as i32) })
}

fn clone(call: &mut Call<'_>) -> Result<u64, TrapKind> {
    let dynptr = Dynptr::load(call, 0)?;
    dynptr.store(call, 1)?;
    Ok(if dynptr.addr == 0 { failed(Errno::EINVAL) } else { 0 })
}
