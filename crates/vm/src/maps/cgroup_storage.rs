//! Storage of control groups: a value for the group that a program is attached to.
//!
//! A machine is one group, to which all of its programs are attached, so that there is one value,
//! or one for each processor. The host finds it under the key that the kernel gives such storage:
//! the group's number, which is 1, and the type of attachment, which is 0.

use super::rules::{self, HostRights};
use super::values::{Layout, Values};
use super::{CpuIndex, Map, MapSpec};
use crate::errno::Errno;
use crate::machine::{Machine, MapError};

/// The number of the group.
const GROUP: u8 = 1;

/// `BPF_F_LOCK` and `BPF_EXIST`, the only flags that are known.
const KNOWN: u64 = 4 | 2;
const LOCK: u64 = 4;

/// `BPF_MAP_TYPE_CGROUP_STORAGE` and `BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE`
#[derive(Debug)]
pub(super) struct CgroupStorage {
    spec: MapSpec,
    rights: HostRights,
    values: Values,
}

impl CgroupStorage {
    /// A value of zeros.
    pub(super) fn new(
        machine: &Machine,
        spec: MapSpec,
        layout: Layout,
    ) -> Result<CgroupStorage, MapError> {
        rules::check_cgroup_storage(&spec)?;
        let values = Values::new(machine, &spec, 1, layout)?;
        Ok(CgroupStorage { rights: HostRights::new(&spec), values, spec })
    }

    /// The key of the one value.
    fn key(&self) -> Vec<u8> {
        let mut key = vec![0; self.spec.key_bytes as usize];
        key[0] = GROUP;
        key
    }

    fn find(&self, key: &[u8]) -> Result<(), Errno> {
        rules::check_key(&self.spec, key)?;
        if key == self.key() { Ok(()) } else { Err(Errno::ENOENT) }
    }
}

impl Map for CgroupStorage {
    fn spec(&self) -> &MapSpec {
        &self.spec
    }

    fn rights(&self) -> &HostRights {
        &self.rights
    }

    fn local_storage(&self, cpu: CpuIndex) -> Option<u32> {
        self.values.addr(cpu, 0)
    }

    fn host_value_bytes(&self) -> usize {
        self.values.host_bytes()
    }

    fn read(&self, key: &[u8]) -> Result<Vec<u8>, Errno> {
        self.rights.read()?;
        self.find(key)?;
        self.values.get_all(0)
    }

    fn write(&self, key: &[u8], value: &[u8], flags: u64) -> Result<(), Errno> {
        let _writing = self.rights.write()?;
        if flags & !KNOWN != 0 || flags & LOCK != 0 {
            return Err(Errno::EINVAL);
        }
        self.find(key)?;
        self.values.set_all(0, value)
    }

    fn remove(&self, key: &[u8]) -> Result<(), Errno> {
        let _writing = self.rights.write()?;
        rules::check_key(&self.spec, key)?;
        Err(Errno::EINVAL)
    }

    fn next_key(&self, key: Option<&[u8]>) -> Result<Option<Vec<u8>>, Errno> {
        self.rights.read()?;
        if let Some(key) = key {
            rules::check_key(&self.spec, key)?;
        }
        Ok(key.is_none().then(|| self.key()))
    }
}
