//! Queues and stacks: values in the order in which they came, or the other way round.
//!
//! Programs copy values in and out, so that nothing of this lies in guest memory. Behaviour:
//! Linux, `kernel/bpf/queue_stack_maps.c`. They have no keys: the host's are empty.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use skep_bpf::platform::MapType;

use super::rules::{self, HostRights};
use super::{Map, MapSpec, Value};
use crate::errno::Errno;
use crate::machine::{Machine, MapError};
use crate::region::Memory;

/// The most bytes of values: as many as guest memory has.
const MOST_BYTES: u64 = 1 << 32;
/// `BPF_NOEXIST`, which means nothing here.
const NOEXIST: u64 = 1;
/// `BPF_EXIST`: the oldest value makes room.
const EXIST: u64 = 2;

/// `BPF_MAP_TYPE_QUEUE` and `BPF_MAP_TYPE_STACK`
#[derive(Debug)]
pub(super) struct Queue {
    spec: MapSpec,
    rights: HostRights,
    memory: Arc<Memory>,
    /// Oldest first.
    values: Mutex<VecDeque<Box<[u8]>>>,
}

impl Queue {
    /// An empty queue or stack.
    pub(super) fn new(machine: &Machine, spec: MapSpec) -> Result<Queue, MapError> {
        rules::check_queue(&spec)?;
        // The kernel would need the memory now; here it is committed as it fills up.
        let bytes = (u64::from(spec.max_entries) + 1) * u64::from(spec.value_bytes);
        if bytes > MOST_BYTES {
            let what = format!("{bytes} bytes of values: at most {MOST_BYTES}");
            return Err(MapError::Invalid { what, errno: Errno::ENOMEM });
        }
        let memory = Arc::clone(machine.memory());
        Ok(Queue { rights: HostRights::new(&spec), spec, memory, values: Mutex::default() })
    }

    fn add(&self, value: Box<[u8]>, flags: u64) -> Result<(), Errno> {
        if flags & NOEXIST != 0 || flags > EXIST {
            return Err(Errno::EINVAL);
        }
        let mut values = self.values.lock();
        if values.len() >= self.spec.max_entries as usize {
            if flags & EXIST == 0 {
                return Err(Errno::E2BIG);
            }
            values.pop_front();
        }
        values.push_back(value);
        Ok(())
    }

    /// The next value; one that is removed is gone.
    fn next(&self, remove: bool) -> Result<Box<[u8]>, Errno> {
        let mut values = self.values.lock();
        let found = match (self.spec.map_type, remove) {
            (MapType::STACK, true) => values.pop_back(),
            (MapType::STACK, false) => values.back().cloned(),
            (_, true) => values.pop_front(),
            (_, false) => values.front().cloned(),
        };
        found.ok_or(Errno::ENOENT)
    }

    /// Copies the next value to a program, or zeros if there is none.
    fn give(&self, to: u32, remove: bool) -> Result<(), Errno> {
        let window = self.memory.window();
        let next = self.next(remove);
        let written = match &next {
            Ok(value) => window.write(to, value),
            Err(_) => window.fill(to, self.spec.value_bytes, 0),
        };
        written.map_err(|_| Errno::EFAULT)?;
        next.map(drop)
    }

    fn no_key(&self, key: &[u8]) -> Result<(), Errno> {
        rules::check_key(&self.spec, key)
    }
}

impl Map for Queue {
    fn spec(&self) -> &MapSpec {
        &self.spec
    }

    fn rights(&self) -> &HostRights {
        &self.rights
    }

    fn push(&self, value: Value<'_>, flags: u64) -> Result<(), Errno> {
        self.add(super::copy_value(&self.memory, &self.spec, value)?, flags)
    }

    fn pop(&self, to: u32) -> Result<(), Errno> {
        self.give(to, true)
    }

    fn peek(&self, at: u32) -> Result<(), Errno> {
        self.give(at, false)
    }

    /// The next value, which stays.
    fn read(&self, key: &[u8]) -> Result<Vec<u8>, Errno> {
        self.rights.read()?;
        self.no_key(key)?;
        self.next(false).map(Vec::from)
    }

    fn write(&self, key: &[u8], value: &[u8], flags: u64) -> Result<(), Errno> {
        let _writing = self.rights.write()?;
        rules::check_host_flags(flags)?;
        self.no_key(key)?;
        self.add(super::copy_value(&self.memory, &self.spec, Value::Host(value))?, flags)
    }

    fn take(&self, key: &[u8]) -> Result<Vec<u8>, Errno> {
        self.rights.read()?;
        let _writing = self.rights.write()?;
        self.no_key(key)?;
        self.next(true).map(Vec::from)
    }

    fn remove(&self, key: &[u8]) -> Result<(), Errno> {
        let _writing = self.rights.write()?;
        self.no_key(key)?;
        Err(Errno::EINVAL)
    }

    fn next_key(&self, _key: Option<&[u8]>) -> Result<Option<Vec<u8>>, Errno> {
        self.rights.read()?;
        Err(Errno::EINVAL)
    }
}
