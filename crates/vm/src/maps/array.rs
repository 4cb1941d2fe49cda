//! Arrays: values at indices, all of which always exist; one value for all processors or one each.
//! Global variables are arrays of one element.

use skep_bpf::op::Size;
use skep_bpf::platform::MapType;

use super::rules::{self, HostRights};
use super::values::{Layout, Values};
use super::{CpuIndex, Direct, Map, MapSpec, Value, Way};
use crate::errno::Errno;
use crate::machine::{Machine, MapError};
use crate::memory::{Fault, Window};

/// `BPF_MAP_TYPE_ARRAY` and `BPF_MAP_TYPE_PERCPU_ARRAY`.
#[derive(Debug)]
pub(super) struct Array {
    spec: MapSpec,
    rights: HostRights,
    values: Values,
}

impl Array {
    /// An array of zeros.
    pub(super) fn new(machine: &Machine, spec: MapSpec, layout: Layout) -> Result<Array, MapError> {
        rules::check_array(&spec)?;
        let values = Values::new(machine, &spec, spec.max_entries, layout)?;
        Ok(Array { rights: HostRights::new(&spec), values, spec })
    }

    fn index(&self, key: &[u8]) -> Option<u32> {
        read_index(key).filter(|index| *index < self.spec.max_entries)
    }

    /// The index that an update may write to.
    fn index_to_update(&self, key: &[u8], flags: u64) -> Result<u32, Errno> {
        rules::check_array_update(self.index(key), flags)
    }
}

impl Map for Array {
    fn spec(&self) -> &MapSpec {
        &self.spec
    }

    fn rights(&self) -> &HostRights {
        &self.rights
    }

    #[inline]
    fn lookup(&self, cpu: CpuIndex, key: &[u8]) -> Option<u32> {
        self.values.addr(cpu, self.index(key)?)
    }

    #[inline]
    fn lookup_at(&self, window: &Window, cpu: CpuIndex, key: u32) -> Result<Option<u32>, Fault> {
        let index = window.load(key, Size::W)? as u32;
        let exists = index < self.spec.max_entries;
        Ok(if exists { self.values.addr(cpu, index) } else { None })
    }

    fn direct(&self) -> Option<Direct<'_>> {
        let (start, stride, per_cpu) = self.values.places();
        Some(Direct(Way::Array { entries: self.spec.max_entries, start, stride, per_cpu }))
    }

    fn update(&self, cpu: CpuIndex, key: &[u8], value: Value<'_>, flags: u64) -> Result<(), Errno> {
        rules::program_may_write(&self.spec)?;
        self.values.set(cpu, self.index_to_update(key, flags)?, value)
    }

    fn delete(&self, _key: &[u8]) -> Result<(), Errno> {
        rules::program_may_write(&self.spec)?;
        Err(Errno::EINVAL)
    }

    fn host_value_bytes(&self) -> usize {
        self.values.host_bytes()
    }

    fn read(&self, key: &[u8]) -> Result<Vec<u8>, Errno> {
        self.rights.read()?;
        rules::check_key(&self.spec, key)?;
        self.values.get_all(self.index(key).ok_or(Errno::ENOENT)?)
    }

    fn write(&self, key: &[u8], value: &[u8], flags: u64) -> Result<(), Errno> {
        let _writing = self.rights.write()?;
        rules::check_host_flags(flags)?;
        rules::check_key(&self.spec, key)?;
        self.values.set_all(self.index_to_update(key, flags)?, value)
    }

    fn remove(&self, key: &[u8]) -> Result<(), Errno> {
        let _writing = self.rights.write()?;
        rules::check_key(&self.spec, key)?;
        Err(Errno::EINVAL)
    }

    fn next_key(&self, key: Option<&[u8]>) -> Result<Option<Vec<u8>>, Errno> {
        self.rights.read()?;
        next_index(&self.spec, key)
    }

    fn data_addr(&self) -> Option<u32> {
        let one = self.spec.map_type == MapType::ARRAY && self.spec.max_entries == 1;
        self.values.addr(0, 0).filter(|_| one)
    }
}

/// A key as an index; none if it has not four bytes.
#[inline]
pub(super) fn read_index(key: &[u8]) -> Option<u32> {
    key.try_into().ok().map(u32::from_le_bytes)
}

/// The index that a key is, if the map has an element of that index.
pub(super) fn index_in(spec: &MapSpec, key: &[u8]) -> Result<u32, Errno> {
    rules::check_key(spec, key)?;
    read_index(key).filter(|index| *index < spec.max_entries).ok_or(Errno::E2BIG)
}

/// The index after another; the first after none and after one that is out of range.
pub(super) fn next_index(spec: &MapSpec, key: Option<&[u8]>) -> Result<Option<Vec<u8>>, Errno> {
    let next = match key {
        None => 0,
        Some(key) => {
            rules::check_key(spec, key)?;
            let index = read_index(key).filter(|index| *index < spec.max_entries);
            index.map_or(0, |index| index + 1)
        }
    };
    Ok((next < spec.max_entries).then(|| next.to_le_bytes().to_vec()))
}
