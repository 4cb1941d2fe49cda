//! Maps: created, read, written, walked and frozen.
//!
//! The kernel takes the lengths of keys and values from the map, so each is checked here first.

use crate::attr::{self, object_name};
use crate::error::Call;
use crate::sys::MapFd;
use crate::uapi::{errno, map_type, update_flag};
use crate::{Btf, Error, Program, possible_cpus};

/// What a map is to be. Start from [`MapSpec::default`], which is all zeros.
#[derive(Clone, Copy, Debug, Default)]
pub struct MapSpec<'a> {
    /// The type, as in [`uapi::map_type`](crate::uapi::map_type).
    pub map_type: u32,
    /// Bytes per key; 0 for types without keys.
    pub key_size: u32,
    /// Bytes per value, of one CPU if the type is per CPU; 4 for maps of programs and maps.
    pub value_size: u32,
    /// How many entries fit; bytes for a ring buffer.
    pub max_entries: u32,
    /// Flags, as in [`uapi::map_flag`](crate::uapi::map_flag).
    pub flags: u32,
    /// The name: empty, or at most 15 letters, digits, `_` and `.`.
    pub name: &'a str,
    /// For maps of maps, a map like those that will be in it.
    pub inner: Option<&'a Map>,
    /// The types of keys and values, where the map type or a special field needs them.
    pub btf: Option<MapBtf<'a>>,
    /// The type's extra setting (`map_extra`), such as a Bloom filter's number of hashes.
    pub extra: u64,
}

/// The types of a map's keys and values.
#[derive(Clone, Copy, Debug)]
pub struct MapBtf<'a> {
    /// The BTF that has the types.
    pub btf: &'a Btf,
    /// The type of keys; 0 for none.
    pub key_type_id: u32,
    /// The type of values; 0 for none.
    pub value_type_id: u32,
}

/// A key and its value, as bytes.
pub type Entry = (Vec<u8>, Vec<u8>);

/// A map of the kernel, gone with this value unless a loaded program still uses it.
#[derive(Debug)]
pub struct Map {
    fd: MapFd,
    map_type: u32,
    value_size: u32,
}

impl Map {
    /// Creates a map (`BPF_MAP_CREATE`).
    ///
    /// # Errors
    ///
    /// The kernel's refusal; a name it could not keep; [`Error::Cpus`] for a per-CPU map when the
    /// number of CPUs is unknown; [`Error::MapType`] for types this crate does not know and
    /// [`Error::StructOps`] for the one it does not make.
    pub fn create(spec: &MapSpec<'_>) -> Result<Self, Error> {
        let mut attr = attr::MapCreate {
            map_type: spec.map_type,
            key_size: spec.key_size,
            value_size: spec.value_size,
            max_entries: spec.max_entries,
            map_flags: spec.flags,
            inner_map_fd: spec.inner.map_or(0, Self::fd),
            map_name: object_name(spec.name)?,
            btf_fd: spec.btf.map_or(0, |types| types.btf.fd()),
            btf_key_type_id: spec.btf.map_or(0, |types| types.key_type_id),
            btf_value_type_id: spec.btf.map_or(0, |types| types.value_type_id),
            map_extra: spec.extra,
            ..attr::MapCreate::default()
        };
        let fd = MapFd::create(&mut attr)?;
        Ok(Self { fd, map_type: spec.map_type, value_size: spec.value_size })
    }

    /// The number of the file descriptor, as instructions name the map; valid while `self` is.
    pub fn fd(&self) -> u32 {
        self.fd.number()
    }

    /// The map's type, as in [`uapi::map_type`](crate::uapi::map_type).
    pub const fn map_type(&self) -> u32 {
        self.map_type
    }

    /// Bytes per key.
    pub const fn key_len(&self) -> usize {
        self.fd.key_len()
    }

    /// Bytes per value as [`Map::lookup`] and [`Map::update`] see it: for per-CPU maps the value
    /// size rounded up to a multiple of eight, times [`possible_cpus`].
    pub const fn value_len(&self) -> usize {
        self.fd.value_len()
    }

    /// The value of a key, or nothing if the map has no such key; all CPUs' values one after
    /// another for a per-CPU map, an id for a map of programs or maps.
    ///
    /// # Errors
    ///
    /// A key of the wrong length, or a refusal of the kernel other than `ENOENT`.
    pub fn lookup(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        let mut value = vec![0; self.value_len()];
        Ok(self.lookup_into(key, &mut value, 0)?.then_some(value))
    }

    /// As [`Map::lookup`], into a buffer of [`Map::value_len`] bytes and with flags; says whether
    /// there is such a key. For a Bloom filter `value` is what to look for.
    ///
    /// # Errors
    ///
    /// As [`Map::lookup`], and [`Error::ValueLength`].
    pub fn lookup_into(&self, key: &[u8], value: &mut [u8], flags: u64) -> Result<bool, Error> {
        self.check_key(key)?;
        self.check_value(value)?;
        found(Call::MapLookup, self.fd.lookup(Call::MapLookup, key, value, flags))
    }

    /// The values of a key in a per-CPU map, one for each CPU, each of the map's value size; or
    /// nothing if the map has no such key. For other maps there is just one value.
    ///
    /// # Errors
    ///
    /// As [`Map::lookup`].
    pub fn lookup_per_cpu(&self, key: &[u8]) -> Result<Option<Vec<Vec<u8>>>, Error> {
        let Some(values) = self.lookup(key)? else { return Ok(None) };
        if !is_per_cpu(self.map_type) {
            return Ok(Some(vec![values]));
        }
        let size = self.value_size as usize;
        let stride = size.next_multiple_of(8).max(1);
        Ok(Some(values.chunks(stride).map(|value| value[..size].to_vec()).collect()))
    }

    /// Looks a key up and removes it (`BPF_MAP_LOOKUP_AND_DELETE_ELEM`); for a queue or a stack,
    /// whose keys are empty, takes the next value.
    ///
    /// # Errors
    ///
    /// As [`Map::lookup`].
    pub fn take(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        self.check_key(key)?;
        let mut value = vec![0; self.value_len()];
        let taken = self.fd.lookup(Call::MapTake, key, &mut value, 0);
        Ok(found(Call::MapTake, taken)?.then_some(value))
    }

    /// Sets the value of a key, with flags as in
    /// [`uapi::update_flag`](crate::uapi::update_flag). For a per-CPU map the value has all CPUs'
    /// values one after another, [`Map::value_len`] bytes in all.
    ///
    /// # Errors
    ///
    /// A key or value of the wrong length, or the kernel's refusal.
    pub fn update(&self, key: &[u8], value: &[u8], flags: u64) -> Result<(), Error> {
        self.check_key(key)?;
        self.check_value(value)?;
        self.fd.update(key, value, flags).map_err(refused(Call::MapUpdate))
    }

    /// Sets the value of a key on all CPUs of a per-CPU map to `value`, of the map's value size.
    /// For other maps this is [`Map::update`].
    ///
    /// # Errors
    ///
    /// As [`Map::update`].
    pub fn update_all_cpus(&self, key: &[u8], value: &[u8], flags: u64) -> Result<(), Error> {
        if !is_per_cpu(self.map_type) {
            return self.update(key, value, flags);
        }
        let size = self.value_size as usize;
        if value.len() != size {
            return Err(Error::ValueLength { needed: size, found: value.len() });
        }
        let mut values = vec![0; self.value_len()];
        for part in values.chunks_exact_mut(size.next_multiple_of(8).max(1)) {
            part[..size].copy_from_slice(value);
        }
        self.update(key, &values, flags)
    }

    /// Puts a program into a map of programs.
    ///
    /// # Errors
    ///
    /// As [`Map::update`].
    pub fn update_program(&self, key: &[u8], program: &Program) -> Result<(), Error> {
        self.update(key, &program.fd().to_ne_bytes(), update_flag::ANY)
    }

    /// Puts a map into a map of maps.
    ///
    /// # Errors
    ///
    /// As [`Map::update`].
    pub fn update_map(&self, key: &[u8], map: &Self) -> Result<(), Error> {
        self.update(key, &map.fd().to_ne_bytes(), update_flag::ANY)
    }

    /// Removes a key; says whether it was there.
    ///
    /// # Errors
    ///
    /// A key of the wrong length, or a refusal of the kernel other than `ENOENT`.
    pub fn delete(&self, key: &[u8]) -> Result<bool, Error> {
        self.check_key(key)?;
        found(Call::MapDelete, self.fd.delete(key))
    }

    /// The key after `key`, the first one for `None`, nothing after the last. After a key that is
    /// not in the map the kernel starts again with the first.
    ///
    /// # Errors
    ///
    /// A key of the wrong length, or a refusal of the kernel other than `ENOENT`.
    pub fn next_key(&self, key: Option<&[u8]>) -> Result<Option<Vec<u8>>, Error> {
        key.map_or(Ok(()), |key| self.check_key(key))?;
        let mut next = vec![0; self.key_len()];
        Ok(found(Call::MapNextKey, self.fd.next_key(key, &mut next))?.then_some(next))
    }

    /// All keys with their values, in the kernel's order. The map must not change meanwhile.
    ///
    /// # Errors
    ///
    /// As [`Map::lookup`] and [`Map::next_key`]. A key without a value is left out.
    pub fn entries(&self) -> Result<Vec<Entry>, Error> {
        let mut entries = Vec::new();
        let mut next = self.next_key(None)?;
        while let Some(key) = next {
            next = self.next_key(Some(&key))?;
            if let Some(value) = self.lookup(&key)? {
                entries.push((key, value));
            }
        }
        Ok(entries)
    }

    /// Forbids user space to write to the map from now on (`BPF_MAP_FREEZE`); the verifier then
    /// reads values of a map that programs cannot write either as constants.
    ///
    /// # Errors
    ///
    /// The kernel's refusal.
    pub fn freeze(&self) -> Result<(), Error> {
        self.fd.freeze().map_err(refused(Call::MapFreeze))
    }

    fn check_key(&self, key: &[u8]) -> Result<(), Error> {
        let needed = self.key_len();
        let found = key.len();
        if found == needed { Ok(()) } else { Err(Error::KeyLength { needed, found }) }
    }

    fn check_value(&self, value: &[u8]) -> Result<(), Error> {
        let needed = self.value_len();
        let found = value.len();
        if found == needed { Ok(()) } else { Err(Error::ValueLength { needed, found }) }
    }
}

/// Bytes that the kernel copies for one value (`bpf_map_value_size` in `kernel/bpf/syscall.c`); an
/// error for types of which this is not known, since too small a buffer would be overrun.
pub(crate) fn user_value_len(map_type: u32, value_size: u32) -> Result<usize, Error> {
    let size = value_size as usize;
    match map_type {
        map_type::STRUCT_OPS => Err(Error::StructOps),
        unknown if unknown > map_type::ARENA => Err(Error::MapType { map_type: unknown }),
        known if is_per_cpu(known) => {
            let cpus = possible_cpus()?;
            let padded = size.checked_next_multiple_of(8);
            padded
                .and_then(|size| size.checked_mul(cpus))
                .filter(|&size| isize::try_from(size).is_ok())
                .ok_or(Error::TooLong { len: size })
        }
        _ => Ok(size),
    }
}

/// Whether user space sees one value for each CPU.
const fn is_per_cpu(map_type: u32) -> bool {
    matches!(
        map_type,
        map_type::PERCPU_HASH
            | map_type::PERCPU_ARRAY
            | map_type::LRU_PERCPU_HASH
            | map_type::PERCPU_CGROUP_STORAGE
    )
}

/// Adds the call to an error number.
pub(crate) fn refused(call: Call) -> impl FnOnce(i32) -> Error {
    move |errno| Error::Kernel { call, errno }
}

/// Turns `ENOENT` into "not there".
fn found(call: Call, result: Result<(), i32>) -> Result<bool, Error> {
    match result {
        Ok(()) => Ok(true),
        Err(errno::ENOENT) => Ok(false),
        Err(errno) => Err(Error::Kernel { call, errno }),
    }
}
