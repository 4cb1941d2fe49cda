//! Whether bpf(2) can be used, found out by loading the smallest program.

use crate::error::Errno;
use crate::uapi::{errno, prog_type};
use crate::{Error, ProgSpec, Program};
use core::fmt;
use std::error;

/// Why bpf(2) cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unavailable {
    /// This is not Linux.
    NotLinux,
    /// The kernel was built without bpf(2), or a filter hides it.
    NoSyscall,
    /// The process may not load programs.
    NotPermitted,
    /// Loading the smallest XDP program failed in another way.
    Other(Error),
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotLinux => f.write_str("bpf(2) exists on Linux only"),
            Self::NoSyscall => f.write_str("this kernel has no bpf(2)"),
            Self::NotPermitted => {
                write!(f, "bpf(2) is not permitted here ({})", Errno(errno::EPERM))?;
                f.write_str("; it takes root, or the capabilities BPF, NET_ADMIN and PERFMON")
            }
            Self::Other(error) => write!(f, "bpf(2) does not work here: {error}"),
        }
    }
}

impl error::Error for Unavailable {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::Other(error) => Some(error),
            _ => None,
        }
    }
}

/// `r0 = 2; exit`, in the byte order of this machine.
pub(crate) const SMALLEST: [[u8; 8]; 2] = [
    if cfg!(target_endian = "little") {
        [0xb7, 0, 0, 0, 2, 0, 0, 0]
    } else {
        [0xb7, 0, 0, 0, 0, 0, 0, 2]
    },
    [0x95, 0, 0, 0, 0, 0, 0, 0],
];

/// Whether bpf(2) can load programs here: tries it, with the smallest XDP program.
///
/// # Errors
///
/// Why it cannot, for a test to print before it returns.
pub fn available() -> Result<(), Unavailable> {
    if cfg!(not(target_os = "linux")) {
        return Err(Unavailable::NotLinux);
    }
    let spec = ProgSpec {
        prog_type: prog_type::XDP,
        insns: &SMALLEST,
        licence: "MIT",
        ..ProgSpec::default()
    };
    match Program::load(&spec) {
        Ok(_) => Ok(()),
        Err(refused) => Err(match refused.errno() {
            Some(errno::ENOSYS) => Unavailable::NoSyscall,
            Some(errno::EPERM | errno::EACCES) => Unavailable::NotPermitted,
            _ => Unavailable::Other(refused.error),
        }),
    }
}
