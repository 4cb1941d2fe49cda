//! Arrays of perf events: records from programs to the host, a buffer for each processor.
//!
//! The host opens an event at an index, for a processor; a program that runs there then writes
//! records to it. Nothing of this lies in guest memory. Behaviour: Linux, `bpf_perf_event_output`
//! (`kernel/trace/bpf_trace.c`) and `kernel/events/ring_buffer.c`.

use std::collections::{BTreeMap, VecDeque};

use parking_lot::Mutex;

use super::array::{index_in, next_index};
use super::rules::{self, HostRights};
use super::{CpuIndex, Map, MapSpec};
use crate::errno::Errno;
use crate::machine::MapError;

/// What a record takes beside its bytes: its header and their number.
const HEADER_BYTES: usize = 12;

/// The events that are open, by index.
#[derive(Debug)]
pub struct PerfEvents {
    max_entries: u32,
    open: Mutex<BTreeMap<u32, Event>>,
}

/// An event that records are written to.
#[derive(Debug)]
struct Event {
    cpu: CpuIndex,
    /// What its buffer holds at most, headers included.
    capacity: usize,
    used: usize,
    records: VecDeque<Box<[u8]>>,
    lost: u64,
}

impl PerfEvents {
    /// Opens an event for what programs on a processor write, in place of one that is open at the
    /// index. Its buffer has so many bytes; a record takes twelve more than it has, rounded up to
    /// a multiple of eight.
    ///
    /// # Errors
    ///
    /// `E2BIG` if the index is out of range.
    pub fn open(&self, index: u32, cpu: CpuIndex, capacity: usize) -> Result<(), Errno> {
        if index >= self.max_entries {
            return Err(Errno::E2BIG);
        }
        let event = Event { cpu, capacity, used: 0, records: VecDeque::new(), lost: 0 };
        self.open.lock().insert(index, event);
        Ok(())
    }

    /// Closes an event. False if none is open at the index.
    pub fn close(&self, index: u32) -> bool {
        self.open.lock().remove(&index).is_some()
    }

    /// Writes a record for a program on a processor.
    ///
    /// # Errors
    ///
    /// `E2BIG` if the index is out of range, `ENOENT` if no event is open there, `EOPNOTSUPP` if
    /// it is for another processor, `ENOSPC` if its buffer is full.
    pub(crate) fn write(&self, index: u32, cpu: CpuIndex, record: &[u8]) -> Result<(), Errno> {
        if index >= self.max_entries {
            return Err(Errno::E2BIG);
        }
        let mut open = self.open.lock();
        let event = open.get_mut(&index).ok_or(Errno::ENOENT)?;
        if event.cpu != cpu {
            return Err(Errno::EOPNOTSUPP);
        }
        let takes = room(record);
        if event.used + takes > event.capacity {
            event.lost += 1;
            return Err(Errno::ENOSPC);
        }
        event.used += takes;
        event.records.push_back(record.into());
        Ok(())
    }

    /// Takes the records of the event at an index and shows each to a function. Gives how many
    /// were lost since it was last asked, for want of room; none if no event is open there.
    pub fn consume(&self, index: u32, see: impl FnMut(&[u8])) -> Option<u64> {
        let (records, lost) = {
            let mut open = self.open.lock();
            let event = open.get_mut(&index)?;
            event.used = 0;
            (std::mem::take(&mut event.records), std::mem::take(&mut event.lost))
        };
        records.iter().map(|record| &**record).for_each(see);
        Some(lost)
    }

    /// The indices at which events are open, with the processor that each is for.
    #[must_use]
    pub fn opened(&self) -> Vec<(u32, CpuIndex)> {
        self.open.lock().iter().map(|(index, event)| (*index, event.cpu)).collect()
    }
}

fn room(record: &[u8]) -> usize {
    (HEADER_BYTES + record.len()).next_multiple_of(8)
}

/// `BPF_MAP_TYPE_PERF_EVENT_ARRAY`
#[derive(Debug)]
pub(super) struct PerfEventArray {
    spec: MapSpec,
    rights: HostRights,
    events: PerfEvents,
}

impl PerfEventArray {
    /// An array in which no event is open.
    pub(super) fn new(spec: MapSpec) -> Result<PerfEventArray, MapError> {
        rules::check_array(&spec)?;
        let events = PerfEvents { max_entries: spec.max_entries, open: Mutex::default() };
        Ok(PerfEventArray { rights: HostRights::new(&spec), spec, events })
    }
}

impl Map for PerfEventArray {
    fn spec(&self) -> &MapSpec {
        &self.spec
    }

    fn rights(&self) -> &HostRights {
        &self.rights
    }

    fn read(&self, key: &[u8]) -> Result<Vec<u8>, Errno> {
        self.rights.read()?;
        rules::check_key(&self.spec, key)?;
        Err(Errno::ENOTSUPP)
    }

    /// The kernel takes a file descriptor, of which there are none here: [`PerfEvents::open`] is
    /// the way in.
    fn write(&self, key: &[u8], _value: &[u8], flags: u64) -> Result<(), Errno> {
        let _writing = self.rights.write()?;
        if flags != 0 {
            return Err(Errno::EINVAL);
        }
        index_in(&self.spec, key)?;
        Err(Errno::EBADF)
    }

    fn remove(&self, key: &[u8]) -> Result<(), Errno> {
        let _writing = self.rights.write()?;
        let index = index_in(&self.spec, key)?;
        if self.events.close(index) { Ok(()) } else { Err(Errno::ENOENT) }
    }

    fn next_key(&self, key: Option<&[u8]>) -> Result<Option<Vec<u8>>, Errno> {
        self.rights.read()?;
        next_index(&self.spec, key)
    }

    fn perf_events(&self) -> Option<&PerfEvents> {
        Some(&self.events)
    }
}
