//! Hashes: values under keys of any bytes; one value for all processors or one each. Some drop
//! what was used least recently when they are full.

use skep_bpf::platform::MapType;

use super::lru::Lru;
use super::rules::{self, Expect, HostRights};
use super::table::{Present, Short, Table, Target};
use super::values::{Layout, Values};
use super::{CpuIndex, Direct, Map, MapSpec, Value, Way};
use crate::errno::Errno;
use crate::machine::{Machine, MapError};
use crate::memory::{Fault, Window};

/// `BPF_MAP_TYPE_HASH` and `BPF_MAP_TYPE_PERCPU_HASH`, and both as `LRU`. Memory is committed as it is used, with or
/// without `BPF_F_NO_PREALLOC`.
#[derive(Debug)]
pub(crate) struct Hash {
    spec: MapSpec,
    rights: HostRights,
    layout: Layout,
    table: Table,
    values: Values,
    /// For those that drop elements when full.
    lru: Option<Lru>,
}

impl Hash {
    /// An empty hash.
    pub(super) fn new(machine: &Machine, spec: MapSpec, layout: Layout) -> Result<Hash, MapError> {
        rules::check_hash(&spec)?;
        let table = Table::new(&spec, layout, machine.epochs().clone())?;
        let values = Values::new(machine, &spec, table.elements(), layout)?;
        let drops = matches!(spec.map_type, MapType::LRU_HASH | MapType::LRU_PERCPU_HASH);
        let lru = drops.then(|| Lru::new(table.elements()));
        Ok(Hash { rights: HostRights::new(&spec), layout, table, values, lru, spec })
    }

    /// Sets a key, if need be in place of another.
    fn put(
        &self,
        key: &[u8],
        expect: Expect,
        write: impl Fn(Target) -> Result<(), Errno>,
    ) -> Result<(), Errno> {
        let Some(lru) = &self.lru else {
            return self.table.put(key, expect, self.present(), write);
        };
        loop {
            let mut came = None;
            let result = self.table.put(key, expect, self.present(), |target| {
                came = Some(target);
                write(target)
            });
            match (result, came) {
                (Ok(()), Some(Target { element, new: true })) => lru.begin(element),
                (Ok(()), Some(Target { element, new: false })) => lru.mark(element),
                (Err(Errno::E2BIG), None) => {
                    // None can be dropped while others take what was.
                    if !lru.evict(&self.table) {
                        std::thread::yield_now();
                    }
                    continue;
                }
                _ => {}
            }
            return result;
        }
    }

    /// The number of bytes of a key.
    pub(crate) fn key_bytes(&self) -> u32 {
        self.spec.key_bytes
    }

    /// As [`Map::lookup_at`], of a map whose keys have so many words of four bytes.
    #[inline(always)]
    pub(crate) fn lookup_words<const WORDS: usize>(
        &self,
        window: &Window,
        cpu: CpuIndex,
        key: u32,
    ) -> Result<Option<u32>, Fault> {
        // The value is fetched while the keys are compared.
        let soon = |element| {
            if let Some(value) = self.values.addr(cpu, element) {
                window.prefetch(value);
            }
        };
        let element = self.table.find_key_soon(&short::<WORDS>(window, key)?, soon);
        Ok(element.and_then(|element| self.found(cpu, element)))
    }

    /// The address of the value that a processor sees in an element that was looked up.
    #[inline]
    fn found(&self, cpu: CpuIndex, element: u32) -> Option<u32> {
        if let Some(lru) = &self.lru {
            lru.mark(element);
        }
        self.values.addr(cpu, element)
    }

    /// In the kernel an update gives a new element its value and then puts it in the old one's
    /// place, so that others see either; values of processors are written where they are.
    fn present(&self) -> Present {
        match self.layout {
            Layout::Shared => Present::Replace,
            Layout::PerCpu(_) => Present::Overwrite,
        }
    }
}

impl Map for Hash {
    fn spec(&self) -> &MapSpec {
        &self.spec
    }

    fn rights(&self) -> &HostRights {
        &self.rights
    }

    #[inline]
    fn lookup(&self, cpu: CpuIndex, key: &[u8]) -> Option<u32> {
        self.found(cpu, self.table.find(key)?)
    }

    fn lookup_at(&self, window: &Window, cpu: CpuIndex, key: u32) -> Result<Option<u32>, Fault> {
        match self.spec.key_bytes {
            4 => self.lookup_words::<1>(window, cpu, key),
            8 => self.lookup_words::<2>(window, cpu, key),
            12 => self.lookup_words::<3>(window, cpu, key),
            16 => self.lookup_words::<4>(window, cpu, key),
            _ => super::lookup_bytes_at(self, window, cpu, key),
        }
    }

    fn direct(&self) -> Option<Direct<'_>> {
        Some(Direct(Way::Hash(self)))
    }

    fn update(&self, cpu: CpuIndex, key: &[u8], value: Value<'_>, flags: u64) -> Result<(), Errno> {
        rules::program_may_write(&self.spec)?;
        let expect = Expect::from_flags(flags)?;
        rules::check_key(&self.spec, key)?;
        self.put(key, expect, |target| {
            if target.new && matches!(self.layout, Layout::PerCpu(_)) {
                self.values.zero(target.element)?;
            }
            self.values.set(cpu, target.element, value)
        })
    }

    fn delete(&self, key: &[u8]) -> Result<(), Errno> {
        rules::program_may_write(&self.spec)?;
        rules::check_key(&self.spec, key)?;
        self.table.remove(key)
    }

    fn host_value_bytes(&self) -> usize {
        self.values.host_bytes()
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
        let expect = Expect::from_flags(flags)?;
        self.put(key, expect, |target| self.values.set_all(target.element, value))
    }

    fn take(&self, key: &[u8]) -> Result<Vec<u8>, Errno> {
        self.rights.read()?;
        let _writing = self.rights.write()?;
        rules::check_key(&self.spec, key)?;
        self.table.take(key, |element| self.values.get_all(element))?
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

/// A key of so many words.
#[inline(always)]
fn short<const WORDS: usize>(window: &Window, at: u32) -> Result<Short<WORDS>, Fault> {
    let words = window.load_words::<WORDS>(at)?;
    Ok(Short::new(words))
}
