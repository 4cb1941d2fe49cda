//! Helpers on dynamic pointers to memory of the program and to records of ring buffers.
//!
//! A dynamic pointer is 16 bytes on the stack: the address of the memory, how many bytes there
//! are, and where they begin. A null one has the address 0. Whoever makes one up reaches nothing
//! that other instructions could not: every address is checked when it is used.

use skep_bpf::op::Size;
use skep_bpf::platform::HelperId;

use super::{Call, Standard};
use crate::context::Kind;
use crate::errno::Errno;
use crate::memory::Access;
use crate::trap::TrapKind;

pub(super) const HELPERS: &[Standard] = &[
    (HelperId::DYNPTR_FROM_MEM, from_mem),
    (HelperId::DYNPTR_READ, read),
    (HelperId::DYNPTR_WRITE, write),
    (HelperId::DYNPTR_DATA, data),
    (HelperId::RINGBUF_RESERVE_DYNPTR, reserve),
    (HelperId::RINGBUF_SUBMIT_DYNPTR, submit),
    (HelperId::RINGBUF_DISCARD_DYNPTR, discard),
];

/// The size of a dynamic pointer.
const DYNPTR_BYTES: u32 = 16;

/// The largest memory behind one: the kernel keeps flags beside the size.
const MAX_BYTES: u64 = (1 << 24) - 1;

/// Where the parts of a dynamic pointer lie.
const SIZE_AT: u32 = 8;
const OFFSET_AT: u32 = 12;

/// Beside the size, in the highest bit: whether the memory may only be read.
const READ_ONLY: u32 = 1 << 31;

/// A dynamic pointer. One to a packet has the address of the program's context, so that it leads
/// to the packet wherever that is moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Dynptr {
    pub(super) addr: u64,
    pub(super) size: u32,
    pub(super) offset: u32,
    pub(super) read_only: bool,
}

impl Dynptr {
    pub(super) const NULL: Dynptr = Dynptr { addr: 0, size: 0, offset: 0, read_only: false };

    /// The one that an argument leads to.
    pub(super) fn load(call: &Call<'_>, arg: usize) -> Result<Dynptr, TrapKind> {
        let at = call.guest(arg, DYNPTR_BYTES, Access::Read)?;
        let window = call.machine.memory().window();
        // Halves of eight bytes: they fit.
        let half = |at| Ok::<_, TrapKind>(window.load(at, Size::W)? as u32);
        let size = half(at + SIZE_AT)?;
        Ok(Dynptr {
            addr: window.load(at, Size::Dw)?,
            size: size & MAX_BYTES as u32,
            offset: half(at + OFFSET_AT)?,
            read_only: size & READ_ONLY != 0,
        })
    }

    /// Whether it leads to the packet of the program.
    pub(super) fn is_packet(self, call: &Call<'_>) -> bool {
        self.addr == u64::from(call.cpu.context) && call.cpu.input.packet().is_some()
    }

    /// Writes it to where an argument leads.
    pub(super) fn store(self, call: &Call<'_>, arg: usize) -> Result<(), TrapKind> {
        let at = call.guest(arg, DYNPTR_BYTES, Access::Write)?;
        let window = call.machine.memory().window();
        window.store(at, Size::Dw, self.addr)?;
        let size = self.size | if self.read_only { READ_ONLY } else { 0 };
        window.store(at + SIZE_AT, Size::W, size.into())?;
        window.store(at + OFFSET_AT, Size::W, self.offset.into())?;
        Ok(())
    }

    /// The address of `len` bytes at an offset, if there are so many.
    pub(super) fn part(self, call: &Call<'_>, offset: u64, len: u64) -> Option<u32> {
        // The functions take 32 bits of them.
        let (offset, len) = (offset as u32, len as u32);
        let rest = self.size.checked_sub(len)?;
        if offset > rest {
            return None;
        }
        let offset = self.offset.wrapping_add(offset);
        if !self.is_packet(call) {
            // An address that wraps around is checked as any other.
            return Some((self.addr as u32).wrapping_add(offset));
        }
        // The packet may have become shorter.
        let packet = call.cpu.input.packet()?;
        let end = u64::from(offset) + u64::from(len);
        (end <= packet.len().into()).then(|| packet.data() + offset)
    }
}

fn from_mem(call: &mut Call<'_>) -> Result<u64, TrapKind> {
    let (size, flags) = (call.scalar(1), call.scalar(2));
    let result = if size > MAX_BYTES {
        Err(Errno::E2BIG)
    } else if flags != 0 {
        Err(Errno::EINVAL)
    } else {
        // The size was just found to fit.
        Ok(Dynptr { addr: call.scalar(0), size: size as u32, offset: 0, read_only: false })
    };
    result.unwrap_or(Dynptr::NULL).store(call, 3)?;
    Ok(result.map_or_else(Errno::to_return, |_| 0))
}

fn read(call: &mut Call<'_>) -> Result<u64, TrapKind> {
    let dynptr = Dynptr::load(call, 2)?;
    if dynptr.addr == 0 || call.scalar(4) != 0 {
        return Ok(Errno::EINVAL.to_return());
    }
    let len = call.scalar(1);
    let Some(from) = dynptr.part(call, call.scalar(3), len) else {
        return Ok(Errno::E2BIG.to_return());
    };
    let to = call.guest(0, len as u32, Access::Write)?;
    call.machine.memory().window().copy(from, to, len as u32)?;
    Ok(0)
}

fn write(call: &mut Call<'_>) -> Result<u64, TrapKind> {
    let dynptr = Dynptr::load(call, 0)?;
    if dynptr.addr == 0 || dynptr.read_only {
        return Ok(Errno::EINVAL.to_return());
    }
    let len = call.scalar(3);
    let Some(to) = dynptr.part(call, call.scalar(1), len) else {
        return Ok(Errno::E2BIG.to_return());
    };
    /// Of `bpf_skb_store_bytes`: to recompute the checksum, to forget the hash.
    const STORE_FLAGS: u64 = 3;
    let is_skb = dynptr.is_packet(call) && call.cpu.input.kind() == Kind::Skb;
    let known = if is_skb { STORE_FLAGS } else { 0 };
    if call.scalar(4) & !known != 0 {
        return Ok(Errno::EINVAL.to_return());
    }
    let from = call.guest(2, len as u32, Access::Read)?;
    call.machine.memory().window().copy(from, to, len as u32)?;
    Ok(0)
}

fn data(call: &mut Call<'_>) -> Result<u64, TrapKind> {
    let dynptr = Dynptr::load(call, 0)?;
    // Slices are for packets.
    if dynptr.addr == 0 || dynptr.read_only || dynptr.is_packet(call) {
        return Ok(0);
    }
    Ok(dynptr.part(call, call.scalar(1), call.scalar(2)).map_or(0, u64::from))
}

fn reserve(call: &mut Call<'_>) -> Result<u64, TrapKind> {
    let (size, flags) = (call.scalar(1), call.scalar(2));
    let ring = call.map(0)?.ring_buffer().ok_or_else(|| call.needs("a ring buffer"))?;
    // The function takes 32 bits of it.
    let size = size as u32;
    let result = if flags != 0 {
        Err(Errno::EINVAL)
    } else if u64::from(size) > MAX_BYTES {
        Err(Errno::E2BIG)
    } else {
        let record = ring.reserve(size.into()).ok_or(Errno::EINVAL);
        record.map(|addr| Dynptr { addr: addr.into(), size, offset: 0, read_only: false })
    };
    result.unwrap_or(Dynptr::NULL).store(call, 3)?;
    Ok(result.map_or_else(Errno::to_return, |_| 0))
}

fn submit(call: &mut Call<'_>) -> Result<u64, TrapKind> {
    commit(call, false)
}

fn discard(call: &mut Call<'_>) -> Result<u64, TrapKind> {
    commit(call, true)
}

fn commit(call: &Call<'_>, discard: bool) -> Result<u64, TrapKind> {
    let dynptr = Dynptr::load(call, 0)?;
    if dynptr.addr == 0 {
        return Ok(0);
    }
    let addr = u32::try_from(dynptr.addr).unwrap_or(0);
    let ring = call.machine.ring_buffer_at(addr);
    if ring.is_some_and(|ring| ring.commit(addr, discard, call.scalar(1))) {
        Dynptr::NULL.store(call, 0)?;
        return Ok(0);
    }
    Err(call.needs("a record of a ring buffer that is reserved"))
}
