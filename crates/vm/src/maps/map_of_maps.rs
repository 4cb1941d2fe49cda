//! Maps of maps: under each key another map of the same machine, all of one kind.
//!
//! What a program looks up is what stands for the inner map in registers. Maps live as long as
//! their machine, so one that is replaced stays usable for those who have it.

use std::sync::atomic::{AtomicU64, Ordering};

use super::array::{next_index, read_index};
use super::rules::{self, Expect, HostRights};
use super::table::{Present, Table};
use super::values::Layout;
use super::{CpuIndex, Map, MapSpec};
use crate::errno::Errno;
use crate::machine::{Machine, MapError, MapId};
use crate::memory::zeroed;

/// A map that is put into another; made by [`Machine::set_inner_map`].
#[derive(Clone, Copy, Debug)]
pub struct Inner<'a> {
    /// Its number in the machine.
    pub(crate) id: MapId,
    /// What stands for it in registers.
    pub(crate) handle: u32,
    /// The map.
    pub(crate) map: &'a dyn Map,
}

/// Puts a map into a slot: its number in the upper, what stands for it in registers in the lower
/// half. An empty slot is zero.
fn store(slot: &AtomicU64, inner: Inner<'_>) {
    let value = (inner.id.index() as u64) << 32 | u64::from(inner.handle);
    slot.store(value, Ordering::Release);
}

/// What stands for the map in a slot.
fn handle(slot: &AtomicU64) -> Option<u32> {
    Some(slot.load(Ordering::Acquire) as u32).filter(|handle| *handle != 0)
}

/// The number of the map in a slot, as the kernel gives the map's id.
fn id(slot: &AtomicU64) -> Option<Vec<u8>> {
    let value = slot.load(Ordering::Acquire);
    (value != 0).then(|| ((value >> 32) as u32).to_le_bytes().to_vec())
}

/// Whether an inner map is of the kind that the outer one is for.
fn check_kind(spec: &MapSpec, inner: Inner<'_>) -> Result<(), Errno> {
    let wanted = spec.inner.as_deref();
    if wanted.is_some_and(|wanted| rules::is_like(wanted, inner.map.spec())) {
        Ok(())
    } else {
        Err(Errno::EINVAL)
    }
}

/// `BPF_MAP_TYPE_ARRAY_OF_MAPS`
#[derive(Debug)]
pub(super) struct ArrayOfMaps {
    spec: MapSpec,
    rights: HostRights,
    slots: Box<[AtomicU64]>,
}

impl ArrayOfMaps {
    /// An array of empty slots.
    pub(super) fn new(spec: MapSpec) -> Result<ArrayOfMaps, MapError> {
        rules::check_array(&spec)?;
        rules::check_inner(&spec)?;
        let slots = slots(spec.max_entries)?;
        Ok(ArrayOfMaps { rights: HostRights::new(&spec), spec, slots })
    }

    fn slot(&self, key: &[u8]) -> Option<&AtomicU64> {
        self.slots.get(read_index(key)? as usize)
    }
}

impl Map for ArrayOfMaps {
    fn spec(&self) -> &MapSpec {
        &self.spec
    }

    fn rights(&self) -> &HostRights {
        &self.rights
    }

    fn lookup(&self, _cpu: CpuIndex, key: &[u8]) -> Option<u32> {
        handle(self.slot(key)?)
    }

    /// The number of the map in its machine, where the kernel gives its id.
    fn read(&self, key: &[u8]) -> Result<Vec<u8>, Errno> {
        self.rights.read()?;
        rules::check_key(&self.spec, key)?;
        self.slot(key).and_then(id).ok_or(Errno::ENOENT)
    }

    /// The kernel takes a file descriptor, of which there are none here:
    /// [`Machine::set_inner_map`] is the way in.
    fn write(&self, key: &[u8], _value: &[u8], flags: u64) -> Result<(), Errno> {
        let _writing = self.rights.write()?;
        rules::check_key(&self.spec, key)?;
        if flags != 0 {
            return Err(Errno::EINVAL);
        }
        self.slot(key).ok_or(Errno::E2BIG)?;
        Err(Errno::EBADF)
    }

    fn remove(&self, key: &[u8]) -> Result<(), Errno> {
        let _writing = self.rights.write()?;
        rules::check_key(&self.spec, key)?;
        let slot = self.slot(key).ok_or(Errno::E2BIG)?;
        if slot.swap(0, Ordering::AcqRel) == 0 { Err(Errno::ENOENT) } else { Ok(()) }
    }

    fn next_key(&self, key: Option<&[u8]>) -> Result<Option<Vec<u8>>, Errno> {
        self.rights.read()?;
        next_index(&self.spec, key)
    }

    fn set_map(&self, key: &[u8], inner: Inner<'_>, flags: u64) -> Result<(), Errno> {
        let _writing = self.rights.write()?;
        rules::check_key(&self.spec, key)?;
        if flags != 0 {
            return Err(Errno::EINVAL);
        }
        let slot = self.slot(key).ok_or(Errno::E2BIG)?;
        check_kind(&self.spec, inner)?;
        store(slot, inner);
        Ok(())
    }
}

/// `BPF_MAP_TYPE_HASH_OF_MAPS`
#[derive(Debug)]
pub(super) struct HashOfMaps {
    spec: MapSpec,
    rights: HostRights,
    table: Table,
    /// By element.
    slots: Box<[AtomicU64]>,
}

impl HashOfMaps {
    /// An empty hash.
    pub(super) fn new(machine: &Machine, spec: MapSpec) -> Result<HashOfMaps, MapError> {
        rules::check_hash(&spec)?;
        rules::check_inner(&spec)?;
        let table = Table::new(&spec, Layout::Shared, machine.epochs().clone())?;
        let slots = slots(table.elements())?;
        Ok(HashOfMaps { rights: HostRights::new(&spec), table, slots, spec })
    }

    fn slot(&self, element: u32) -> Option<&AtomicU64> {
        self.slots.get(element as usize)
    }
}

impl Map for HashOfMaps {
    fn spec(&self) -> &MapSpec {
        &self.spec
    }

    fn rights(&self) -> &HostRights {
        &self.rights
    }

    fn lookup(&self, _cpu: CpuIndex, key: &[u8]) -> Option<u32> {
        handle(self.slot(self.table.find(key)?)?)
    }

    /// The number of the map in its machine, where the kernel gives its id.
    fn read(&self, key: &[u8]) -> Result<Vec<u8>, Errno> {
        self.rights.read()?;
        rules::check_key(&self.spec, key)?;
        let found = self.table.with(key, |element| self.slot(element).and_then(id));
        found.flatten().ok_or(Errno::ENOENT)
    }

    /// The kernel takes a file descriptor, of which there are none here:
    /// [`Machine::set_inner_map`] is the way in.
    fn write(&self, key: &[u8], _value: &[u8], flags: u64) -> Result<(), Errno> {
        let _writing = self.rights.write()?;
        rules::check_host_flags(flags)?;
        rules::check_key(&self.spec, key)?;
        Err(Errno::EBADF)
    }

    fn remove(&self, key: &[u8]) -> Result<(), Errno> {
        let _writing = self.rights.write()?;
        rules::check_key(&self.spec, key)?;
        self.table.remove(key)
    }

    fn next_key(&self, key: Option<&[u8]>) -> Result<Option<Vec<u8>>, Errno> {
        self.rights.read()?;
        if let Some(key) = key {
            rules::check_key(&self.spec, key)?;
        }
        Ok(self.table.next_key(key))
    }

    fn set_map(&self, key: &[u8], inner: Inner<'_>, flags: u64) -> Result<(), Errno> {
        let _writing = self.rights.write()?;
        rules::check_host_flags(flags)?;
        rules::check_key(&self.spec, key)?;
        check_kind(&self.spec, inner)?;
        let expect = Expect::from_flags(flags)?;
        self.table.put(key, expect, Present::Replace, |target| {
            store(self.slot(target.element).ok_or(Errno::ENOMEM)?, inner);
            Ok(())
        })
    }
}

/// Empty slots.
fn slots(count: u32) -> Result<Box<[AtomicU64]>, MapError> {
    // Asked first, since a refusal below could not be handled.
    let bytes = count as usize * size_of::<AtomicU64>();
    if Vec::<u8>::new().try_reserve_exact(bytes).is_err() {
        let what = format!("no memory for {count} entries");
        return Err(MapError::Invalid { what, errno: Errno::ENOMEM });
    }
    Ok(zeroed(count as usize))
}
