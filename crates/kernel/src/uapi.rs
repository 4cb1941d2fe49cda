//! Numbers of the kernel's interface (`include/uapi/linux/bpf.h`), by name.
//!
//! Plain constants: the functions of this crate take any `u32`, so a number that is not named
//! here can still be used.

/// A module of constants that share a prefix in `linux/bpf.h`.
macro_rules! numbers {
    ($(#[$doc:meta])* $module:ident, $type:ty, $prefix:literal, { $($name:ident = $value:expr),* $(,)? }) => {
        $(#[$doc])*
        pub mod $module {
            $(
                #[doc = concat!("`", $prefix, stringify!($name), "`")]
                pub const $name: $type = $value;
            )*
            /// Every constant of this module with its name in `linux/bpf.h`.
            pub const ALL: &[(&str, $type)] =
                &[$((concat!($prefix, stringify!($name)), $name)),*];
        }
    };
}

numbers!(
    /// Map types.
    map_type, u32, "BPF_MAP_TYPE_", {
        HASH = 1,
        ARRAY = 2,
        PROG_ARRAY = 3,
        PERF_EVENT_ARRAY = 4,
        PERCPU_HASH = 5,
        PERCPU_ARRAY = 6,
        STACK_TRACE = 7,
        CGROUP_ARRAY = 8,
        LRU_HASH = 9,
        LRU_PERCPU_HASH = 10,
        LPM_TRIE = 11,
        ARRAY_OF_MAPS = 12,
        HASH_OF_MAPS = 13,
        DEVMAP = 14,
        SOCKMAP = 15,
        CPUMAP = 16,
        XSKMAP = 17,
        SOCKHASH = 18,
        CGROUP_STORAGE = 19,
        REUSEPORT_SOCKARRAY = 20,
        PERCPU_CGROUP_STORAGE = 21,
        QUEUE = 22,
        STACK = 23,
        SK_STORAGE = 24,
        DEVMAP_HASH = 25,
        STRUCT_OPS = 26,
        RINGBUF = 27,
        INODE_STORAGE = 28,
        TASK_STORAGE = 29,
        BLOOM_FILTER = 30,
        USER_RINGBUF = 31,
        CGRP_STORAGE = 32,
        ARENA = 33,
    }
);

numbers!(
    /// Program types.
    prog_type, u32, "BPF_PROG_TYPE_", {
        SOCKET_FILTER = 1,
        KPROBE = 2,
        SCHED_CLS = 3,
        SCHED_ACT = 4,
        TRACEPOINT = 5,
        XDP = 6,
        PERF_EVENT = 7,
        CGROUP_SKB = 8,
        CGROUP_SOCK = 9,
        LWT_IN = 10,
        LWT_OUT = 11,
        LWT_XMIT = 12,
        SOCK_OPS = 13,
        SK_SKB = 14,
        CGROUP_DEVICE = 15,
        SK_MSG = 16,
        RAW_TRACEPOINT = 17,
        CGROUP_SOCK_ADDR = 18,
        LWT_SEG6LOCAL = 19,
        LIRC_MODE2 = 20,
        SK_REUSEPORT = 21,
        FLOW_DISSECTOR = 22,
        CGROUP_SYSCTL = 23,
        RAW_TRACEPOINT_WRITABLE = 24,
        CGROUP_SOCKOPT = 25,
        TRACING = 26,
        STRUCT_OPS = 27,
        EXT = 28,
        LSM = 29,
        SK_LOOKUP = 30,
        SYSCALL = 31,
        NETFILTER = 32,
    }
);

numbers!(
    /// Flags of map creation (`map_flags`).
    map_flag, u32, "BPF_F_", {
        NO_PREALLOC = 1 << 0,
        NO_COMMON_LRU = 1 << 1,
        NUMA_NODE = 1 << 2,
        RDONLY = 1 << 3,
        WRONLY = 1 << 4,
        STACK_BUILD_ID = 1 << 5,
        ZERO_SEED = 1 << 6,
        RDONLY_PROG = 1 << 7,
        WRONLY_PROG = 1 << 8,
        CLONE = 1 << 9,
        MMAPABLE = 1 << 10,
        PRESERVE_ELEMS = 1 << 11,
        INNER_MAP = 1 << 12,
        SEGV_ON_FAULT = 1 << 17,
        NO_USER_CONV = 1 << 18,
    }
);

numbers!(
    /// Flags of map updates.
    update_flag, u64, "BPF_", {
        ANY = 0,
        NOEXIST = 1,
        EXIST = 2,
        F_LOCK = 4,
    }
);

numbers!(
    /// Flags of program loads (`prog_flags`).
    prog_flag, u32, "BPF_F_", {
        STRICT_ALIGNMENT = 1 << 0,
        ANY_ALIGNMENT = 1 << 1,
        TEST_RND_HI32 = 1 << 2,
        TEST_STATE_FREQ = 1 << 3,
        SLEEPABLE = 1 << 4,
        XDP_HAS_FRAGS = 1 << 5,
        TEST_REG_INVARIANTS = 1 << 7,
    }
);

numbers!(
    /// Flags of test runs.
    test_run_flag, u32, "BPF_F_TEST_", {
        RUN_ON_CPU = 1 << 0,
        XDP_LIVE_FRAMES = 1 << 1,
        SKB_CHECKSUM_COMPLETE = 1 << 2,
    }
);

numbers!(
    /// Values of the source field of a wide load (`BPF_LD | BPF_IMM | BPF_DW`) that name a map.
    pseudo, u8, "BPF_PSEUDO_", {
        MAP_FD = 1,
        MAP_VALUE = 2,
        MAP_IDX = 5,
        MAP_IDX_VALUE = 6,
    }
);

/// What the verifier writes to its log; bits may be combined (`include/linux/bpf_verifier.h`).
pub mod log_level {
    /// Nothing.
    pub const NONE: u32 = 0;
    /// Why a program was rejected.
    pub const REASON: u32 = 1;
    /// Every instruction of every path with the state before it.
    pub const TRACE: u32 = 2;
    /// Only the counters at the end, which the other two levels print as well.
    pub const STATS: u32 = 4;
    /// Keep the start of a log that is too long, not its end.
    pub const FIXED: u32 = 8;
}

/// Error numbers as Linux counts them on x86-64 and aarch64, whatever this is compiled for.
pub mod errno {
    macro_rules! errnos {
        ($($name:ident = $value:literal),* $(,)?) => {
            $(
                #[doc = concat!("`", stringify!($name), "`")]
                pub const $name: i32 = $value;
            )*

            /// The name of an error number that bpf(2) is known to return.
            pub const fn name(errno: i32) -> Option<&'static str> {
                match errno {
                    $($name => Some(stringify!($name)),)*
                    _ => None,
                }
            }
        };
    }

    errnos! {
        EPERM = 1, ENOENT = 2, ESRCH = 3, EINTR = 4, E2BIG = 7, EBADF = 9, EAGAIN = 11, ENOMEM = 12,
        EACCES = 13, EFAULT = 14, EBUSY = 16, EEXIST = 17, ENODEV = 19, EINVAL = 22, ENFILE = 23,
        EMFILE = 24, ENOSPC = 28, ERANGE = 34, EDEADLK = 35, ENOSYS = 38, ELOOP = 40, EPROTO = 71,
        EBADMSG = 74, EOVERFLOW = 75, EOPNOTSUPP = 95, ETIMEDOUT = 110, ESTALE = 116,
        ENOTSUPP = 524,
    }
}

#[cfg(test)]
mod tests {
    use super::{map_type, prog_type};

    /// The enumerators of `enum NAME { ... }` in `linux/bpf.h` that have no value of their own.
    fn enumerators(header: &str, name: &str) -> Vec<String> {
        let start = header.find(&format!("enum {name} {{")).unwrap();
        let body = &header[start..][..header[start..].find("\n};").unwrap()];
        let mut names = Vec::new();
        for line in body.lines().skip(1) {
            let word = line.trim().split([',', ' ']).next().unwrap();
            if word.starts_with("BPF_") && !line.contains(" = ") {
                names.push(word.to_owned());
            }
        }
        names
    }

    #[test]
    fn types_have_the_numbers_of_the_installed_header() {
        let Ok(header) = std::fs::read_to_string("/usr/include/linux/bpf.h") else {
            eprintln!("skipped: no /usr/include/linux/bpf.h");
            return;
        };
        for (name, ours) in [("bpf_map_type", map_type::ALL), ("bpf_prog_type", prog_type::ALL)] {
            let theirs = enumerators(&header, name);
            assert!(theirs.len() > 20, "{name}: {theirs:?}");
            for (number, (our_name, value)) in (1..).zip(ours).take(theirs.len() - 1) {
                assert_eq!(number, *value, "{our_name}");
                let named = theirs[number as usize].trim_end_matches("_DEPRECATED");
                assert_eq!(named, *our_name);
            }
        }
    }
}
