//! Maps of things that a machine does not have: sockets, control groups, call stacks.
//!
//! They can be made, so that programs that use them run, and are always empty, as they are in
//! Linux where there is none of these things. What the kernel takes a file descriptor for is
//! refused as a bad one.

use skep_bpf::platform::MapType;

use super::array::{next_index, read_index};
use super::rules::{self, HostRights};
use super::{CpuIndex, Map, MapSpec, Value};
use crate::errno::Errno;
use crate::machine::MapError;

/// A map that stays empty.
#[derive(Debug)]
pub(super) struct Absent {
    spec: MapSpec,
    rights: HostRights,
}

impl Absent {
    /// An empty map.
    pub(super) fn new(spec: MapSpec) -> Result<Absent, MapError> {
        match spec.map_type {
            MapType::SOCKMAP | MapType::SOCKHASH => rules::check_sockets(&spec)?,
            MapType::SK_STORAGE => rules::check_local_storage(&spec)?,
            MapType::STACK_TRACE => rules::check_stack_trace(&spec)?,
            _ => rules::check_array(&spec)?,
        }
        Ok(Absent { rights: HostRights::new(&spec), spec })
    }

    fn kind(&self) -> MapType {
        self.spec.map_type
    }

    fn has_indices(&self) -> bool {
        matches!(self.kind(), MapType::SOCKMAP | MapType::CGROUP_ARRAY)
    }

    fn buckets(&self) -> u64 {
        u64::from(self.spec.max_entries).next_power_of_two()
    }

    fn is_out_of_range(&self, key: &[u8]) -> bool {
        read_index(key).is_none_or(|index| index >= self.spec.max_entries)
    }
}

impl Map for Absent {
    fn spec(&self) -> &MapSpec {
        &self.spec
    }

    fn rights(&self) -> &HostRights {
        &self.rights
    }

    /// Programs have nothing to put in.
    fn update(&self, _: CpuIndex, _key: &[u8], _: Value<'_>, _flags: u64) -> Result<(), Errno> {
        Err(Errno::EOPNOTSUPP)
    }

    fn delete(&self, key: &[u8]) -> Result<(), Errno> {
        rules::check_key(&self.spec, key)?;
        Err(if self.kind() == MapType::SOCKMAP { Errno::EINVAL } else { Errno::ENOENT })
    }

    fn read(&self, key: &[u8]) -> Result<Vec<u8>, Errno> {
        self.rights.read()?;
        rules::check_key(&self.spec, key)?;
        let sockets = matches!(self.kind(), MapType::SOCKMAP | MapType::SOCKHASH);
        Err(match self.kind() {
            MapType::CGROUP_ARRAY => Errno::ENOTSUPP,
            MapType::SK_STORAGE => Errno::EBADF,
            // Sockets are shown as numbers of eight bytes.
            _ if sockets && self.spec.value_bytes != 8 => Errno::ENOSPC,
            _ => Errno::ENOENT,
        })
    }

    fn write(&self, key: &[u8], _value: &[u8], flags: u64) -> Result<(), Errno> {
        let _writing = self.rights.write()?;
        rules::check_host_flags(flags)?;
        rules::check_key(&self.spec, key)?;
        Err(match self.kind() {
            MapType::CGROUP_ARRAY if flags != 0 => Errno::EINVAL,
            MapType::CGROUP_ARRAY if self.is_out_of_range(key) => Errno::E2BIG,
            MapType::STACK_TRACE => Errno::EINVAL,
            _ => Errno::EBADF,
        })
    }

    fn take(&self, key: &[u8]) -> Result<Vec<u8>, Errno> {
        let refused = self.rights.cannot_take();
        match self.kind() {
            MapType::STACK_TRACE if refused == Err(Errno::ENOTSUPP) => self.read(key),
            _ => refused,
        }
    }

    fn remove(&self, key: &[u8]) -> Result<(), Errno> {
        let _writing = self.rights.write()?;
        rules::check_key(&self.spec, key)?;
        Err(match self.kind() {
            MapType::CGROUP_ARRAY if self.is_out_of_range(key) => Errno::E2BIG,
            // Their ids are numbers of buckets.
            MapType::STACK_TRACE
                if read_index(key).is_none_or(|id| u64::from(id) >= self.buckets()) =>
            {
                Errno::E2BIG
            }
            MapType::SOCKMAP => Errno::EINVAL,
            MapType::SK_STORAGE => Errno::EBADF,
            _ => Errno::ENOENT,
        })
    }

    fn next_key(&self, key: Option<&[u8]>) -> Result<Option<Vec<u8>>, Errno> {
        self.rights.read()?;
        if let Some(key) = key {
            rules::check_key(&self.spec, key)?;
        }
        match self.kind() {
            MapType::SK_STORAGE => Err(Errno::ENOTSUPP),
            _ if self.has_indices() => next_index(&self.spec, key),
            _ => Ok(None),
        }
    }
}
