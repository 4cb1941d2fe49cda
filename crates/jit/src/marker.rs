//! A page of a file mapped as code, by which profilers learn of the file.
//!
//! `perf record` notes which files are mapped as code, and `perf inject` looks among them for dumps
//! of generated code. Nobody executes the page.

#![allow(unsafe_code, reason = "a file is mapped")]

use std::fs::File;
use std::io;
use std::ptr::{self, NonNull};

use rustix::mm::{self, MapFlags, ProtFlags};
use rustix::param::page_size;

/// The mapping, gone with this value.
#[derive(Debug)]
pub struct Marker {
    page: NonNull<u8>,
    bytes: usize,
}

// SAFETY: the page is never accessed.
unsafe impl Send for Marker {}
// SAFETY: as above.
unsafe impl Sync for Marker {}

impl Marker {
    /// Maps the first page of a file.
    ///
    /// # Errors
    ///
    /// If the system refuses.
    pub fn new(file: &File) -> io::Result<Marker> {
        let (prot, flags) = (ProtFlags::READ | ProtFlags::EXEC, MapFlags::PRIVATE);
        let bytes = page_size();
        // SAFETY: a new mapping at an address of the system's choice.
        let page = unsafe { mm::mmap(ptr::null_mut(), bytes, prot, flags, file, 0)? };
        let page = NonNull::new(page.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Marker { page, bytes })
    }
}

impl Drop for Marker {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, and nothing refers to it. Should the system refuse, it stays.
        let _ = unsafe { mm::munmap(self.page.as_ptr().cast(), self.bytes) };
    }
}
