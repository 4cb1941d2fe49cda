//! What can go wrong: a call that the kernel refused, or one that was not made.

use crate::uapi::errno;
use core::fmt;
use std::error;

/// A command of bpf(2) that this crate uses (`enum bpf_cmd`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Call {
    /// `BPF_MAP_CREATE`
    MapCreate,
    /// `BPF_MAP_LOOKUP_ELEM`
    MapLookup,
    /// `BPF_MAP_UPDATE_ELEM`
    MapUpdate,
    /// `BPF_MAP_DELETE_ELEM`
    MapDelete,
    /// `BPF_MAP_GET_NEXT_KEY`
    MapNextKey,
    /// `BPF_PROG_LOAD`
    ProgLoad,
    /// `BPF_PROG_TEST_RUN`
    TestRun,
    /// `BPF_OBJ_GET_INFO_BY_FD`
    Info,
    /// `BPF_BTF_LOAD`
    BtfLoad,
    /// `BPF_MAP_LOOKUP_AND_DELETE_ELEM`
    MapTake,
    /// `BPF_MAP_FREEZE`
    MapFreeze,
}

impl Call {
    /// The command's number and its name in `linux/bpf.h`.
    const fn row(self) -> (u32, &'static str) {
        match self {
            Self::MapCreate => (0, "BPF_MAP_CREATE"),
            Self::MapLookup => (1, "BPF_MAP_LOOKUP_ELEM"),
            Self::MapUpdate => (2, "BPF_MAP_UPDATE_ELEM"),
            Self::MapDelete => (3, "BPF_MAP_DELETE_ELEM"),
            Self::MapNextKey => (4, "BPF_MAP_GET_NEXT_KEY"),
            Self::ProgLoad => (5, "BPF_PROG_LOAD"),
            Self::TestRun => (10, "BPF_PROG_TEST_RUN"),
            Self::Info => (15, "BPF_OBJ_GET_INFO_BY_FD"),
            Self::BtfLoad => (18, "BPF_BTF_LOAD"),
            Self::MapTake => (21, "BPF_MAP_LOOKUP_AND_DELETE_ELEM"),
            Self::MapFreeze => (22, "BPF_MAP_FREEZE"),
        }
    }

    pub(crate) const fn number(self) -> u32 {
        self.row().0
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.row().1)
    }
}

/// An error number with its name where that is known, as in `EINVAL (22)`.
pub(crate) struct Errno(pub(crate) i32);

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match errno::name(self.0) {
            Some(name) => write!(f, "{name} ({})", self.0),
            None => write!(f, "error number {}", self.0),
        }
    }
}

/// Why a call gave no result.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The kernel refused the call.
    Kernel {
        /// The call.
        call: Call,
        /// The error number, positive, as in [`uapi::errno`](crate::uapi::errno).
        errno: i32,
    },
    /// A key has the wrong length for its map.
    KeyLength {
        /// The map's key size, in bytes.
        needed: usize,
        /// The length of the key given, in bytes.
        found: usize,
    },
    /// A value has the wrong length for its map.
    ValueLength {
        /// The map's value size, for all CPUs together if it is a per-CPU map, in bytes.
        needed: usize,
        /// The length of the value given, in bytes.
        found: usize,
    },
    /// A name is longer than the 15 bytes that the kernel keeps, or contains a zero byte.
    Name {
        /// The name.
        name: String,
    },
    /// A licence contains a zero byte.
    Licence {
        /// The licence.
        licence: String,
    },
    /// Function or line information is not a whole number of records.
    RecordSize {
        /// The length of the information, in bytes.
        len: usize,
        /// The size of one record, in bytes.
        record_size: u32,
    },
    /// A buffer is larger than the kernel's interface can say.
    TooLong {
        /// The length of the buffer, in bytes or instructions.
        len: usize,
    },
    /// An instruction names a map that does not exist.
    MapIndex {
        /// The slot of the instruction.
        slot: usize,
        /// The map index it names.
        index: u32,
        /// How many maps there are.
        maps: usize,
    },
    /// A wide load that names a map is the last slot, so that its second half is missing.
    HalfInstruction {
        /// The slot of the instruction.
        slot: usize,
    },
    /// The number of CPUs is not known, so values of per-CPU maps have no known size.
    Cpus {
        /// What was read from the file that states the possible CPUs, or the error reading it.
        found: String,
    },
    /// The size of this map type's values is not known to this crate.
    MapType {
        /// The map type.
        map_type: u32,
    },
    /// A map of operations would attach them to the kernel when updated; never done here.
    StructOps,
    /// A test run in live mode would send real frames; never done here.
    LiveFrames,
}

impl Error {
    /// The error number, if the kernel was asked and refused.
    pub const fn errno(&self) -> Option<i32> {
        match self {
            Self::Kernel { errno, .. } => Some(*errno),
            _ => None,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kernel { call, errno } => write!(f, "{call} failed: {}", Errno(*errno)),
            Self::KeyLength { needed, found } => {
                write!(f, "the map's keys have {needed} bytes, the key given has {found}")
            }
            Self::ValueLength { needed, found } => {
                write!(f, "the map's values have {needed} bytes, the value given has {found}")
            }
            Self::Name { name } => {
                write!(f, "the name {name:?} is not of at most 15 bytes without a zero byte")
            }
            Self::Licence { licence } => {
                write!(f, "the licence {licence:?} contains a zero byte")
            }
            Self::RecordSize { len, record_size } => {
                write!(f, "{len} bytes are not a whole number of records of {record_size} bytes")
            }
            Self::TooLong { len } => {
                write!(f, "a buffer of length {len} is longer than bpf(2) can express")
            }
            Self::MapIndex { slot, index, maps } => {
                write!(f, "slot {slot} names map {index}, but there are {maps} maps")
            }
            Self::HalfInstruction { slot } => {
                write!(f, "the wide instruction at slot {slot} lacks its second slot")
            }
            Self::Cpus { found } => {
                write!(f, "the possible CPUs are not known: {found}")
            }
            Self::MapType { map_type } => {
                write!(f, "the size of the values of map type {map_type} is not known")
            }
            Self::StructOps => f.write_str("maps of type STRUCT_OPS attach, so they are not made"),
            Self::LiveFrames => f.write_str("test runs that send real frames are not made"),
        }
    }
}

impl error::Error for Error {}

/// Why a program or BTF was not loaded, with the kernel's own words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadError {
    /// What refused it. A rejection by the verifier is [`Error::Kernel`].
    pub error: Error,
    /// The kernel's log; empty if none was asked for or the load failed before verification.
    pub log: String,
    /// Whether the log limit was reached, so that the log has only the end of what was written.
    pub log_truncated: bool,
}

impl LoadError {
    /// The error number, if the kernel was asked and refused.
    pub const fn errno(&self) -> Option<i32> {
        self.error.errno()
    }

    /// The last line of the log that is not about the verifier's counters: mostly the reason.
    pub fn reason(&self) -> Option<&str> {
        let mut lines = self.log.lines().rev().map(str::trim);
        lines.find(|line| !crate::counters::is_counter_line(line) && !line.is_empty())
    }
}

impl From<Error> for LoadError {
    fn from(error: Error) -> Self {
        Self { error, log: String::new(), log_truncated: false }
    }
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.error)?;
        match self.reason() {
            Some(reason) => write!(f, ": {reason}"),
            None => Ok(()),
        }
    }
}

impl error::Error for LoadError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        Some(&self.error)
    }
}
