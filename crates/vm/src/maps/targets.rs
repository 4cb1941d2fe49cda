//! What XDP programs redirect packets to: interfaces, processors, AF_XDP sockets.
//!
//! The host puts targets in; a program that redirects to one says so in its context after the
//! run, and the host does what it will. Programs can look entries of some types up, which are
//! theirs to read. Results and errors: Linux, `kernel/bpf/devmap.c` and `cpumap.c`,
//! `net/xdp/xskmap.c`.

use std::sync::atomic::{AtomicU8, Ordering};

use skep_bpf::platform::{MapFlags, MapType};

use super::array::{next_index, read_index};
use super::rules::{self, Expect, HostRights};
use super::table::{Present, Table};
use super::values::{Layout, Values};
use super::{CpuIndex, Map, MapSpec, Value};
use crate::errno::Errno;
use crate::machine::{Machine, MapError};
use crate::memory::zeroed;

/// The longest queue of a processor's.
const LONGEST_QUEUE: u32 = 16384;

/// `BPF_MAP_TYPE_DEVMAP`, `BPF_MAP_TYPE_CPUMAP` and `BPF_MAP_TYPE_XSKMAP`. The value of an
/// interface is its index, that of a processor the length of its queue; of a socket, where the
/// kernel takes a file descriptor, it is the number of its queue.
#[derive(Debug)]
pub(super) struct Targets {
    spec: MapSpec,
    rights: HostRights,
    values: Values,
    /// Whether there is something at an index.
    present: Box<[AtomicU8]>,
    cpus: u32,
}

impl Targets {
    /// An empty map.
    pub(super) fn new(machine: &Machine, spec: MapSpec) -> Result<Targets, MapError> {
        rules::check_targets(&spec)?;
        let values = Values::new(machine, &read_only(&spec), spec.max_entries, Layout::Shared)?;
        let present = zeroed(spec.max_entries as usize);
        let (rights, cpus) = (HostRights::new(&spec), machine.host().cpus);
        Ok(Targets { spec, rights, values, present, cpus })
    }

    fn slot(&self, key: &[u8]) -> Option<(u32, &AtomicU8)> {
        let index = read_index(key)?;
        Some((index, self.present.get(index as usize)?))
    }

    fn find(&self, key: &[u8]) -> Option<u32> {
        let (index, present) = self.slot(key)?;
        (present.load(Ordering::Acquire) != 0).then_some(index)
    }

    /// Whether the value is one; false if it empties the slot.
    fn check_value(&self, index: u32, value: &[u8]) -> Result<bool, Errno> {
        let first = first_word(&self.spec, value)?;
        match self.spec.map_type {
            MapType::CPUMAP if first > LONGEST_QUEUE => Err(Errno::EOVERFLOW),
            MapType::CPUMAP if index >= self.cpus => Err(Errno::ENODEV),
            MapType::XSKMAP => Ok(true),
            _ => check_program(value).map(|()| first != 0),
        }
    }
}

/// Values as programs see them.
fn read_only(spec: &MapSpec) -> MapSpec {
    MapSpec { flags: spec.flags | MapFlags::RDONLY_PROG, ..spec.clone() }
}

/// The first four bytes of a value, which has the map's size.
fn first_word(spec: &MapSpec, value: &[u8]) -> Result<u32, Errno> {
    if value.len() != spec.value_bytes as usize {
        return Err(Errno::EINVAL);
    }
    let word = value.first_chunk().ok_or(Errno::EINVAL)?;
    Ok(u32::from_le_bytes(*word))
}

/// The second four bytes are a program's file descriptor in the kernel, of which there are none.
fn check_program(value: &[u8]) -> Result<(), Errno> {
    let descriptor = value.get(4..8).and_then(|bytes| bytes.try_into().ok());
    match descriptor.map(i32::from_le_bytes) {
        Some(1..) => Err(Errno::EINVAL),
        Some(_) | None => Ok(()),
    }
}

impl Map for Targets {
    fn spec(&self) -> &MapSpec {
        &self.spec
    }

    fn rights(&self) -> &HostRights {
        &self.rights
    }

    fn lookup(&self, _cpu: CpuIndex, key: &[u8]) -> Option<u32> {
        self.values.addr(0, self.find(key)?)
    }

    /// Programs cannot change the map (the verifier refuses it).
    fn update(&self, _: CpuIndex, _key: &[u8], _: Value<'_>, _flags: u64) -> Result<(), Errno> {
        Err(Errno::EPERM)
    }

    /// Programs cannot change the map (the verifier refuses it).
    fn delete(&self, _key: &[u8]) -> Result<(), Errno> {
        Err(Errno::EPERM)
    }

    fn read(&self, key: &[u8]) -> Result<Vec<u8>, Errno> {
        self.rights.read()?;
        rules::check_key(&self.spec, key)?;
        if self.spec.map_type == MapType::XSKMAP {
            return Err(Errno::EOPNOTSUPP);
        }
        self.values.get_all(self.find(key).ok_or(Errno::ENOENT)?)
    }

    fn write(&self, key: &[u8], value: &[u8], flags: u64) -> Result<(), Errno> {
        let _writing = self.rights.write()?;
        rules::check_host_flags(flags)?;
        rules::check_key(&self.spec, key)?;
        let expect = Expect::from_flags(flags)?;
        let (index, present) = self.slot(key).ok_or(Errno::E2BIG)?;
        let sockets = self.spec.map_type == MapType::XSKMAP;
        let occupied = present.load(Ordering::Acquire) != 0;
        match expect {
            // Interfaces and processors are there whether the slot is filled or not.
            Expect::Absent if !sockets || occupied => return Err(Errno::EEXIST),
            Expect::Present if sockets && !occupied => return Err(Errno::ENOENT),
            Expect::Any | Expect::Absent | Expect::Present => {}
        }
        let fills = self.check_value(index, value)?;
        if fills {
            self.values.set_all(index, value)?;
        }
        present.store(fills.into(), Ordering::Release);
        Ok(())
    }

    fn remove(&self, key: &[u8]) -> Result<(), Errno> {
        let _writing = self.rights.write()?;
        rules::check_key(&self.spec, key)?;
        let (_, present) = self.slot(key).ok_or(Errno::EINVAL)?;
        present.store(0, Ordering::Release);
        Ok(())
    }

    fn next_key(&self, key: Option<&[u8]>) -> Result<Option<Vec<u8>>, Errno> {
        self.rights.read()?;
        next_index(&self.spec, key)
    }
}

/// `BPF_MAP_TYPE_DEVMAP_HASH`: interfaces under any numbers.
#[derive(Debug)]
pub(super) struct InterfaceHash {
    spec: MapSpec,
    rights: HostRights,
    table: Table,
    values: Values,
}

impl InterfaceHash {
    /// An empty map.
    pub(super) fn new(machine: &Machine, spec: MapSpec) -> Result<InterfaceHash, MapError> {
        rules::check_targets(&spec)?;
        let table = Table::new(&spec, Layout::Shared, machine.epochs().clone())?;
        let values = Values::new(machine, &read_only(&spec), table.elements(), Layout::Shared)?;
        Ok(InterfaceHash { rights: HostRights::new(&spec), table, values, spec })
    }
}

impl Map for InterfaceHash {
    fn spec(&self) -> &MapSpec {
        &self.spec
    }

    fn rights(&self) -> &HostRights {
        &self.rights
    }

    fn lookup(&self, _cpu: CpuIndex, key: &[u8]) -> Option<u32> {
        self.values.addr(0, self.table.find(key)?)
    }

    /// Programs cannot change the map (the verifier refuses it).
    fn update(&self, _: CpuIndex, _key: &[u8], _: Value<'_>, _flags: u64) -> Result<(), Errno> {
        Err(Errno::EPERM)
    }

    /// Programs cannot change the map (the verifier refuses it).
    fn delete(&self, _key: &[u8]) -> Result<(), Errno> {
        Err(Errno::EPERM)
    }

    fn read(&self, key: &[u8]) -> Result<Vec<u8>, Errno> {
        self.rights.read()?;
        rules::check_key(&self.spec, key)?;
        self.table.with(key, |element| self.values.get_all(element)).ok_or(Errno::ENOENT)?
    }

    fn write(&self, key: &[u8], value: &[u8], flags: u64) -> Result<(), Errno> {
        let _writing = self.rights.write()?;
        rules::check_host_flags(flags)?;
        rules::check_key(&self.spec, key)?;
        // That an element must be there already is not asked.
        let expect = match Expect::from_flags(flags)? {
            Expect::Absent => Expect::Absent,
            Expect::Any | Expect::Present => Expect::Any,
        };
        if first_word(&self.spec, value)? == 0 {
            return Err(Errno::EINVAL);
        }
        self.table.put(key, expect, Present::Replace, |target| {
            check_program(value)?;
            self.values.set_all(target.element, value)
        })
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
}
