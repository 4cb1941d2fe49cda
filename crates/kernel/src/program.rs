//! Programs: loaded, with the verifier's verdict and log, and looked at.

use crate::attr::{self, object_name};
use crate::error::Call;
use crate::map::refused;
use crate::sys::{self, Fd, LoadBuffers};
use crate::uapi::errno;
use crate::{Btf, Counters, Error, LoadError};
use core::ffi::CStr;
use std::ffi::CString;

/// What is to be loaded, and how. Start from [`ProgSpec::default`].
#[derive(Clone, Copy, Debug)]
pub struct ProgSpec<'a> {
    /// The type, as in [`uapi::prog_type`](crate::uapi::prog_type).
    pub prog_type: u32,
    /// Where the program would be attached, for types whose rules depend on it; else 0.
    pub expected_attach_type: u32,
    /// The instructions, 8 bytes per slot, in the byte order of this machine.
    pub insns: &'a [[u8; 8]],
    /// The licence; `GPL` permits helper functions that others do not.
    pub licence: &'a str,
    /// The name: empty, or at most 15 letters, digits, `_` and `.`.
    pub name: &'a str,
    /// Flags, as in [`uapi::prog_flag`](crate::uapi::prog_flag).
    pub flags: u32,
    /// What to log, as in [`uapi::log_level`](crate::uapi::log_level); 0 is the fastest.
    pub log_level: u32,
    /// Room for the log at the first attempt, in bytes. A log that does not fit costs another
    /// load.
    pub log_size: u32,
    /// The longest log to ask for, in bytes; the kernel's own limit is 1 GiB. Of a longer one the
    /// end is kept, and a program is then reported as not loaded, with `ENOSPC`.
    pub log_limit: u32,
    /// Types, function and line information.
    pub btf: Option<ProgBtf<'a>>,
    /// The type of the kernel's function or structure the program is for (`attach_btf_id`).
    pub attach_btf_id: u32,
}

impl Default for ProgSpec<'_> {
    /// No program, no log; room for 64 KiB of log and at most 256 MiB once a level is set.
    fn default() -> Self {
        Self {
            prog_type: 0,
            expected_attach_type: 0,
            insns: &[],
            licence: "",
            name: "",
            flags: 0,
            log_level: 0,
            log_size: 1 << 16,
            log_limit: 1 << 28,
            btf: None,
            attach_btf_id: 0,
        }
    }
}

/// Types of a program's functions, and where its instructions come from. The records are those of
/// the kernel's interface (`struct bpf_func_info`, `struct bpf_line_info`), whose instruction
/// offsets count slots, not bytes as in `.BTF.ext`.
#[derive(Clone, Copy, Debug)]
pub struct ProgBtf<'a> {
    /// The BTF that has the types and strings.
    pub btf: &'a Btf,
    /// Function information records; may be empty.
    pub func_info: &'a [u8],
    /// Bytes per function information record.
    pub func_info_rec_size: u32,
    /// Line information records; may be empty.
    pub line_info: &'a [u8],
    /// Bytes per line information record.
    pub line_info_rec_size: u32,
}

/// A program that the kernel accepted, gone with this value.
#[derive(Debug)]
pub struct Program {
    pub(crate) fd: Fd,
    pub(crate) prog_type: u32,
    log: String,
}

/// What the kernel says about a loaded program (`struct bpf_prog_info`).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProgInfo {
    /// The program's id.
    pub id: u32,
    /// The first 8 bytes of a hash of the instructions.
    pub tag: [u8; 8],
    /// Instructions the verifier walked, over all paths; 0 from kernels before 5.16.
    pub verified_insns: u32,
    /// Bytes of instructions after the kernel's rewriting.
    pub translated_len: u32,
    /// Bytes of machine code of all functions together; 0 if the program is interpreted.
    pub machine_code_len: u32,
    /// Whether the licence permits helper functions reserved to the GPL.
    pub gpl_compatible: bool,
}

impl Program {
    /// Has the kernel verify, and compile, a program (`BPF_PROG_LOAD`). Nothing is attached.
    ///
    /// # Errors
    ///
    /// The kernel's rejection with its log; or a specification that cannot be passed to it.
    pub fn load(spec: &ProgSpec<'_>) -> Result<Self, LoadError> {
        let licence = CString::new(spec.licence)
            .map_err(|_| Error::Licence { licence: spec.licence.to_owned() })?;
        if u32::try_from(spec.insns.len()).is_err() {
            return Err(Error::TooLong { len: spec.insns.len() }.into());
        }
        if let Some(btf) = spec.btf {
            whole_records(btf.func_info, btf.func_info_rec_size)?;
            whole_records(btf.line_info, btf.line_info_rec_size)?;
        }
        let name = object_name(spec.name)?;
        let log = Log { level: spec.log_level, size: spec.log_size, limit: spec.log_limit };
        let (result, log, log_truncated) =
            read_log(log, |buffer| load_once(spec, name, &licence, buffer));
        match result {
            Ok(fd) => Ok(Self { fd, prog_type: spec.prog_type, log }),
            Err(errno) => {
                let error = Error::Kernel { call: Call::ProgLoad, errno };
                Err(LoadError { error, log, log_truncated })
            }
        }
    }

    /// The number of the file descriptor; valid while `self` is.
    pub fn fd(&self) -> u32 {
        self.fd.number()
    }

    /// The program's type, as in [`uapi::prog_type`](crate::uapi::prog_type).
    pub const fn prog_type(&self) -> u32 {
        self.prog_type
    }

    /// The verifier's log; empty if none was asked for.
    pub fn log(&self) -> &str {
        &self.log
    }

    /// The verifier's counters, if the log has them.
    pub fn counters(&self) -> Option<Counters> {
        Counters::find(&self.log)
    }

    /// Asks the kernel about the program (`BPF_OBJ_GET_INFO_BY_FD`).
    ///
    /// # Errors
    ///
    /// The kernel's refusal.
    pub fn info(&self) -> Result<ProgInfo, Error> {
        let info = sys::prog_info(&self.fd, &mut [], &mut []).map_err(refused(Call::Info))?;
        Ok(ProgInfo {
            id: info.id,
            tag: info.tag,
            verified_insns: info.verified_insns,
            translated_len: info.xlated_prog_len,
            machine_code_len: info.jited_prog_len,
            gpl_compatible: info.gpl_compatible & 1 != 0,
        })
    }

    /// The instructions after the kernel's rewriting; empty where the kernel does not show them.
    ///
    /// # Errors
    ///
    /// The kernel's refusal.
    pub fn translated(&self) -> Result<Vec<[u8; 8]>, Error> {
        let mut bytes = vec![0; self.info()?.translated_len as usize];
        let info = sys::prog_info(&self.fd, &mut bytes, &mut []).map_err(refused(Call::Info))?;
        if info.xlated_prog_insns == 0 {
            return Ok(Vec::new());
        }
        Ok(bytes.as_chunks().0.to_vec())
    }

    /// The machine code that the kernel compiled, all functions one after another; empty where
    /// the program is interpreted or the kernel does not show it.
    ///
    /// # Errors
    ///
    /// The kernel's refusal.
    pub fn machine_code(&self) -> Result<Vec<u8>, Error> {
        let mut bytes = vec![0; self.info()?.machine_code_len as usize];
        let info = sys::prog_info(&self.fd, &mut [], &mut bytes).map_err(refused(Call::Info))?;
        Ok(if info.jited_prog_insns == 0 { Vec::new() } else { bytes })
    }
}

/// One `BPF_PROG_LOAD`, repeated a few times if a signal interrupted the verifier.
fn load_once(
    spec: &ProgSpec<'_>,
    name: [u8; 16],
    licence: &CStr,
    log: &mut [u8],
) -> (Result<Fd, i32>, u32) {
    const ATTEMPTS: u32 = 5;
    let mut attempt = 1;
    loop {
        let mut attr = attr::ProgLoad {
            prog_type: spec.prog_type,
            expected_attach_type: spec.expected_attach_type,
            prog_name: name,
            prog_flags: spec.flags,
            log_level: spec.log_level,
            prog_btf_fd: spec.btf.map_or(0, |btf| btf.btf.fd()),
            func_info_rec_size: spec.btf.map_or(0, |btf| btf.func_info_rec_size),
            line_info_rec_size: spec.btf.map_or(0, |btf| btf.line_info_rec_size),
            attach_btf_id: spec.attach_btf_id,
            ..attr::ProgLoad::default()
        };
        let buffers = LoadBuffers {
            insns: spec.insns,
            licence,
            func_info: spec.btf.map_or(&[], |btf| btf.func_info),
            line_info: spec.btf.map_or(&[], |btf| btf.line_info),
            log: &mut *log,
        };
        let result = sys::prog_load(&mut attr, buffers);
        if !matches!(result.0, Err(errno::EAGAIN)) || attempt == ATTEMPTS {
            return result;
        }
        attempt += 1;
    }
}

/// Checks that information has a whole number of records.
fn whole_records(info: &[u8], record_size: u32) -> Result<(), Error> {
    let len = info.len();
    if u32::try_from(len).is_err() {
        return Err(Error::TooLong { len });
    }
    match len.checked_rem(record_size as usize) {
        Some(0) => Ok(()),
        None if len == 0 => Ok(()),
        _ => Err(Error::RecordSize { len, record_size }),
    }
}

/// How much log is wanted.
pub(crate) struct Log {
    pub(crate) level: u32,
    pub(crate) size: u32,
    pub(crate) limit: u32,
}

/// Loads with ever more room for the log until it fits or the limit is reached. Returns the last
/// attempt's result, its log and whether that log is incomplete.
///
/// `load` returns, next to its result, the log's full length with its final zero, or 0 if the
/// kernel (before 6.4) does not say.
pub(crate) fn read_log<T>(
    log: Log,
    mut load: impl FnMut(&mut [u8]) -> (Result<T, i32>, u32),
) -> (Result<T, i32>, String, bool) {
    /// The largest buffer that the kernel takes (`bpf_verifier_log_attr_valid`).
    const KERNEL_LIMIT: u32 = u32::MAX >> 2;

    if log.level == 0 {
        return (load(&mut []).0, String::new(), false);
    }
    let limit = log.limit.clamp(1, KERNEL_LIMIT);
    let mut size = log.size.clamp(1, limit);
    loop {
        let mut buffer = vec![0; size as usize];
        let (result, full_size) = load(&mut buffer);
        let len = buffer.iter().position(|&byte| byte == 0).unwrap_or(buffer.len());
        // Without the full length, a log that fills its buffer has to be taken for cut off.
        let full = if full_size == 0 { len + 1 == buffer.len() } else { full_size > size };
        let truncated = full && matches!(result, Err(errno::ENOSPC));
        if !truncated || size == limit {
            buffer.truncate(len);
            let text = String::from_utf8(buffer)
                .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned());
            return (result, text, truncated);
        }
        size = size.saturating_mul(2).max(full_size).min(limit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes `text` to the log as the kernel does without `BPF_LOG_FIXED`: the end is kept.
    fn pretend(text: &str, log: &mut [u8], says_size: bool) -> (Result<(), i32>, u32) {
        let written = format!("{text}\0");
        let start = written.len().saturating_sub(log.len());
        log[..written.len() - start].copy_from_slice(&written.as_bytes()[start..]);
        let size = if says_size { written.len() as u32 } else { 0 };
        (if start > 0 { Err(errno::ENOSPC) } else { Ok(()) }, size)
    }

    #[test]
    fn logs_grow_until_they_fit() {
        let text = "a line of the log\n".repeat(100);
        for says_size in [false, true] {
            let mut loads = 0;
            let log = Log { level: 1, size: 100, limit: 1 << 20 };
            let (result, read, truncated) = read_log(log, |buffer| {
                loads += 1;
                pretend(&text, buffer, says_size)
            });
            assert_eq!((result, truncated), (Ok(()), false));
            assert_eq!(read, text);
            assert_eq!(loads, if says_size { 2 } else { 6 });
        }
    }

    #[test]
    fn logs_over_the_limit_are_cut_and_say_so() {
        let log = Log { level: 1, size: 10, limit: 40 };
        let (result, read, truncated) =
            read_log(log, |buffer| pretend(&"0123456789".repeat(10), buffer, true));
        assert_eq!((result, truncated), (Err(errno::ENOSPC), true));
        assert_eq!(read, "123456789012345678901234567890123456789");
    }

    #[test]
    fn records_are_whole() {
        assert_eq!(whole_records(&[0; 16], 8), Ok(()));
        assert_eq!(whole_records(&[], 0), Ok(()));
        assert_eq!(whole_records(&[0; 9], 8), Err(Error::RecordSize { len: 9, record_size: 8 }));
        assert_eq!(whole_records(&[0; 9], 0), Err(Error::RecordSize { len: 9, record_size: 0 }));
    }
}
