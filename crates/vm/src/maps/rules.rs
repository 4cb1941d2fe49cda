//! What all kinds of maps have in common: which maps can be made, who may do what, and flags.
//!
//! The checks and their order are those of the kernel's `map_create`, `*_alloc_check` and
//! `map_update_elem` (`kernel/bpf/syscall.c`, `arraymap.c`, `hashtab.c`).

use parking_lot::{RwLock, RwLockReadGuard};
use skep_bpf::platform::{MapFlags, MapType};

use super::MapSpec;
use crate::errno::Errno;
use crate::machine::MapError;
use crate::memory::PAGE_BYTES;

/// `BPF_F_LOCK`, which takes a value with a spin lock.
const LOCK: u64 = 4;

/// The most bytes per CPU and value (`PCPU_MIN_UNIT_SIZE`).
const PER_CPU_VALUE_BYTES: u32 = 32 << 10;
/// Key and value of a hash together must be smaller (`KMALLOC_MAX_SIZE` without the kernel's
/// `struct htab_elem`).
const HASH_ELEMENT_BYTES: u64 = (4 << 20) - 48;
/// The largest piece that the kernel allocates (`KMALLOC_MAX_SIZE`).
const KMALLOC_BYTES: u32 = 4 << 20;
/// The same without a key and the kernel's `struct lpm_trie_node` (`LPM_VAL_SIZE_MAX`).
const TRIE_VALUE_BYTES: u32 = KMALLOC_BYTES - 256 - 24;
/// `BPF_LOCAL_STORAGE_MAX_VALUE_SIZE`
const STORAGE_VALUE_BYTES: u32 = 0xffff - 128;
/// The most processors that Debian's kernel knows (`NR_CPUS`).
const MOST_CPUS: u32 = 8192;
/// `MAX_BPF_STACK`
const STACK_BYTES: u32 = 512;
/// The most buckets that the kernel counts, of which there is a power of two.
const HASH_ENTRIES: u32 = 1 << 27;

const ACCESS: MapFlags = MapFlags(
    MapFlags::RDONLY.0 | MapFlags::WRONLY.0 | MapFlags::RDONLY_PROG.0 | MapFlags::WRONLY_PROG.0,
);
const ARRAY: MapFlags = MapFlags(MapFlags::NUMA_NODE.0 | ACCESS.0);
const ONE_ARRAY: MapFlags = MapFlags(ARRAY.0 | MapFlags::MMAPABLE.0 | MapFlags::INNER_MAP.0);
const HASH: MapFlags =
    MapFlags(MapFlags::NO_PREALLOC.0 | MapFlags::NUMA_NODE.0 | MapFlags::ZERO_SEED.0 | ACCESS.0);

/// Whether the kernel would make this array (of values or of programs).
pub(super) fn check_array(spec: &MapSpec) -> Result<(), MapError> {
    let kind = spec.map_type;
    let per_cpu = kind == MapType::PERCPU_ARRAY;
    let descriptors = [
        MapType::PROG_ARRAY,
        MapType::PERF_EVENT_ARRAY,
        MapType::CGROUP_ARRAY,
        MapType::ARRAY_OF_MAPS,
    ];
    if descriptors.contains(&kind) {
        needs(spec.value_bytes == 4, || size("value", spec.value_bytes, kind, "exactly 4"))?;
        let denied = MapFlags(MapFlags::RDONLY_PROG.0 | MapFlags::WRONLY_PROG.0);
        check_flags(spec, MapFlags(array_flags(kind).0 & !denied.0))?;
    }
    check_entries(spec)?;
    needs(spec.key_bytes == 4, || size("key", spec.key_bytes, kind, "exactly 4"))?;
    needs(spec.value_bytes != 0, || size("value", 0, kind, "at least 1"))?;
    check_flags(spec, array_flags(kind))?;
    let numa = per_cpu && spec.flags.contains(MapFlags::NUMA_NODE);
    needs(!numa, || {
        (format!("flag BPF_F_NUMA_NODE: {kind} maps lie on all nodes"), Errno::EINVAL)
    })?;
    let most = i32::MAX as u32;
    needs(spec.value_bytes <= most, || too_large("value", spec.value_bytes.into(), most.into()))?;
    if per_cpu { check_per_cpu(spec) } else { Ok(()) }
}

/// The flags that arrays of a type take.
fn array_flags(kind: MapType) -> MapFlags {
    match kind {
        MapType::ARRAY => ONE_ARRAY,
        MapType::PERF_EVENT_ARRAY => MapFlags(ARRAY.0 | MapFlags::PRESERVE_ELEMS.0),
        _ => ARRAY,
    }
}

/// Whether the kernel would make this ring buffer (`ringbuf_map_alloc`).
pub(super) fn check_ring_buffer(spec: &MapSpec) -> Result<(), MapError> {
    let kind = spec.map_type;
    check_flags(spec, MapFlags::NUMA_NODE)?;
    needs(spec.key_bytes == 0, || size("key", spec.key_bytes, kind, "exactly 0"))?;
    needs(spec.value_bytes == 0, || size("value", spec.value_bytes, kind, "exactly 0"))?;
    let bytes = spec.max_entries;
    needs(bytes.is_power_of_two() && bytes.is_multiple_of(PAGE_BYTES), || {
        let what = format!(
            "max_entries {bytes}: a ring buffer has a power of two of bytes, at least {PAGE_BYTES}"
        );
        (what, Errno::EINVAL)
    })
}

/// Whether the kernel would make a map of such maps (`bpf_map_meta_alloc`).
pub(super) fn check_inner(spec: &MapSpec) -> Result<&MapSpec, MapError> {
    let inner = spec.inner.as_deref().ok_or_else(|| MapError::Invalid {
        what: "what the maps in it are like is missing".to_owned(),
        errno: Errno::EBADF,
    })?;
    let kind = inner.map_type;
    needs(inner.inner.is_none(), || {
        (format!("maps of type {kind} cannot be in another map of maps"), Errno::EINVAL)
    })?;
    // Types without a `map_meta_equal`.
    let unequal = [
        MapType::PROG_ARRAY,
        MapType::STRUCT_OPS,
        MapType::CGROUP_STORAGE,
        MapType::PERCPU_CGROUP_STORAGE,
    ];
    needs(!unequal.contains(&kind), || {
        (format!("maps of type {kind} cannot be in a map of maps"), Errno::ENOTSUPP)
    })?;
    Ok(inner)
}

/// Whether the kernel would make this queue or stack (`queue_stack_map_alloc_check`).
pub(super) fn check_queue(spec: &MapSpec) -> Result<(), MapError> {
    check_entries(spec)?;
    check_keyless(spec)?;
    check_flags(spec, MapFlags(MapFlags::NUMA_NODE.0 | ACCESS.0))?;
    check_kmalloc(spec)
}

/// Whether the kernel would make this Bloom filter (`bloom_map_alloc`).
pub(super) fn check_bloom_filter(spec: &MapSpec) -> Result<(), MapError> {
    check_kmalloc(spec)?;
    check_entries(spec)?;
    check_keyless(spec)?;
    let flags = MapFlags(MapFlags::NUMA_NODE.0 | MapFlags::ZERO_SEED.0 | ACCESS.0);
    check_flags(spec, flags)?;
    needs(spec.extra < 16, || {
        (format!("map_extra {}: at most 15 hash functions", spec.extra), Errno::EINVAL)
    })
}

fn check_keyless(spec: &MapSpec) -> Result<(), MapError> {
    let kind = spec.map_type;
    needs(spec.key_bytes == 0, || size("key", spec.key_bytes, kind, "exactly 0"))?;
    needs(spec.value_bytes != 0, || size("value", 0, kind, "at least 1"))
}

fn check_kmalloc(spec: &MapSpec) -> Result<(), MapError> {
    needs(spec.value_bytes <= KMALLOC_BYTES, || {
        too_large("value", spec.value_bytes.into(), KMALLOC_BYTES.into())
    })
}

/// Whether the kernel would make this trie (`trie_alloc`).
pub(super) fn check_lpm_trie(spec: &MapSpec) -> Result<(), MapError> {
    let kind = spec.map_type;
    check_entries(spec)?;
    check_flags(spec, MapFlags(MapFlags::NO_PREALLOC.0 | MapFlags::NUMA_NODE.0 | ACCESS.0))?;
    needs(spec.flags.contains(MapFlags::NO_PREALLOC), || {
        (format!("flags {}: {kind} maps need BPF_F_NO_PREALLOC", spec.flags), Errno::EINVAL)
    })?;
    needs((5..=260).contains(&spec.key_bytes), || {
        size("key", spec.key_bytes, kind, "from 5 to 260")
    })?;
    needs(spec.value_bytes != 0, || size("value", 0, kind, "at least 1"))?;
    needs(spec.value_bytes <= TRIE_VALUE_BYTES, || {
        let what = format!("size of value {}: at most {TRIE_VALUE_BYTES}", spec.value_bytes);
        (what, Errno::EINVAL)
    })
}

/// Whether the kernel would make this map of things to redirect packets to
/// (`dev_map_alloc_check`, `cpu_map_alloc`, `xsk_map_alloc`).
pub(super) fn check_targets(spec: &MapSpec) -> Result<(), MapError> {
    let kind = spec.map_type;
    check_entries(spec)?;
    needs(spec.key_bytes == 4, || size("key", spec.key_bytes, kind, "exactly 4"))?;
    let eight = kind != MapType::XSKMAP && spec.value_bytes == 8;
    needs(spec.value_bytes == 4 || eight, || size("value", spec.value_bytes, kind, "4 or 8"))?;
    let host = MapFlags::RDONLY.0 | MapFlags::WRONLY.0;
    let flags = if kind == MapType::CPUMAP { 0 } else { host } | MapFlags::NUMA_NODE.0;
    check_flags(spec, MapFlags(flags))?;
    if kind == MapType::CPUMAP {
        needs(spec.max_entries <= MOST_CPUS, || {
            (format!("max_entries {}: at most {MOST_CPUS}", spec.max_entries), Errno::E2BIG)
        })?;
    }
    let bad = kind == MapType::DEVMAP_HASH && spec.max_entries > 1 << 31;
    needs(!bad, || (format!("max_entries {}: at most 2^31", spec.max_entries), Errno::EINVAL))
}

/// Whether the kernel would make this map of sockets (`sock_map_alloc`, `sock_hash_alloc`).
pub(super) fn check_sockets(spec: &MapSpec) -> Result<(), MapError> {
    let kind = spec.map_type;
    check_entries(spec)?;
    let value = spec.value_bytes;
    needs(value == 4 || value == 8, || size("value", value, kind, "4 or 8"))?;
    let flags = MapFlags::NUMA_NODE.0 | MapFlags::RDONLY.0 | MapFlags::WRONLY.0;
    check_flags(spec, MapFlags(flags))?;
    if kind == MapType::SOCKMAP {
        needs(spec.max_entries <= i32::MAX as u32, || {
            (format!("max_entries {}: at most {}", spec.max_entries, i32::MAX), Errno::EINVAL)
        })?;
        return needs(spec.key_bytes == 4, || size("key", spec.key_bytes, kind, "exactly 4"));
    }
    needs(spec.key_bytes != 0, || size("key", 0, kind, "at least 1"))?;
    needs(spec.key_bytes <= STACK_BYTES, || {
        too_large("key", spec.key_bytes.into(), STACK_BYTES.into())
    })
}

/// Whether the kernel would make this storage of control groups (`cgroup_storage_map_alloc`).
pub(super) fn check_cgroup_storage(spec: &MapSpec) -> Result<(), MapError> {
    let kind = spec.map_type;
    let key = spec.key_bytes;
    needs(key == 8 || key == 16, || size("key", key, kind, "8 or 16"))?;
    needs(spec.value_bytes != 0, || size("value", 0, kind, "at least 1"))?;
    let per_cpu = kind == MapType::PERCPU_CGROUP_STORAGE;
    let most = if per_cpu { PER_CPU_VALUE_BYTES } else { STORAGE_VALUE_BYTES };
    needs(spec.value_bytes <= most, || too_large("value", spec.value_bytes.into(), most.into()))?;
    check_flags(spec, MapFlags(MapFlags::NUMA_NODE.0 | ACCESS.0))?;
    needs(spec.max_entries == 0, || {
        (format!("max_entries {}: {kind} maps need 0", spec.max_entries), Errno::EINVAL)
    })
}

/// Whether the kernel would make this storage of sockets (`bpf_local_storage_map_alloc_check`),
/// but for types of keys and values, which a machine does not know.
pub(super) fn check_local_storage(spec: &MapSpec) -> Result<(), MapError> {
    let kind = spec.map_type;
    check_flags(spec, MapFlags(MapFlags::NO_PREALLOC.0 | MapFlags::CLONE.0))?;
    needs(spec.flags.contains(MapFlags::NO_PREALLOC), || {
        (format!("flags {}: {kind} maps need BPF_F_NO_PREALLOC", spec.flags), Errno::EINVAL)
    })?;
    needs(spec.max_entries == 0, || {
        (format!("max_entries {}: {kind} maps need 0", spec.max_entries), Errno::EINVAL)
    })?;
    needs(spec.key_bytes == 4, || size("key", spec.key_bytes, kind, "exactly 4"))?;
    needs(spec.value_bytes != 0, || size("value", 0, kind, "at least 1"))?;
    needs(spec.value_bytes <= STORAGE_VALUE_BYTES, || {
        too_large("value", spec.value_bytes.into(), STORAGE_VALUE_BYTES.into())
    })
}

/// Whether the kernel would make this map of call stacks (`stack_map_alloc`).
pub(super) fn check_stack_trace(spec: &MapSpec) -> Result<(), MapError> {
    /// `kernel.perf_event_max_stack`, unless it was changed.
    const MOST_FRAMES: u32 = 127;
    let (kind, value) = (spec.map_type, spec.value_bytes);
    let host = MapFlags::RDONLY.0 | MapFlags::WRONLY.0;
    check_flags(spec, MapFlags(host | MapFlags::NUMA_NODE.0 | MapFlags::STACK_BUILD_ID.0))?;
    check_entries(spec)?;
    needs(spec.key_bytes == 4, || size("key", spec.key_bytes, kind, "exactly 4"))?;
    let by_build_id = spec.flags.contains(MapFlags::STACK_BUILD_ID);
    let frame = if by_build_id { 32 } else { 8 };
    let fits = value != 0 && value.is_multiple_of(frame) && value / frame <= MOST_FRAMES;
    needs(fits, || size("value", value, kind, &format!("1 to {MOST_FRAMES} times {frame}")))?;
    needs(spec.max_entries <= 1 << 31, || {
        (format!("max_entries {}: at most 2^31", spec.max_entries), Errno::E2BIG)
    })
}

/// Whether a map is one that a map of maps is for (`bpf_map_meta_equal`).
pub(super) fn is_like(inner: &MapSpec, found: &MapSpec) -> bool {
    // The code for a look-up in an array knows its length.
    let same_length = inner.max_entries == found.max_entries
        || inner.flags.contains(MapFlags::INNER_MAP)
        || !matches!(inner.map_type, MapType::ARRAY | MapType::PERCPU_ARRAY);
    inner.map_type == found.map_type
        && inner.key_bytes == found.key_bytes
        && inner.value_bytes == found.value_bytes
        && inner.flags == found.flags
        && same_length
}

/// Whether the kernel would make this hash.
pub(super) fn check_hash(spec: &MapSpec) -> Result<(), MapError> {
    let kind = spec.map_type;
    if kind == MapType::HASH_OF_MAPS {
        needs(spec.value_bytes == 4, || size("value", spec.value_bytes, kind, "exactly 4"))?;
    }
    let per_cpu = matches!(kind, MapType::PERCPU_HASH | MapType::LRU_PERCPU_HASH);
    let lru = matches!(kind, MapType::LRU_HASH | MapType::LRU_PERCPU_HASH);
    let own_lists = spec.flags.contains(MapFlags::NO_COMMON_LRU);
    check_flags(spec, if lru { MapFlags(HASH.0 | MapFlags::NO_COMMON_LRU.0) } else { HASH })?;
    needs(!lru || !spec.flags.contains(MapFlags::NO_PREALLOC), || {
        (format!("flag BPF_F_NO_PREALLOC: {kind} maps are preallocated"), Errno::ENOTSUPP)
    })?;
    let numa = (per_cpu || own_lists) && spec.flags.contains(MapFlags::NUMA_NODE);
    needs(!numa, || {
        (format!("flag BPF_F_NUMA_NODE: {kind} maps lie on all nodes"), Errno::EINVAL)
    })?;
    check_entries(spec)?;
    needs(spec.key_bytes != 0, || size("key", 0, kind, "at least 1"))?;
    needs(spec.value_bytes != 0, || size("value", 0, kind, "at least 1"))?;
    let element = u64::from(spec.key_bytes) + u64::from(spec.value_bytes);
    needs(element < HASH_ELEMENT_BYTES, || {
        too_large("key and value together", element, HASH_ELEMENT_BYTES - 1)
    })?;
    if per_cpu {
        check_per_cpu(spec)?;
    }
    needs(spec.max_entries <= HASH_ENTRIES, || {
        (format!("max_entries {}: at most {HASH_ENTRIES}", spec.max_entries), Errno::E2BIG)
    })
}

fn check_per_cpu(spec: &MapSpec) -> Result<(), MapError> {
    needs(spec.value_bytes <= PER_CPU_VALUE_BYTES, || {
        too_large("value", spec.value_bytes.into(), PER_CPU_VALUE_BYTES.into())
    })
}

fn check_entries(spec: &MapSpec) -> Result<(), MapError> {
    needs(spec.max_entries != 0, || ("max_entries 0: at least 1".to_owned(), Errno::EINVAL))
}

fn check_flags(spec: &MapSpec, known: MapFlags) -> Result<(), MapError> {
    let unknown = MapFlags(spec.flags.0 & !known.0);
    needs(unknown == MapFlags::default(), || {
        (format!("flags {unknown}: {} maps take {known}", spec.map_type), Errno::EINVAL)
    })?;
    for (a, b) in
        [(MapFlags::RDONLY, MapFlags::WRONLY), (MapFlags::RDONLY_PROG, MapFlags::WRONLY_PROG)]
    {
        let both = spec.flags.contains(a) && spec.flags.contains(b);
        needs(!both, || (format!("flags {a} and {b} exclude each other"), Errno::EINVAL))?;
    }
    Ok(())
}

fn needs(holds: bool, otherwise: impl FnOnce() -> (String, Errno)) -> Result<(), MapError> {
    if holds {
        return Ok(());
    }
    let (what, errno) = otherwise();
    Err(MapError::Invalid { what, errno })
}

fn size(what: &str, found: u32, kind: MapType, needed: &str) -> (String, Errno) {
    (format!("{what} size {found}: {kind} maps need {needed}"), Errno::EINVAL)
}

fn too_large(what: &str, found: u64, most: u64) -> (String, Errno) {
    (format!("size of {what} {found}: at most {most} bytes"), Errno::E2BIG)
}

/// What the host may do with a map.
#[derive(Debug)]
pub struct HostRights {
    flags: MapFlags,
    frozen: RwLock<bool>,
}

impl HostRights {
    pub(super) fn new(spec: &MapSpec) -> HostRights {
        HostRights { flags: spec.flags, frozen: RwLock::new(false) }
    }

    /// Whether the host may read.
    pub(super) fn read(&self) -> Result<(), Errno> {
        if self.flags.contains(MapFlags::WRONLY) { Err(Errno::EPERM) } else { Ok(()) }
    }

    /// Whether the host may write. The map cannot be frozen before the guard is dropped.
    pub(super) fn write(&self) -> Result<RwLockReadGuard<'_, bool>, Errno> {
        let frozen = self.frozen.read();
        if *frozen || self.flags.contains(MapFlags::RDONLY) {
            Err(Errno::EPERM)
        } else {
            Ok(frozen)
        }
    }

    /// The answer where elements cannot be read and removed at once.
    pub(super) fn cannot_take(&self) -> Result<Vec<u8>, Errno> {
        self.read()?;
        let _writing = self.write()?;
        Err(Errno::ENOTSUPP)
    }

    /// Whether the host may never write again.
    pub(super) fn is_frozen(&self) -> bool {
        *self.frozen.read()
    }

    /// Forbids the host to write.
    pub(super) fn freeze(&self) -> Result<(), Errno> {
        if self.flags.contains(MapFlags::RDONLY) {
            return Err(Errno::EPERM);
        }
        let mut frozen = self.frozen.try_write().ok_or(Errno::EBUSY)?;
        if *frozen {
            // Not EBUSY, which the kernel keeps for two that freeze at once: a frozen map counts
            // as one that may not be written.
            return Err(Errno::EPERM);
        }
        *frozen = true;
        Ok(())
    }
}

/// Whether programs may change the map. (The verifier refuses programs that try.)
pub(super) fn program_may_write(spec: &MapSpec) -> Result<(), Errno> {
    if spec.flags.contains(MapFlags::RDONLY_PROG) { Err(Errno::EPERM) } else { Ok(()) }
}

/// What an update expects to find.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Expect {
    /// `BPF_ANY`
    Any,
    /// `BPF_NOEXIST`
    Absent,
    /// `BPF_EXIST`
    Present,
}

impl Expect {
    /// Reads an update's flags. No map here has values with a spin lock, so that `BPF_F_LOCK` is
    /// always wrong.
    pub(super) fn from_flags(flags: u64) -> Result<Expect, Errno> {
        match flags {
            0 => Ok(Expect::Any),
            1 => Ok(Expect::Absent),
            2 => Ok(Expect::Present),
            _ => Err(Errno::EINVAL),
        }
    }
}

/// The index that an update of an array writes to; `index` is none if it is out of range.
pub(super) fn check_array_update(index: Option<u32>, flags: u64) -> Result<u32, Errno> {
    let expect = Expect::from_flags(flags & !LOCK)?;
    let index = index.ok_or(Errno::E2BIG)?;
    match expect {
        Expect::Absent => Err(Errno::EEXIST),
        // Last, for programs; the host cannot get here with it.
        _ if flags & LOCK != 0 => Err(Errno::EINVAL),
        Expect::Any | Expect::Present => Ok(index),
    }
}

/// Whether a key has the map's size. (The kernel takes the size from the map.)
pub(super) fn check_key(spec: &MapSpec, key: &[u8]) -> Result<(), Errno> {
    if key.len() == spec.key_bytes as usize { Ok(()) } else { Err(Errno::EINVAL) }
}

/// Refuses what the kernel's system calls refuse before they look at the map.
pub(super) fn check_host_flags(flags: u64) -> Result<(), Errno> {
    if flags & LOCK != 0 { Err(Errno::EINVAL) } else { Ok(()) }
}
