//! Ring buffers: records from programs to the host, in the order in which they were reserved.
//!
//! The data lies in guest memory, mapped twice in a row, so that a record that runs over the end
//! is in one piece. Each record has the eight bytes in front that Linux keeps its header in, so
//! that as many fit; what the header says is kept outside, where no program reaches it.
//! Behaviour: Linux, `kernel/bpf/ringbuf.c`.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::rules::{self, HostRights};
use super::{CpuIndex, Map, MapSpec, Value};
use crate::errno::Errno;
use crate::machine::{Machine, MapError};
use crate::region::Memory;

/// `BPF_RINGBUF_HDR_SZ`
const HEADER_BYTES: u64 = 8;
/// The longest record (`RINGBUF_MAX_RECORD_SZ`).
const LONGEST_BYTES: u64 = (u32::MAX / 4) as u64;

/// `BPF_RB_NO_WAKEUP`
pub(crate) const NO_WAKEUP: u64 = 1 << 0;
/// `BPF_RB_FORCE_WAKEUP`
pub(crate) const FORCE_WAKEUP: u64 = 1 << 1;

/// The records of a ring buffer: reserved and committed by programs, consumed by the host.
pub struct RingBuffer {
    memory: Arc<Memory>,
    start: u32,
    bytes: u32,
    state: Mutex<State>,
    filled: Condvar,
}

/// Positions count bytes since the start and never wrap.
#[derive(Debug, Default)]
struct State {
    consumed: u64,
    produced: u64,
    /// What is between the two, oldest first.
    records: VecDeque<Record>,
}

#[derive(Clone, Copy, Debug)]
struct Record {
    /// The position of its header.
    at: u64,
    len: u32,
    status: Status,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Status {
    /// A program still writes it.
    Busy,
    Committed,
    Discarded,
}

/// What a ring buffer can be asked (`bpf_ringbuf_query`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Query {
    /// The bytes between the consumer and the producer, headers included.
    Available,
    /// The size of the buffer in bytes.
    Size,
    /// How many bytes were consumed since the start.
    Consumed,
    /// How many bytes were produced since the start.
    Produced,
}

impl fmt::Debug for RingBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RingBuffer").field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

impl RingBuffer {
    /// Reserves room for a record; gives its guest address, or nothing if there is no room.
    #[must_use]
    pub fn reserve(&self, bytes: u64) -> Option<u32> {
        let len = bytes.checked_add(HEADER_BYTES)?.next_multiple_of(8);
        let size = u64::from(self.bytes);
        if bytes > LONGEST_BYTES || len > size {
            return None;
        }
        let mut state = self.state.lock();
        let at = state.produced;
        let produced = at + len;
        // The producer stays at least a byte behind the consumer.
        if produced - state.consumed > size - 1 {
            return None;
        }
        state.produced = produced;
        state.records.push_back(Record { at, len: bytes as u32, status: Status::Busy });
        Some(self.addr(at))
    }

    /// Hands a reserved record over to the host, or throws it away. `flags` may hold
    /// `BPF_RB_NO_WAKEUP` and `BPF_RB_FORCE_WAKEUP`. False if no such record is reserved.
    pub fn commit(&self, addr: u32, discard: bool, flags: u64) -> bool {
        let mut state = self.state.lock();
        let Some(record) = self.busy(&mut state, addr) else { return false };
        record.status = if discard { Status::Discarded } else { Status::Committed };
        let is_first = record.at == state.consumed;
        if flags & FORCE_WAKEUP != 0 || (is_first && flags & NO_WAKEUP == 0) {
            self.filled.notify_all();
        }
        true
    }

    /// The length of the record that was reserved at an address and not yet committed.
    #[must_use]
    pub fn reserved_bytes(&self, addr: u32) -> Option<u32> {
        Some(self.busy(&mut self.state.lock(), addr)?.len)
    }

    /// Answers a query.
    #[must_use]
    pub fn query(&self, what: Query) -> u64 {
        let state = self.state.lock();
        match what {
            Query::Available => state.produced - state.consumed,
            Query::Size => self.bytes.into(),
            Query::Consumed => state.consumed,
            Query::Produced => state.produced,
        }
    }

    /// Takes the records that were committed, up to the first that a program still writes, and
    /// shows each to a function. Gives their number; discarded records are passed over.
    pub fn consume(&self, mut see: impl FnMut(&[u8])) -> usize {
        let (mut bytes, mut seen) = (Vec::new(), 0);
        while let Some(status) = self.take(&mut bytes) {
            if status == Status::Committed {
                see(&bytes);
                seen += 1;
            }
        }
        seen
    }

    /// Waits until there is something to consume, and a program wanted the host to know, or the
    /// time is up. True if there is something to consume.
    #[must_use]
    pub fn wait(&self, at_most: Duration) -> bool {
        let mut state = self.state.lock();
        if !state.is_ready() {
            self.filled.wait_for(&mut state, at_most);
        }
        state.is_ready()
    }

    /// Whether an address lies in the buffer.
    pub(crate) fn contains(&self, addr: u32) -> bool {
        addr.wrapping_sub(self.start) / 2 < self.bytes
    }

    /// Takes the first record and what it holds, if it is there and complete.
    fn take(&self, bytes: &mut Vec<u8>) -> Option<Status> {
        let mut state = self.state.lock();
        let record = *state.records.front().filter(|record| record.status != Status::Busy)?;
        bytes.resize(record.len as usize, 0);
        if record.status == Status::Committed {
            let read = self.memory.window().read(self.addr(record.at), bytes);
            read.expect("a ring buffer stays mapped, and a record in it");
        }
        state.records.pop_front();
        state.consumed = state.records.front().map_or(state.produced, |next| next.at);
        Some(record.status)
    }

    /// The guest address of the bytes of a record whose header is at a position.
    fn addr(&self, at: u64) -> u32 {
        // The size is a power of two, and both copies of the buffer lie in the window.
        self.start + (at & u64::from(self.bytes - 1)) as u32 + HEADER_BYTES as u32
    }

    /// The record that is reserved at an address.
    fn busy<'a>(&self, state: &'a mut State, addr: u32) -> Option<&'a mut Record> {
        let offset = u64::from(addr.checked_sub(self.start)?).checked_sub(HEADER_BYTES)?;
        // The last position before the producer that has this offset.
        let mask = u64::from(self.bytes - 1);
        let behind = state.produced.wrapping_sub(1).wrapping_sub(offset) & mask;
        let at = state.produced.checked_sub(1)?.checked_sub(behind)?;
        let place = state.records.binary_search_by_key(&at, |record| record.at).ok()?;
        state.records.get_mut(place).filter(|record| record.status == Status::Busy)
    }
}

impl State {
    fn is_ready(&self) -> bool {
        self.records.front().is_some_and(|record| record.status != Status::Busy)
    }
}

impl Drop for RingBuffer {
    fn drop(&mut self) {
        self.memory.free(self.start);
    }
}

/// `BPF_MAP_TYPE_RINGBUF`. It has no elements.
#[derive(Debug)]
pub(super) struct RingBufferMap {
    spec: MapSpec,
    rights: HostRights,
    ring: RingBuffer,
}

impl RingBufferMap {
    /// An empty buffer.
    pub(super) fn new(machine: &Machine, spec: MapSpec) -> Result<RingBufferMap, MapError> {
        rules::check_ring_buffer(&spec)?;
        let memory = Arc::clone(machine.memory());
        let bytes = spec.max_entries;
        let start = memory.alloc_ring(bytes, Arc::clone(&spec.name))?;
        let state = Mutex::default();
        let ring = RingBuffer { memory, start, bytes, state, filled: Condvar::new() };
        Ok(RingBufferMap { rights: HostRights::new(&spec), spec, ring })
    }
}

impl Map for RingBufferMap {
    fn spec(&self) -> &MapSpec {
        &self.spec
    }

    fn rights(&self) -> &HostRights {
        &self.rights
    }

    fn update(&self, _: CpuIndex, _key: &[u8], _: Value<'_>, _flags: u64) -> Result<(), Errno> {
        Err(Errno::ENOTSUPP)
    }

    fn delete(&self, _key: &[u8]) -> Result<(), Errno> {
        Err(Errno::ENOTSUPP)
    }

    fn read(&self, _key: &[u8]) -> Result<Vec<u8>, Errno> {
        self.rights.read()?;
        Err(Errno::ENOTSUPP)
    }

    fn write(&self, _key: &[u8], _value: &[u8], flags: u64) -> Result<(), Errno> {
        let _writing = self.rights.write()?;
        rules::check_host_flags(flags)?;
        Err(Errno::ENOTSUPP)
    }

    fn remove(&self, _key: &[u8]) -> Result<(), Errno> {
        let _writing = self.rights.write()?;
        Err(Errno::ENOTSUPP)
    }

    fn next_key(&self, _key: Option<&[u8]>) -> Result<Option<Vec<u8>>, Errno> {
        self.rights.read()?;
        Err(Errno::ENOTSUPP)
    }

    fn ring_buffer(&self) -> Option<&RingBuffer> {
        Some(&self.ring)
    }
}
