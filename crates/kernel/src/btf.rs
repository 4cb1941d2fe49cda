//! BTF loaded into the kernel, for maps and programs to refer to.

use crate::error::Call;
use crate::program::{Log, read_log};
use crate::sys::{self, Fd};
use crate::uapi::log_level;
use crate::{Error, LoadError};

/// BTF known to the kernel, gone with this value unless a map or program still uses it.
#[derive(Debug)]
pub struct Btf {
    fd: Fd,
}

impl Btf {
    /// Loads the contents of a `.BTF` section (`BPF_BTF_LOAD`).
    ///
    /// # Errors
    ///
    /// The kernel's refusal, with its log.
    pub fn load(btf: &[u8]) -> Result<Self, LoadError> {
        if u32::try_from(btf.len()).is_err() {
            return Err(Error::TooLong { len: btf.len() }.into());
        }
        // Without a log first: one that lists all types of large BTF is long, and seldom wanted.
        if let (Ok(fd), _) = sys::btf_load(btf, log_level::NONE, &mut []) {
            return Ok(Self { fd });
        }
        let log = Log { level: log_level::REASON, size: 1 << 16, limit: 1 << 26 };
        let (result, log, log_truncated) =
            read_log(log, |buffer| sys::btf_load(btf, log_level::REASON, buffer));
        match result {
            Ok(fd) => Ok(Self { fd }),
            Err(errno) => {
                let error = Error::Kernel { call: Call::BtfLoad, errno };
                Err(LoadError { error, log, log_truncated })
            }
        }
    }

    /// The number of the file descriptor; valid while `self` is.
    pub fn fd(&self) -> u32 {
        self.fd.number()
    }
}
