//! The system call, and the buffers it reads and writes: the only unsafe code of this crate.
//!
//! Each function takes slices, fills their addresses and lengths into the argument itself and so
//! is safe to call with anything. A map's key and value sizes are fixed when it is created and
//! kept with its file descriptor, because the kernel takes the lengths of keys and values from
//! the map. Elsewhere than on Linux every call fails with `ENOSYS`.

use crate::attr;
use crate::error::{Call, Error};
use crate::map::user_value_len;
use core::ffi::CStr;
use core::mem::size_of;
use core::ptr;

pub(crate) use os::Fd;

#[cfg(target_os = "linux")]
mod os {
    use core::ptr;
    use std::io;
    use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

    /// A file descriptor that bpf(2) made; closed when dropped.
    #[derive(Debug)]
    pub(crate) struct Fd(OwnedFd);

    impl Fd {
        /// The number of the descriptor.
        pub(crate) fn number(&self) -> u32 {
            self.0.as_raw_fd().cast_unsigned()
        }
    }

    /// Calls bpf(2); returns what it returns, or the error number.
    ///
    /// # Safety
    ///
    /// Every address in `attr` must be zero or point to memory that the command may access: as
    /// much as `attr` (or the object it names) says, writable where the command writes.
    pub(super) unsafe fn bpf<A>(command: u32, attr: &mut A) -> Result<i32, i32> {
        // SAFETY: `attr` is a live, exclusively borrowed structure of the size given, and the
        // caller vouches for the addresses in it.
        let result =
            unsafe { libc::syscall(libc::SYS_bpf, command, ptr::from_mut(attr), size_of::<A>()) };
        match i32::try_from(result) {
            Ok(value) if value >= 0 => Ok(value),
            _ => Err(io::Error::last_os_error().raw_os_error().unwrap_or(0)),
        }
    }

    /// As [`bpf`], for commands that return a new file descriptor.
    ///
    /// # Safety
    ///
    /// As [`bpf`], and `command` must be one that returns a new file descriptor.
    pub(super) unsafe fn open<A>(command: u32, attr: &mut A) -> Result<Fd, i32> {
        // SAFETY: the caller's promise is the one that `bpf` asks for.
        let number = unsafe { bpf(command, attr) }?;
        // SAFETY: the kernel has just made this descriptor for us; nothing else owns it.
        Ok(Fd(unsafe { OwnedFd::from_raw_fd(number) }))
    }
}

#[cfg(not(target_os = "linux"))]
mod os {
    use crate::uapi::errno::ENOSYS;

    /// There are no such descriptors here.
    #[derive(Debug)]
    pub(crate) enum Fd {}

    impl Fd {
        pub(crate) fn number(&self) -> u32 {
            match *self {}
        }
    }

    pub(super) unsafe fn bpf<A>(_command: u32, _attr: &mut A) -> Result<i32, i32> {
        Err(ENOSYS)
    }

    pub(super) unsafe fn open<A>(_command: u32, _attr: &mut A) -> Result<Fd, i32> {
        Err(ENOSYS)
    }
}

/// The address of a buffer the kernel reads; zero if it is empty, as the kernel wants it.
fn address(bytes: &[u8]) -> u64 {
    if bytes.is_empty() { 0 } else { bytes.as_ptr().expose_provenance() as u64 }
}

/// The address of a buffer the kernel writes; zero if it is empty.
fn address_mut(bytes: &mut [u8]) -> u64 {
    if bytes.is_empty() { 0 } else { bytes.as_mut_ptr().expose_provenance() as u64 }
}

/// The length of a buffer as the kernel counts it.
///
/// Callers reject longer buffers with a proper error before they come here.
fn length(len: usize) -> u32 {
    u32::try_from(len).expect("buffers were checked to be at most u32::MAX long")
}

/// A map and the sizes with which the kernel copies its keys and values.
#[derive(Debug)]
pub(crate) struct MapFd {
    fd: Fd,
    key_len: usize,
    value_len: usize,
}

impl MapFd {
    /// Creates a map.
    pub(crate) fn create(attr: &mut attr::MapCreate) -> Result<Self, Error> {
        let key_len = attr.key_size as usize;
        let value_len = user_value_len(attr.map_type, attr.value_size)?;
        // SAFETY: the argument of BPF_MAP_CREATE contains no address.
        let fd = unsafe { os::open(Call::MapCreate.number(), attr) };
        let fd = fd.map_err(|errno| Error::Kernel { call: Call::MapCreate, errno })?;
        Ok(Self { fd, key_len, value_len })
    }

    pub(crate) fn number(&self) -> u32 {
        self.fd.number()
    }

    pub(crate) const fn key_len(&self) -> usize {
        self.key_len
    }

    pub(crate) const fn value_len(&self) -> usize {
        self.value_len
    }

    /// Calls one of the commands on an element. No key or an empty one is passed as address zero.
    fn element(&self, call: Call, key: Option<&[u8]>, value: u64, flags: u64) -> Result<(), i32> {
        assert!(
            key.is_none_or(|key| key.len() == self.key_len),
            "the length of the key is checked"
        );
        let key = key.map_or(0, address);
        let mut attr = attr::MapElem { map_fd: self.number(), unused: 0, key, value, flags };
        // SAFETY: the kernel reads `key_len` bytes of the key, which the assertion shows to be
        // there, and at most `value_len` (or, for the next key, `key_len`) bytes at `value`, which
        // the callers below, all in this file, asserted; `user_value_len` says why it is no more.
        unsafe { os::bpf(call.number(), &mut attr) }.map(drop)
    }

    /// Looks an element up (`call` may also be [`Call::MapTake`]); the value is read as well by
    /// some types.
    pub(crate) fn lookup(
        &self,
        call: Call,
        key: &[u8],
        value: &mut [u8],
        flags: u64,
    ) -> Result<(), i32> {
        assert!(matches!(call, Call::MapLookup | Call::MapTake), "these two write one value");
        assert_eq!(value.len(), self.value_len, "the kernel writes one value of the map");
        self.element(call, Some(key), address_mut(value), flags)
    }

    pub(crate) fn update(&self, key: &[u8], value: &[u8], flags: u64) -> Result<(), i32> {
        assert_eq!(value.len(), self.value_len, "the kernel reads one value of the map");
        self.element(Call::MapUpdate, Some(key), address(value), flags)
    }

    pub(crate) fn delete(&self, key: &[u8]) -> Result<(), i32> {
        self.element(Call::MapDelete, Some(key), 0, 0)
    }

    pub(crate) fn next_key(&self, key: Option<&[u8]>, next: &mut [u8]) -> Result<(), i32> {
        assert_eq!(next.len(), self.key_len, "the kernel writes one key of the map");
        self.element(Call::MapNextKey, key, address_mut(next), 0)
    }

    pub(crate) fn freeze(&self) -> Result<(), i32> {
        let mut fd = self.number();
        // SAFETY: the argument of BPF_MAP_FREEZE is a file descriptor alone.
        unsafe { os::bpf(Call::MapFreeze.number(), &mut fd) }.map(drop)
    }
}

/// What a program load reads besides numbers, and the log it writes.
pub(crate) struct LoadBuffers<'a> {
    pub(crate) insns: &'a [[u8; 8]],
    pub(crate) licence: &'a CStr,
    pub(crate) func_info: &'a [u8],
    pub(crate) line_info: &'a [u8],
    pub(crate) log: &'a mut [u8],
}

/// Loads a program. Also returns how long the log would be in full, including its final zero; 0
/// from kernels that do not say.
pub(crate) fn prog_load(
    attr: &mut attr::ProgLoad,
    buffers: LoadBuffers<'_>,
) -> (Result<Fd, i32>, u32) {
    let LoadBuffers { insns, licence, func_info, line_info, log } = buffers;
    attr.insns = address(insns.as_flattened());
    attr.insn_cnt = length(insns.len());
    attr.license = address(licence.to_bytes_with_nul());
    attr.func_info = address(func_info);
    attr.func_info_cnt = length(func_info.len()).checked_div(attr.func_info_rec_size).unwrap_or(0);
    attr.line_info = address(line_info);
    attr.line_info_cnt = length(line_info.len()).checked_div(attr.line_info_rec_size).unwrap_or(0);
    attr.log_size = length(log.len());
    attr.log_buf = address_mut(log);
    (attr.fd_array, attr.core_relos, attr.core_relo_cnt) = (0, 0, 0);
    // SAFETY: every address was set above to a live borrowed buffer (or zero), with its length in
    // bytes, instructions or whole records; the licence ends with a zero byte. Only the log, which
    // is borrowed exclusively, is written.
    let fd = unsafe { os::open(Call::ProgLoad.number(), attr) };
    (fd, attr.log_true_size)
}

/// Loads BTF; the result is as that of [`prog_load`].
pub(crate) fn btf_load(btf: &[u8], log_level: u32, log: &mut [u8]) -> (Result<Fd, i32>, u32) {
    let mut attr = attr::BtfLoad {
        btf: address(btf),
        btf_size: length(btf.len()),
        btf_log_level: log_level,
        btf_log_size: length(log.len()),
        btf_log_buf: address_mut(log),
        btf_log_true_size: 0,
    };
    // SAFETY: both addresses are those of live borrowed buffers (or zero) with their lengths; only
    // the log, which is borrowed exclusively, is written.
    let fd = unsafe { os::open(Call::BtfLoad.number(), &mut attr) };
    (fd, attr.btf_log_true_size)
}

/// Runs a program once or more. Some program types write the context back to `ctx_in`.
pub(crate) fn test_run(
    attr: &mut attr::TestRun,
    data_in: &[u8],
    data_out: &mut [u8],
    ctx_in: &mut [u8],
    ctx_out: &mut [u8],
) -> Result<(), i32> {
    attr.data_in = address(data_in);
    attr.data_size_in = length(data_in.len());
    attr.data_out = address_mut(data_out);
    attr.data_size_out = length(data_out.len());
    attr.ctx_in = address_mut(ctx_in);
    attr.ctx_size_in = length(ctx_in.len());
    attr.ctx_out = address_mut(ctx_out);
    attr.ctx_size_out = length(ctx_out.len());
    // SAFETY: every address was set above to a live borrowed buffer (or zero) with its length,
    // which the kernel does not exceed; those it writes are borrowed exclusively.
    unsafe { os::bpf(Call::TestRun.number(), attr) }.map(drop)
}

/// Reads what the kernel knows about a program; its translated instructions and its machine code
/// as far as they fit. The lengths in the result are the full ones.
pub(crate) fn prog_info(
    program: &Fd,
    translated: &mut [u8],
    machine_code: &mut [u8],
) -> Result<attr::ProgInfo, i32> {
    let mut info = attr::ProgInfo {
        xlated_prog_insns: address_mut(translated),
        xlated_prog_len: length(translated.len()),
        jited_prog_insns: address_mut(machine_code),
        jited_prog_len: length(machine_code.len()),
        ..attr::ProgInfo::default()
    };
    let mut attr = attr::Info {
        bpf_fd: program.number(),
        info_len: length(size_of::<attr::ProgInfo>()),
        info: ptr::from_mut(&mut info).expose_provenance() as u64,
    };
    // SAFETY: `info` is a live local of the length given and every bit pattern is valid for it;
    // the addresses in it are those of exclusively borrowed buffers (or zero) with their lengths.
    unsafe { os::bpf(Call::Info.number(), &mut attr) }?;
    Ok(info)
}
