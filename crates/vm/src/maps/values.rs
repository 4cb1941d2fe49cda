//! Values of a map: where each lies in guest memory, and copying them in and out.
//!
//! Values never move. They start at multiples of eight bytes; of a per-CPU map, all values of one
//! processor lie together. Concurrent accesses may tear, as in the kernel.

use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;
use skep_bpf::platform::MapFlags;

use super::{MapSpec, Value};
use crate::errno::Errno;
use crate::machine::{Machine, MapError};
use crate::memory::{Fault, PAGE_BYTES, Perm, Window};
use crate::region::{AllocError, Memory, Purpose};

/// Values of processors lie this many bytes apart or a multiple of it, so that no two share a
/// cache line.
const CPU_ALIGN_BYTES: u64 = 64;

/// For whom there is a value in each element.
#[derive(Clone, Copy, Debug)]
pub(super) enum Layout {
    /// One for all processors.
    Shared,
    /// One for each of so many processors.
    PerCpu(u32),
}

impl Layout {
    fn cpus(self) -> u32 {
        match self {
            Layout::Shared => 1,
            Layout::PerCpu(cpus) => cpus,
        }
    }

    /// What an element takes in guest memory, in bytes.
    pub(super) fn element_bytes(self, value_bytes: u32) -> u64 {
        u64::from(value_bytes).next_multiple_of(8) * u64::from(self.cpus())
    }
}

/// The values of a map.
pub(super) struct Values {
    memory: Arc<Memory>,
    start: u32,
    value_bytes: u32,
    stride: u32,
    /// How many elements, rounded up where several processors have values.
    per_cpu: u32,
    layout: Layout,
    /// For values that programs may only read: held while a page is writable for the host.
    read_only: Option<Mutex<()>>,
}

impl fmt::Debug for Values {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Values").field("start", &self.start).finish_non_exhaustive()
    }
}

impl Values {
    /// Zeroed values for a number of elements and processors.
    pub(super) fn new(
        machine: &Machine,
        spec: &MapSpec,
        elements: u32,
        layout: Layout,
    ) -> Result<Values, MapError> {
        let memory = Arc::clone(machine.memory());
        let stride = u64::from(spec.value_bytes).next_multiple_of(8);
        let per_cpu = match layout {
            Layout::Shared => elements.into(),
            Layout::PerCpu(_) => u64::from(elements).next_multiple_of(CPU_ALIGN_BYTES / 8),
        };
        let needed = layout.element_bytes(spec.value_bytes).saturating_mul(per_cpu);
        let read_only = spec.flags.contains(MapFlags::RDONLY_PROG);
        let perm = if read_only { Perm::Read } else { Perm::ReadWrite };
        let purpose = Purpose::MapValues {
            map: Arc::clone(&spec.name),
            value_bytes: spec.value_bytes,
            stride_bytes: stride as u32,
        };
        // More than a u32 can say is more than the window has: the allocation says what is free.
        let len = u32::try_from(needed).unwrap_or(u32::MAX);
        let start = memory.alloc(len, perm, purpose).map_err(|error| match error {
            AllocError::Full { free, .. } => AllocError::Full { needed, free },
            other => other,
        })?;
        Ok(Values {
            memory,
            start,
            value_bytes: spec.value_bytes,
            stride: stride as u32,
            per_cpu: per_cpu as u32,
            layout,
            read_only: read_only.then(Mutex::default),
        })
    }

    /// The number of bytes of one processor's value as the host sees it.
    fn host_part_bytes(&self) -> u32 {
        match self.layout {
            Layout::Shared => self.value_bytes,
            Layout::PerCpu(_) => self.stride,
        }
    }

    /// The number of bytes of an element as the host sees it.
    pub(super) fn host_bytes(&self) -> usize {
        self.host_part_bytes() as usize * self.layout.cpus() as usize
    }

    fn at(&self, cpu: u32, element: u32) -> u32 {
        // All values lie in one area of the window, so this cannot overflow.
        self.start + (cpu * self.per_cpu + element) * self.stride
    }

    /// The guest address of the first value, the distance between two, and, if each processor
    /// has its own, how many processors there are and the distance between the values of two.
    pub(super) fn places(&self) -> (u32, u32, Option<(u32, u32)>) {
        let per_cpu = match self.layout {
            Layout::Shared => None,
            Layout::PerCpu(cpus) => Some((cpus, self.per_cpu * self.stride)),
        };
        (self.start, self.stride, per_cpu)
    }

    /// The guest address of the value that a processor sees in an element that exists; none if
    /// there is no such processor.
    #[inline]
    pub(super) fn addr(&self, cpu: u32, element: u32) -> Option<u32> {
        match self.layout {
            Layout::Shared => Some(self.at(0, element)),
            Layout::PerCpu(cpus) => (cpu < cpus).then(|| self.at(cpu, element)),
        }
    }

    /// Sets the value of one processor.
    pub(super) fn set(&self, cpu: u32, element: u32, value: Value<'_>) -> Result<(), Errno> {
        let to = self.addr(cpu, element).ok_or(Errno::EINVAL)?;
        let len = self.value_bytes;
        match value {
            Value::Guest(from) => self.store(to, len, |window| window.copy(from, to, len)),
            Value::Host(bytes) if bytes.len() == len as usize => {
                self.store(to, len, |window| window.write(to, bytes))
            }
            Value::Host(_) => Err(Errno::EINVAL),
        }
    }

    /// Sets the values of all processors from the host's form.
    pub(super) fn set_all(&self, element: u32, bytes: &[u8]) -> Result<(), Errno> {
        if bytes.len() != self.host_bytes() {
            return Err(Errno::EINVAL);
        }
        for (cpu, part) in (0..).zip(bytes.chunks(self.host_part_bytes() as usize)) {
            let to = self.at(cpu, element);
            self.store(to, part.len() as u32, |window| window.write(to, part))?;
        }
        Ok(())
    }

    /// Zeroes the values of all processors, padding included.
    pub(super) fn zero(&self, element: u32) -> Result<(), Errno> {
        for cpu in 0..self.layout.cpus() {
            let at = self.at(cpu, element);
            self.store(at, self.stride, |window| window.fill(at, self.stride, 0))?;
        }
        Ok(())
    }

    /// The values of all processors in the host's form.
    pub(super) fn get_all(&self, element: u32) -> Result<Vec<u8>, Errno> {
        let mut bytes = vec![0; self.host_bytes()];
        for (cpu, part) in (0..).zip(bytes.chunks_mut(self.host_part_bytes() as usize)) {
            self.memory.window().read(self.at(cpu, element), part).map_err(bad_address)?;
        }
        Ok(bytes)
    }

    /// Writes, where necessary through pages that are made writable for so long.
    fn store(
        &self,
        at: u32,
        len: u32,
        write: impl FnOnce(&Window) -> Result<(), Fault>,
    ) -> Result<(), Errno> {
        let window = self.memory.window();
        let Some(lock) = &self.read_only else {
            return write(window).map_err(bad_address);
        };
        let _guard = lock.lock();
        let first = at / PAGE_BYTES * PAGE_BYTES;
        let pages_bytes = (at - first + len).next_multiple_of(PAGE_BYTES);
        // The host refuses only if it cannot keep track of pages any more.
        window.protect(first, pages_bytes, Perm::ReadWrite).map_err(|_| Errno::ENOMEM)?;
        let written = write(window).map_err(bad_address);
        window.protect(first, pages_bytes, Perm::Read).map_err(|_| Errno::ENOMEM)?;
        written
    }
}

impl Drop for Values {
    fn drop(&mut self) {
        self.memory.free(self.start);
    }
}

fn bad_address(_: Fault) -> Errno {
    Errno::EFAULT
}
