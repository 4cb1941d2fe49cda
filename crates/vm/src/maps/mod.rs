//! Maps: what programs and their host share. One kind, one file.
//!
//! Values lie in guest memory, where programs reach them by the address that a lookup returned;
//! keys and bookkeeping lie outside. Results and error numbers are the kernel's.

use std::fmt::Debug;
use std::sync::Arc;

use skep_bpf::platform::{MapFlags, MapType, ProgType};

use crate::errno::Errno;
use crate::linked::Linked;
use crate::machine::{Machine, MapError};
use crate::memory::{Access, Fault, Window};
use crate::region::Memory;

mod absent;
mod array;
mod bloom_filter;
mod cgroup_storage;
mod direct;
mod hash;
mod lpm_trie;
mod lru;
mod map_of_maps;
mod perf_events;
mod pool;
mod prog_array;
mod queue;
mod ring_buffer;
mod rules;
mod table;
mod targets;
mod values;

pub use direct::Direct;
pub(crate) use direct::Way;
pub use map_of_maps::Inner;
pub use perf_events::PerfEvents;
pub(crate) use ring_buffer::{FORCE_WAKEUP, NO_WAKEUP};
pub use ring_buffer::{Query, RingBuffer};

use absent::Absent;
use array::Array;
use bloom_filter::BloomFilter;
use cgroup_storage::CgroupStorage;
pub(crate) use hash::Hash;
use lpm_trie::LpmTrie;
use map_of_maps::{ArrayOfMaps, HashOfMaps};
use perf_events::PerfEventArray;
use prog_array::ProgArray;
use queue::Queue;
use ring_buffer::RingBufferMap;
use rules::HostRights;
use targets::{InterfaceHash, Targets};
use values::Layout;

/// What a map is: the same facts that `BPF_MAP_CREATE` takes.
#[derive(Clone, PartialEq, Debug)]
pub struct MapSpec {
    /// The name, as long as the object has it.
    pub name: Arc<str>,
    /// The type.
    pub map_type: MapType,
    /// The size of a key in bytes.
    pub key_bytes: u32,
    /// The size of a value in bytes.
    pub value_bytes: u32,
    /// The number of elements, or what the type takes it for.
    pub max_entries: u32,
    /// Flags such as `BPF_F_NO_PREALLOC` and `BPF_F_RDONLY_PROG`.
    pub flags: MapFlags,
    /// `map_extra`: the number of hash functions of a Bloom filter, which has 5 for 0.
    pub extra: u64,
    /// What the maps in a map of maps look like.
    pub inner: Option<Box<MapSpec>>,
}

/// Where the bytes of a new value come from.
#[derive(Clone, Copy, Debug)]
pub enum Value<'a> {
    /// Guest memory at an address; the caller checked that it is readable.
    Guest(u32),
    /// The host.
    Host(&'a [u8]),
}

/// Keys up to this size are copied to the stack.
const SHORT_KEY_BYTES: usize = 64;

/// A processor's number, which selects the value of per-CPU maps.
pub type CpuIndex = u32;

/// What every kind of map can do. Operations of programs take the processor that the program
/// runs on; operations of the host see all processors' values. What few kinds can do is refused
/// unless a kind says otherwise.
pub trait Map: Send + Sync + Debug {
    /// What the map is.
    fn spec(&self) -> &MapSpec;

    /// What the host may do with the map.
    fn rights(&self) -> &HostRights;

    /// The guest address of the value that a program on a processor sees, if there is one. Kinds
    /// in which programs cannot look anything up, as the verifier sees to, find nothing.
    fn lookup(&self, _cpu: CpuIndex, _key: &[u8]) -> Option<u32> {
        None
    }

    /// As [`Map::lookup`], with a key in guest memory at an address.
    ///
    /// Programs write keys in words of four bytes or less. Kinds whose look-ups are frequent read
    /// them so: a longer load would have to wait for all of the stores it covers.
    ///
    /// # Errors
    ///
    /// If the key cannot be read.
    fn lookup_at(&self, window: &Window, cpu: CpuIndex, key: u32) -> Result<Option<u32>, Fault> {
        lookup_bytes_at(self, window, cpu, key)
    }

    /// How machine code can look up elements without asking the map.
    fn direct(&self) -> Option<Direct<'_>> {
        None
    }

    /// Sets the value that a program on a processor sees. `flags` as the helper takes them.
    ///
    /// # Errors
    ///
    /// The kernel's error numbers; `EINVAL` of kinds that programs cannot change.
    fn update(
        &self,
        _cpu: CpuIndex,
        _key: &[u8],
        _value: Value<'_>,
        _flags: u64,
    ) -> Result<(), Errno> {
        Err(Errno::EINVAL)
    }

    /// Deletes an element for a program.
    ///
    /// # Errors
    ///
    /// As [`Map::update`].
    fn delete(&self, _key: &[u8]) -> Result<(), Errno> {
        Err(Errno::EINVAL)
    }

    /// The number of bytes of an element that [`Map::read`] gives and [`Map::write`] takes.
    fn host_value_bytes(&self) -> usize {
        self.spec().value_bytes as usize
    }

    /// Reads an element as `BPF_MAP_LOOKUP_ELEM` does: of a per-CPU map the values of all
    /// processors, each padded to a multiple of eight bytes.
    ///
    /// # Errors
    ///
    /// The kernel's error numbers.
    fn read(&self, key: &[u8]) -> Result<Vec<u8>, Errno>;

    /// Writes an element as `BPF_MAP_UPDATE_ELEM` does, values of all processors as for `read`.
    ///
    /// # Errors
    ///
    /// The kernel's error numbers.
    fn write(&self, key: &[u8], value: &[u8], flags: u64) -> Result<(), Errno>;

    /// Deletes an element for the host, as `BPF_MAP_DELETE_ELEM` does.
    ///
    /// # Errors
    ///
    /// The kernel's error numbers.
    fn remove(&self, key: &[u8]) -> Result<(), Errno>;

    /// The key after another, or the first, as `BPF_MAP_GET_NEXT_KEY` gives it; none after the
    /// last.
    ///
    /// # Errors
    ///
    /// The kernel's error numbers.
    fn next_key(&self, key: Option<&[u8]>) -> Result<Option<Vec<u8>>, Errno>;

    /// Reads an element and removes it, as `BPF_MAP_LOOKUP_AND_DELETE_ELEM` does.
    ///
    /// # Errors
    ///
    /// The kernel's error numbers; `ENOTSUPP` for types that cannot.
    fn take(&self, _key: &[u8]) -> Result<Vec<u8>, Errno> {
        self.rights().cannot_take()
    }

    /// Adds a value to a queue, stack or set for a program (`bpf_map_push_elem`).
    ///
    /// # Errors
    ///
    /// The kernel's error numbers; `EOPNOTSUPP` for other types.
    fn push(&self, _value: Value<'_>, _flags: u64) -> Result<(), Errno> {
        Err(Errno::EOPNOTSUPP)
    }

    /// Moves the next value of a queue or stack to guest memory at an address
    /// (`bpf_map_pop_elem`).
    ///
    /// # Errors
    ///
    /// As [`Map::push`].
    fn pop(&self, _to: u32) -> Result<(), Errno> {
        Err(Errno::EOPNOTSUPP)
    }

    /// Copies the next value of a queue or stack to guest memory at an address, or says whether a
    /// set has the value there (`bpf_map_peek_elem`).
    ///
    /// # Errors
    ///
    /// As [`Map::push`].
    fn peek(&self, _at: u32) -> Result<(), Errno> {
        Err(Errno::EOPNOTSUPP)
    }

    /// The guest address of the value that belongs to what the program is attached to, as a
    /// processor sees it.
    fn local_storage(&self, _cpu: CpuIndex) -> Option<u32> {
        None
    }

    /// The records of a ring buffer.
    fn ring_buffer(&self) -> Option<&RingBuffer> {
        None
    }

    /// The records of an array of perf events.
    fn perf_events(&self) -> Option<&PerfEvents> {
        None
    }

    /// Puts a map into a map of maps; see [`Machine::set_inner_map`].
    ///
    /// # Errors
    ///
    /// `EINVAL` if the map is no map of maps or the other is not like those it is for, else the
    /// kernel's error numbers.
    fn set_map(&self, _key: &[u8], _inner: Inner<'_>, _flags: u64) -> Result<(), Errno> {
        Err(Errno::EINVAL)
    }

    /// The guest address of the value, for maps whose data `ld_imm64` can name: arrays of one
    /// element.
    fn data_addr(&self) -> Option<u32> {
        None
    }

    /// Puts a program into a slot of a map of programs.
    ///
    /// # Errors
    ///
    /// `EINVAL` if the map is no map of programs, else the kernel's error numbers.
    fn set_program(&self, _key: &[u8], _program: Arc<Linked>) -> Result<(), Errno> {
        Err(Errno::EINVAL)
    }

    /// The program in a slot of a map of programs.
    fn program(&self, _index: u32) -> Option<Arc<Linked>> {
        None
    }

    /// Tells the map that a program of a type refers to it or is to be put into it. The first such
    /// program decides for which type a map of programs is.
    ///
    /// # Errors
    ///
    /// `EINVAL` if the map is for programs of another type.
    fn used_by(&self, _prog_type: ProgType) -> Result<(), Errno> {
        Ok(())
    }

    /// Forbids all further writes by the host, as `BPF_MAP_FREEZE` does. Programs may still write
    /// unless the flags forbid it.
    ///
    /// # Errors
    ///
    /// The kernel's error numbers.
    fn freeze(&self) -> Result<(), Errno> {
        self.rights().freeze()
    }

    /// Whether the host was forbidden all further writes.
    fn is_frozen(&self) -> bool {
        self.rights().is_frozen()
    }
}

/// Copies a key out of guest memory and looks it up.
fn lookup_bytes_at<M: Map + ?Sized>(
    map: &M,
    window: &Window,
    cpu: CpuIndex,
    key: u32,
) -> Result<Option<u32>, Fault> {
    let key_bytes = map.spec().key_bytes;
    window.check(key, key_bytes, Access::Read)?;
    let mut short = [0; SHORT_KEY_BYTES];
    let mut long = Vec::new();
    let bytes = match short.get_mut(..key_bytes as usize) {
        Some(bytes) => bytes,
        None => {
            long.resize(key_bytes as usize, 0);
            &mut long[..]
        }
    };
    window.read(key, bytes)?;
    Ok(map.lookup(cpu, bytes))
}

/// Makes a map, if the kernel would.
type Make = fn(&Machine, MapSpec) -> Result<Arc<dyn Map>, MapError>;

/// The types that are implemented, and what makes a map of each.
const KINDS: &[(MapType, Make)] = &[
    (MapType::HASH, hash),
    (MapType::ARRAY, |machine, spec| Ok(Arc::new(Array::new(machine, spec, Layout::Shared)?))),
    (MapType::PROG_ARRAY, |_, spec| Ok(Arc::new(ProgArray::new(spec)?))),
    (MapType::PERF_EVENT_ARRAY, |_, spec| Ok(Arc::new(PerfEventArray::new(spec)?))),
    (MapType::PERCPU_HASH, hash),
    (MapType::PERCPU_ARRAY, |machine, spec| {
        let layout = Layout::PerCpu(machine.host().cpus);
        Ok(Arc::new(Array::new(machine, spec, layout)?))
    }),
    (MapType::STACK_TRACE, absent),
    (MapType::CGROUP_ARRAY, absent),
    (MapType::LRU_HASH, hash),
    (MapType::LRU_PERCPU_HASH, hash),
    (MapType::LPM_TRIE, |machine, spec| Ok(Arc::new(LpmTrie::new(machine, spec)?))),
    (MapType::ARRAY_OF_MAPS, |_, spec| Ok(Arc::new(ArrayOfMaps::new(spec)?))),
    (MapType::HASH_OF_MAPS, |machine, spec| Ok(Arc::new(HashOfMaps::new(machine, spec)?))),
    (MapType::DEVMAP, targets),
    (MapType::SOCKMAP, absent),
    (MapType::CPUMAP, targets),
    (MapType::XSKMAP, targets),
    (MapType::SOCKHASH, absent),
    (MapType::CGROUP_STORAGE, |machine, spec| {
        Ok(Arc::new(CgroupStorage::new(machine, spec, Layout::Shared)?))
    }),
    (MapType::PERCPU_CGROUP_STORAGE, |machine, spec| {
        let layout = Layout::PerCpu(machine.host().cpus);
        Ok(Arc::new(CgroupStorage::new(machine, spec, layout)?))
    }),
    (MapType::QUEUE, |machine, spec| Ok(Arc::new(Queue::new(machine, spec)?))),
    (MapType::STACK, |machine, spec| Ok(Arc::new(Queue::new(machine, spec)?))),
    (MapType::SK_STORAGE, absent),
    (MapType::DEVMAP_HASH, |machine, spec| Ok(Arc::new(InterfaceHash::new(machine, spec)?))),
    (MapType::RINGBUF, |machine, spec| Ok(Arc::new(RingBufferMap::new(machine, spec)?))),
    (MapType::BLOOM_FILTER, |machine, spec| Ok(Arc::new(BloomFilter::new(machine, spec)?))),
];

fn hash(machine: &Machine, spec: MapSpec) -> Result<Arc<dyn Map>, MapError> {
    let layout = match spec.map_type {
        MapType::PERCPU_HASH | MapType::LRU_PERCPU_HASH => Layout::PerCpu(machine.host().cpus),
        _ => Layout::Shared,
    };
    Ok(Arc::new(Hash::new(machine, spec, layout)?))
}

fn targets(machine: &Machine, spec: MapSpec) -> Result<Arc<dyn Map>, MapError> {
    Ok(Arc::new(Targets::new(machine, spec)?))
}

fn absent(_: &Machine, spec: MapSpec) -> Result<Arc<dyn Map>, MapError> {
    Ok(Arc::new(Absent::new(spec)?))
}

/// The bytes of a value of a map's size.
fn copy_value(memory: &Memory, spec: &MapSpec, value: Value<'_>) -> Result<Box<[u8]>, Errno> {
    match value {
        Value::Host(bytes) if bytes.len() == spec.value_bytes as usize => Ok(bytes.into()),
        Value::Host(_) => Err(Errno::EINVAL),
        Value::Guest(from) => {
            let mut bytes = vec![0; spec.value_bytes as usize].into_boxed_slice();
            memory.window().read(from, &mut bytes).map_err(|_| Errno::EFAULT)?;
            Ok(bytes)
        }
    }
}

/// The map types that are implemented.
pub fn implemented() -> impl Iterator<Item = MapType> {
    KINDS.iter().map(|(map_type, _)| *map_type)
}

/// Makes a map of the type that the specification names.
pub(crate) fn create(machine: &Machine, spec: MapSpec) -> Result<Arc<dyn Map>, MapError> {
    let kind = KINDS.iter().find(|(map_type, _)| *map_type == spec.map_type);
    let (_, make) = kind.ok_or(MapError::Unsupported(spec.map_type))?;
    if spec.extra != 0 && spec.map_type != MapType::BLOOM_FILTER {
        let what = format!("map_extra {}: maps of type {} need 0", spec.extra, spec.map_type);
        return Err(MapError::Invalid { what, errno: Errno::EINVAL });
    }
    make(machine, spec)
}

#[cfg(test)]
mod kernel_tests;
#[cfg(test)]
mod kinds_kernel_tests;
#[cfg(test)]
mod tests;
