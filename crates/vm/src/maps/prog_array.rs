//! Maps of programs, which tail calls continue in.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use parking_lot::RwLock;
use skep_bpf::platform::ProgType;

use super::array::{index_in, next_index};
use super::rules::{self, HostRights};
use super::{Map, MapSpec};
use crate::errno::Errno;
use crate::linked::Linked;
use crate::machine::MapError;

/// `BPF_MAP_TYPE_PROG_ARRAY`. Few of its slots are ever filled, so that it holds only those.
#[derive(Debug)]
pub(super) struct ProgArray {
    spec: MapSpec,
    rights: HostRights,
    programs: RwLock<BTreeMap<u32, Arc<Linked>>>,
    /// The type of program that it is for, once that is known.
    owner: OnceLock<ProgType>,
}

impl ProgArray {
    /// An array of empty slots.
    pub(super) fn new(spec: MapSpec) -> Result<ProgArray, MapError> {
        rules::check_array(&spec)?;
        let rights = HostRights::new(&spec);
        Ok(ProgArray { spec, rights, programs: RwLock::default(), owner: OnceLock::new() })
    }
}

impl Map for ProgArray {
    fn spec(&self) -> &MapSpec {
        &self.spec
    }

    fn rights(&self) -> &HostRights {
        &self.rights
    }

    /// The kernel gives the number of the program, which programs here have not: whether there is
    /// one is what can be learnt.
    fn read(&self, key: &[u8]) -> Result<Vec<u8>, Errno> {
        self.rights.read()?;
        let index = index_in(&self.spec, key).map_err(|_| Errno::ENOENT)?;
        match self.programs.read().get(&index) {
            Some(_) => Err(Errno::EOPNOTSUPP),
            None => Err(Errno::ENOENT),
        }
    }

    /// The kernel takes a file descriptor, of which there are none here: [`Map::set_program`] is
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
        self.programs.write().remove(&index).map(drop).ok_or(Errno::ENOENT)
    }

    fn next_key(&self, key: Option<&[u8]>) -> Result<Option<Vec<u8>>, Errno> {
        self.rights.read()?;
        next_index(&self.spec, key)
    }

    fn set_program(&self, key: &[u8], program: Arc<Linked>) -> Result<(), Errno> {
        let _writing = self.rights.write()?;
        let index = index_in(&self.spec, key)?;
        self.used_by(program.prog_type())?;
        self.programs.write().insert(index, program);
        Ok(())
    }

    fn program(&self, index: u32) -> Option<Arc<Linked>> {
        self.programs.read().get(&index).cloned()
    }

    fn used_by(&self, prog_type: ProgType) -> Result<(), Errno> {
        let owner = *self.owner.get_or_init(|| prog_type);
        if owner == prog_type { Ok(()) } else { Err(Errno::EINVAL) }
    }
}
