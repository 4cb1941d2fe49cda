//! Map types and map flags.
//!
//! Numbers and constants: `linux/bpf.h`; names: what bpftool prints. What a map does is left to
//! the machine.

use core::fmt;
use core::ops::{BitOr, BitOrAssign};

named_numbers! {
    /// What kind of map.
    pub struct MapType, "map type", "BPF_MAP_TYPE_";
    UNSPEC = 0, "unspec", (3, 18), "No type: not yet known.";
    HASH = 1, "hash", (3, 19), "Values under keys of any bytes.";
    ARRAY = 2, "array", (3, 19), "Values at indices; all of them always exist.";
    PROG_ARRAY = 3, "prog_array", (4, 2), "Programs that a tail call may continue in.";
    PERF_EVENT_ARRAY = 4, "perf_event_array", (4, 3), "Perf events, to read or to write records to.";
    PERCPU_HASH = 5, "percpu_hash", (4, 6), "A hash with a value for every processor under each key.";
    PERCPU_ARRAY = 6, "percpu_array", (4, 6), "An array with a value for every processor at each index.";
    STACK_TRACE = 7, "stack_trace", (4, 6), "Call stacks under their ids.";
    CGROUP_ARRAY = 8, "cgroup_array", (4, 8), "Cgroups to compare with.";
    LRU_HASH = 9, "lru_hash", (4, 10), "A hash that drops what was used least recently when full.";
    LRU_PERCPU_HASH = 10, "lru_percpu_hash", (4, 10),
        "A per-processor hash that drops what was used least recently when full.";
    LPM_TRIE = 11, "lpm_trie", (4, 11), "Values under bit prefixes; the longest that fits is found.";
    ARRAY_OF_MAPS = 12, "array_of_maps", (4, 12), "Maps at indices.";
    HASH_OF_MAPS = 13, "hash_of_maps", (4, 12), "Maps under keys.";
    DEVMAP = 14, "devmap", (4, 14), "Network interfaces at indices, to redirect packets to.";
    SOCKMAP = 15, "sockmap", (4, 14), "Sockets at indices, to redirect data to.";
    CPUMAP = 16, "cpumap", (4, 15), "Processors, to redirect packets to.";
    XSKMAP = 17, "xskmap", (4, 18), "User-space packet sockets, to redirect packets to.";
    SOCKHASH = 18, "sockhash", (4, 18), "Sockets under keys, to redirect data to.";
    CGROUP_STORAGE = 19, "cgroup_storage", (4, 19),
        "A value for every cgroup the program is attached to; superseded by `cgrp_storage`.";
    REUSEPORT_SOCKARRAY = 20, "reuseport_sockarray", (4, 19), "Sockets that share a port.";
    PERCPU_CGROUP_STORAGE = 21, "percpu_cgroup_storage", (4, 20),
        "A value for every cgroup the program is attached to and every processor.";
    QUEUE = 22, "queue", (4, 20), "Values, first in first out.";
    STACK = 23, "stack", (4, 20), "Values, last in first out.";
    SK_STORAGE = 24, "sk_storage", (5, 2), "A value that lives with a socket.";
    DEVMAP_HASH = 25, "devmap_hash", (5, 4), "Network interfaces under keys, to redirect packets to.";
    STRUCT_OPS = 26, "struct_ops", (5, 6), "A structure of functions that programs implement.";
    RINGBUF = 27, "ringbuf", (5, 8), "Records from programs to user space, in order.";
    INODE_STORAGE = 28, "inode_storage", (5, 10), "A value that lives with an inode.";
    TASK_STORAGE = 29, "task_storage", (5, 11), "A value that lives with a task.";
    BLOOM_FILTER = 30, "bloom_filter", (5, 16), "A set that answers: certainly not, or maybe.";
    USER_RINGBUF = 31, "user_ringbuf", (6, 1), "Records from user space to programs, in order.";
    CGRP_STORAGE = 32, "cgrp_storage", (6, 2), "A value that lives with a cgroup.";
    ARENA = 33, "arena", (6, 9), "Pages shared with user space, for data linked by pointers.";
}

/// Flags given when a map is created (`BPF_F_*` of `BPF_MAP_CREATE`). A set of bits; bits
/// without a name are kept.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct MapFlags(pub u32);

macro_rules! map_flags {
    ($($constant:ident = $bit:literal, $meaning:literal;)*) => {
        impl MapFlags {
            $(
                #[doc = concat!("`BPF_F_", stringify!($constant), "`. ", $meaning)]
                pub const $constant: Self = Self(1 << $bit);
            )*

            /// Every named flag: the flag, its constant in `linux/bpf.h`, its meaning.
            pub const ROWS: &'static [(Self, &'static str, &'static str)] = &[
                $((Self::$constant, concat!("BPF_F_", stringify!($constant)), $meaning),)*
            ];
        }
    };
}

map_flags! {
    NO_PREALLOC = 0, "Elements are allocated when they are added.";
    NO_COMMON_LRU = 1, "Every processor has its own list of least recently used elements.";
    NUMA_NODE = 2, "The memory node is given.";
    RDONLY = 3, "User space may only read.";
    WRONLY = 4, "User space may only write.";
    STACK_BUILD_ID = 5, "User stacks hold build id and offset instead of addresses.";
    ZERO_SEED = 6, "The hash starts from zero instead of a random number.";
    RDONLY_PROG = 7, "Programs may only read.";
    WRONLY_PROG = 8, "Programs may only write.";
    CLONE = 9, "Storage of a listening socket is copied to the sockets it accepts.";
    MMAPABLE = 10, "User space may map the values into its memory.";
    PRESERVE_ELEMS = 11, "Perf events stay when the file they were added through is closed.";
    INNER_MAP = 12, "As an inner map it may have any number of elements.";
    LINK = 13, "A `struct_ops` map that is registered through a link.";
    PATH_FD = 14, "A path is relative to a given directory.";
    VTYPE_BTF_OBJ_FD = 15, "The type of the value is in a given module's BTF.";
    TOKEN_FD = 16, "A token that delegates the right is given.";
    SEGV_ON_FAULT = 17, "A user access to a missing arena page is an error.";
    NO_USER_CONV = 18, "Arena pointers are stored as the kernel sees them.";
}

impl MapFlags {
    /// Whether all bits of `other` are set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

impl BitOr for MapFlags {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitOrAssign for MapFlags {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

impl fmt::Display for MapFlags {
    /// The names of the flags joined by ` | `, unnamed bits in hexadecimal, `0` for none.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.write_str("0");
        }
        let mut left = self.0;
        let mut separator = "";
        for (flag, constant, _) in Self::ROWS {
            if self.contains(*flag) {
                write!(f, "{separator}{constant}")?;
                separator = " | ";
                left &= !flag.0;
            }
        }
        if left != 0 {
            write!(f, "{separator}{left:#x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for MapFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::{MapFlags, MapType};
    use alloc::string::ToString;

    #[test]
    fn numbers_have_no_gaps() {
        for (place, row) in MapType::ROWS.iter().enumerate() {
            assert_eq!(row.number.0 as usize, place, "{}", row.name);
        }
        assert_eq!(MapType::ROWS.len(), 34, "33 types and UNSPEC");
    }

    #[test]
    fn flags_print_by_name() {
        let flags = MapFlags::NO_PREALLOC | MapFlags::MMAPABLE | MapFlags(1 << 31);
        assert_eq!(flags.to_string(), "BPF_F_NO_PREALLOC | BPF_F_MMAPABLE | 0x80000000");
        assert_eq!(MapFlags::default().to_string(), "0");
    }
}
