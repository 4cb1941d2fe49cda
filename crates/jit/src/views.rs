//! Memory that is mapped twice: writable at one address, executable at another.
//!
//! On x86-64 the second mapping is a copy of a shared anonymous one, which `perf` takes for memory
//! without a file and so looks for names in its map. Elsewhere, and where the system refuses that,
//! both are of a nameless file; emulators of aarch64 cannot copy mappings.

#![allow(unsafe_code, reason = "memory is mapped")]

use std::io;
use std::ptr;

use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use rustix::mm::{self, MapFlags, ProtFlags};

/// Maps new memory of so many bytes, whole pages: the address to write at and the one to execute
/// at. The mappings stay for ever.
///
/// # Errors
///
/// If the system gives no memory.
pub(crate) fn map(len: usize) -> io::Result<(*mut u8, *const u8)> {
    #[cfg(target_arch = "x86_64")]
    if let Ok(views) = copied(len) {
        return Ok(views);
    }
    of_file(len)
}

#[cfg(target_arch = "x86_64")]
fn copied(len: usize) -> io::Result<(*mut u8, *const u8)> {
    use rustix::mm::{MprotectFlags, MremapFlags};

    let prot = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: a new mapping at an address of the system's choice.
    let write = unsafe { mm::mmap_anonymous(ptr::null_mut(), len, prot, MapFlags::SHARED)? };
    // SAFETY: an old length of 0 leaves the old mapping as it is (mremap(2)).
    let copy = unsafe { mm::mremap(write, 0, len, MremapFlags::MAYMOVE) };
    let run = copy.and_then(|run| {
        // SAFETY: the mapping is new, and nothing refers to it.
        let made = unsafe { mm::mprotect(run, len, MprotectFlags::READ | MprotectFlags::EXEC) };
        if made.is_err() {
            // SAFETY: as above. Should the system refuse, it stays.
            let _ = unsafe { mm::munmap(run, len) };
        }
        made.map(|()| run)
    });
    if run.is_err() {
        // SAFETY: as above.
        let _ = unsafe { mm::munmap(write, len) };
    }
    Ok((write.cast(), run?.cast::<u8>().cast_const()))
}

fn of_file(len: usize) -> io::Result<(*mut u8, *const u8)> {
    let file = memfd_create("skep-code", MemfdFlags::CLOEXEC)?;
    ftruncate(&file, len as u64)?;
    let map = |prot| {
        // SAFETY: new mappings at addresses of the system's choice.
        unsafe { mm::mmap(ptr::null_mut(), len, prot, MapFlags::SHARED, &file, 0) }
    };
    let write = map(ProtFlags::READ | ProtFlags::WRITE)?;
    let run = map(ProtFlags::READ | ProtFlags::EXEC)?;
    Ok((write.cast(), run.cast::<u8>().cast_const()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_at_one_address_stands_at_the_other() {
        let mut ways = vec![of_file(8192).unwrap()];
        #[cfg(target_arch = "x86_64")]
        ways.push(copied(8192).unwrap());
        for (write, run) in ways {
            assert_ne!(write.cast_const(), run);
            // SAFETY: it was mapped above with so many bytes, and nobody else knows it.
            unsafe { write.wrapping_add(5000).write(7) };
            // SAFETY: as above.
            assert_eq!(unsafe { run.wrapping_add(5000).read() }, 7);
        }
    }
}
