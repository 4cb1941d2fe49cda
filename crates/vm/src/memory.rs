//! The window: the 4 GiB of address space that a guest can reach, and nothing else.
//!
//! A guest address is an offset in the window. Pages are committed on demand and recorded in a
//! table of permissions, which every access from Rust consults first: a fault in a copy could not
//! be unwound. Guards of 2 GiB on both sides catch the displacements of compiled code. What lies
//! where, and how large each object is, is [`crate::region`]'s knowledge.

#![allow(unsafe_code, reason = "the one place where guest memory is touched")]

use std::io;
use std::ptr;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering, fence};

use skep_bpf::op::{AtomicOp, Size, Width};

#[cfg(target_endian = "big")]
compile_error!("guest memory is little endian; big-endian hosts are not supported");

/// The size of a guest page in bytes: the granularity of permissions.
pub const PAGE_BYTES: u32 = 4096;

const WINDOW_BYTES: usize = 1 << 32;
const GUARD_BYTES: usize = 1 << 31;
const PAGES: usize = WINDOW_BYTES / PAGE_BYTES as usize;

/// What a page or region may be used for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Perm {
    /// Not mapped.
    None,
    /// Reading only.
    Read,
    /// Reading and writing.
    ReadWrite,
}

impl Perm {
    /// Whether an access is allowed.
    #[must_use]
    pub const fn allows(self, access: Access) -> bool {
        matches!((self, access), (Perm::ReadWrite, _) | (Perm::Read, Access::Read))
    }

    const fn bits(self) -> u8 {
        match self {
            Perm::None => 0,
            Perm::Read => Access::Read.bit(),
            Perm::ReadWrite => Access::Read.bit() | Access::Write.bit(),
        }
    }
}

/// What an access does.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Access {
    /// Reads.
    Read,
    /// Writes, or reads and writes.
    Write,
}

impl Access {
    const fn bit(self) -> u8 {
        match self {
            Access::Read => 1,
            Access::Write => 2,
        }
    }
}

/// An access that guest memory does not allow.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
#[error("{} of {len} bytes at {addr:#x} is not allowed", if *.access == Access::Read { "read" } else { "write" })]
pub struct Fault {
    /// The guest address.
    pub addr: u32,
    /// The number of bytes.
    pub len: u32,
    /// Reading or writing.
    pub access: Access,
}

/// The reservation and the table of page permissions.
#[derive(Debug)]
pub struct Window {
    view: View,
    // The view's second pointer leads here; boxed so that it does not move.
    pages: Box<[AtomicU8]>,
    reservation: *mut u8,
}

// SAFETY: the reservation is plain memory that lives until drop; concurrent accesses are volatile
// or atomic, and which pages may be touched is decided by atomics.
unsafe impl Send for Window {}
// SAFETY: as for Send.
unsafe impl Sync for Window {}

/// Where the window is: two words that an engine keeps in registers. Valid as long as the
/// [`Window`] that made it, which the engines' entry points borrow.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct View {
    base: *mut u8,
    pages: *const AtomicU8,
}

impl Window {
    /// Reserves address space; nothing is committed.
    ///
    /// # Errors
    ///
    /// If the host does not give 8 GiB of address space.
    pub fn new() -> io::Result<Window> {
        let reservation = reserve(WINDOW_BYTES + 2 * GUARD_BYTES)?;
        let pages: Box<[AtomicU8]> = zeroed(PAGES);
        // SAFETY: the window starts one guard into the reservation.
        let base = unsafe { reservation.add(GUARD_BYTES) };
        Ok(Window { view: View { base, pages: pages.as_ptr() }, pages, reservation })
    }

    pub(crate) fn view(&self) -> View {
        self.view
    }

    /// The host address of guest address 0, for generated code.
    pub(crate) fn base(&self) -> u64 {
        self.view.base.expose_provenance() as u64
    }

    /// Gives whole pages a permission; those that were not mapped read as zeros.
    ///
    /// # Errors
    ///
    /// If the host refuses.
    ///
    /// # Panics
    ///
    /// If start or length is no multiple of [`PAGE_BYTES`] or the range leaves the window.
    pub fn protect(&self, start: u32, len: u32, perm: Perm) -> io::Result<()> {
        let (first, count) = page_range(start, len);
        protect(self.view.at(start), len as usize, perm)?;
        for page in &self.pages[first..first + count] {
            page.store(perm.bits(), Ordering::Relaxed);
        }
        Ok(())
    }

    /// Unmaps whole pages and gives their memory back.
    ///
    /// # Errors
    ///
    /// If the host refuses; then the pages are inaccessible all the same.
    ///
    /// # Panics
    ///
    /// As for [`Window::protect`].
    pub fn release(&self, start: u32, len: u32) -> io::Result<()> {
        let (first, count) = page_range(start, len);
        for page in &self.pages[first..first + count] {
            page.store(Perm::None.bits(), Ordering::Relaxed);
        }
        protect(self.view.at(start), len as usize, Perm::None)?;
        discard(self.view.at(start), len as usize)
    }

    /// Maps whole pages of fresh memory at an address, readable and writable, and the same memory
    /// again right behind: what runs over its end is found at its start.
    ///
    /// # Errors
    ///
    /// If the host refuses.
    ///
    /// # Panics
    ///
    /// As for [`Window::protect`], of twice the length.
    pub(crate) fn map_twice(&self, start: u32, len: u32) -> io::Result<()> {
        let (first, count) = page_range(start, 2 * len);
        map_twice(self.view.at(start), len as usize)?;
        for page in &self.pages[first..first + count] {
            page.store(Perm::ReadWrite.bits(), Ordering::Relaxed);
        }
        Ok(())
    }

    /// Unmaps what [`Window::map_twice`] mapped; the pages can be used for anything again.
    ///
    /// # Errors
    ///
    /// If the host refuses; then the pages stay mapped but inaccessible to guests.
    ///
    /// # Panics
    ///
    /// As for [`Window::map_twice`].
    pub(crate) fn unmap_twice(&self, start: u32, len: u32) -> io::Result<()> {
        let (first, count) = page_range(start, 2 * len);
        for page in &self.pages[first..first + count] {
            page.store(Perm::None.bits(), Ordering::Relaxed);
        }
        clear(self.view.at(start), 2 * len as usize)
    }

    /// Checks that every byte of a range allows an access.
    ///
    /// # Errors
    ///
    /// If one does not.
    #[inline]
    pub fn check(&self, addr: u32, len: u32, access: Access) -> Result<(), Fault> {
        self.view.check(addr, len, access)
    }

    /// Asks for huge pages for a large range that is accessed at random.
    pub(crate) fn prefer_huge(&self, start: u32, len: u32) {
        if len as usize >= HUGE_FROM_BYTES {
            advise_huge(self.view.at(start), len as usize);
        }
    }

    /// Has the memory at an address come closer, since it will be accessed.
    #[inline(always)]
    pub(crate) fn prefetch(&self, addr: u32) {
        prefetch(self.view.at(addr));
    }

    /// Copies guest memory out.
    ///
    /// # Errors
    ///
    /// If a byte is not readable; then nothing was copied.
    pub fn read(&self, addr: u32, to: &mut [u8]) -> Result<(), Fault> {
        let len = u32::try_from(to.len()).unwrap_or(u32::MAX);
        self.check(addr, len, Access::Read)?;
        // SAFETY: check found len readable bytes from addr, and `to` has as many; a host slice
        // never lies in the window.
        unsafe { ptr::copy_nonoverlapping(self.view.at(addr), to.as_mut_ptr(), to.len()) };
        Ok(())
    }

    /// Copies into guest memory.
    ///
    /// # Errors
    ///
    /// If a byte is not writable; then nothing was copied.
    pub fn write(&self, addr: u32, from: &[u8]) -> Result<(), Fault> {
        let len = u32::try_from(from.len()).unwrap_or(u32::MAX);
        self.check(addr, len, Access::Write)?;
        // SAFETY: check found len writable bytes at addr, and `from` has as many; a host slice
        // never lies in the window.
        unsafe { ptr::copy_nonoverlapping(from.as_ptr(), self.view.at(addr), from.len()) };
        Ok(())
    }

    /// Sets a range of guest memory to a byte.
    ///
    /// # Errors
    ///
    /// If a byte is not writable; then nothing was written.
    pub fn fill(&self, addr: u32, len: u32, byte: u8) -> Result<(), Fault> {
        self.check(addr, len, Access::Write)?;
        // SAFETY: check found len writable bytes at addr.
        unsafe { ptr::write_bytes(self.view.at(addr), byte, len as usize) };
        Ok(())
    }

    /// Copies within guest memory; the ranges may overlap.
    ///
    /// # Errors
    ///
    /// If a byte is not readable or writable; then nothing was copied.
    pub fn copy(&self, from: u32, to: u32, len: u32) -> Result<(), Fault> {
        self.check(from, len, Access::Read)?;
        self.check(to, len, Access::Write)?;
        // SAFETY: both ranges were checked; ptr::copy allows overlap.
        unsafe { ptr::copy(self.view.at(from), self.view.at(to), len as usize) };
        Ok(())
    }

    /// Loads 1, 2, 4 or 8 bytes, zero-extended.
    ///
    /// # Errors
    ///
    /// If a byte is not readable.
    pub fn load(&self, addr: u32, size: Size) -> Result<u64, Fault> {
        self.view.load(addr, size)
    }

    /// Loads words of four bytes, of which at most a page is asked for.
    #[inline(always)]
    pub(crate) fn load_words<const N: usize>(&self, addr: u32) -> Result<[u32; N], Fault> {
        const { assert!(N > 0 && 4 * N <= PAGE_BYTES as usize, "no more than two pages") };
        let len = 4 * N as u32;
        if !self.view.allows_small(addr, len, Access::Read) {
            return Err(Fault { addr, len, access: Access::Read });
        }
        // SAFETY: the pages of the first and the last byte are readable, and there is no other
        // between them. Volatile, since other threads may write.
        let load = |index| unsafe { load_raw(self.view.at(addr + 4 * index as u32), Size::W) };
        Ok(std::array::from_fn(|index| load(index) as u32))
    }

    /// Stores the low 1, 2, 4 or 8 bytes of a value.
    ///
    /// # Errors
    ///
    /// If a byte is not writable.
    pub fn store(&self, addr: u32, size: Size, value: u64) -> Result<(), Fault> {
        self.view.store(addr, size, value)
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        unreserve(self.reservation, WINDOW_BYTES + 2 * GUARD_BYTES);
    }
}

/// Why an atomic operation did not happen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum AtomicFault {
    Fault(Fault),
    Misaligned { addr: u32, len: u32 },
}

impl View {
    #[inline(always)]
    fn at(self, addr: u32) -> *mut u8 {
        self.base.wrapping_add(addr as usize)
    }

    #[inline(always)]
    fn page_allows(self, addr: u32, access: Access) -> bool {
        // SAFETY: the table has an entry for each page of the window, and a u32 address cannot
        // lie outside.
        let page = unsafe { &*self.pages.wrapping_add((addr / PAGE_BYTES) as usize) };
        page.load(Ordering::Relaxed) & access.bit() != 0
    }

    /// The check for accesses of at most a page. An address at the end of the window cannot wrap
    /// into its start: the last pages are never mapped.
    #[inline(always)]
    fn allows_small(self, addr: u32, len: u32, access: Access) -> bool {
        let last = addr.wrapping_add(len - 1);
        self.page_allows(addr, access)
            && (addr / PAGE_BYTES == last / PAGE_BYTES || self.page_allows(last, access))
    }

    fn check(self, addr: u32, len: u32, access: Access) -> Result<(), Fault> {
        let fault = Fault { addr, len, access };
        if len == 0 {
            return Ok(());
        }
        let last = addr.checked_add(len - 1).ok_or(fault)?;
        let mut page = addr / PAGE_BYTES;
        while page <= last / PAGE_BYTES {
            if !self.page_allows(page * PAGE_BYTES, access) {
                return Err(fault);
            }
            page += 1;
        }
        Ok(())
    }

    #[inline(always)]
    pub(crate) fn load(self, addr: u32, size: Size) -> Result<u64, Fault> {
        if !self.allows_small(addr, size.bytes(), Access::Read) {
            return Err(Fault { addr, len: size.bytes(), access: Access::Read });
        }
        // SAFETY: the pages of the first and the last byte are readable, and an access of at
        // most 8 bytes touches no other. Volatile, since other threads may write.
        Ok(unsafe { load_raw(self.at(addr), size) })
    }

    #[inline(always)]
    pub(crate) fn store(self, addr: u32, size: Size, value: u64) -> Result<(), Fault> {
        if !self.allows_small(addr, size.bytes(), Access::Write) {
            return Err(Fault { addr, len: size.bytes(), access: Access::Write });
        }
        // SAFETY: as for load, with writable pages.
        unsafe { store_raw(self.at(addr), size, value) };
        Ok(())
    }

    /// Reads, computes and writes in one step, sequentially consistent; gives the old value.
    #[inline]
    pub(crate) fn atomic(
        self,
        addr: u32,
        width: Width,
        op: AtomicOp,
        src: u64,
        expected: u64,
    ) -> Result<u64, AtomicFault> {
        let len = width.bits() / 8;
        if !self.allows_small(addr, len, Access::Write) {
            return Err(AtomicFault::Fault(Fault { addr, len, access: Access::Write }));
        }
        if !addr.is_multiple_of(len) {
            return Err(AtomicFault::Misaligned { addr, len });
        }
        let at = self.at(addr);
        Ok(match width {
            Width::W32 => {
                // SAFETY: aligned (the base is page aligned), writable, and shared only through
                // atomics and volatile accesses.
                let cell = unsafe { AtomicU32::from_ptr(at.cast()) };
                let new = |old: u32| op.eval(width, old.into(), src, expected) as u32;
                u64::from(
                    cell.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |old| Some(new(old)))
                        .unwrap_or_else(|old| old),
                )
            }
            Width::W64 => {
                // SAFETY: as for 32 bits.
                let cell = unsafe { AtomicU64::from_ptr(at.cast()) };
                let new = |old: u64| op.eval(width, old, src, expected);
                cell.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |old| Some(new(old)))
                    .unwrap_or_else(|old| old)
            }
        })
    }
}

impl View {
    /// A load that later accesses of this thread do not overtake.
    #[inline]
    pub(crate) fn load_acquire(self, addr: u32, size: Size) -> Result<u64, AtomicFault> {
        self.check_aligned(addr, size)?;
        let value = self.load(addr, size).map_err(AtomicFault::Fault)?;
        fence(Ordering::Acquire);
        Ok(value)
    }

    /// A store that does not overtake earlier accesses of this thread.
    #[inline]
    pub(crate) fn store_release(
        self,
        addr: u32,
        size: Size,
        value: u64,
    ) -> Result<(), AtomicFault> {
        self.check_aligned(addr, size)?;
        fence(Ordering::Release);
        self.store(addr, size, value).map_err(AtomicFault::Fault)
    }

    fn check_aligned(self, addr: u32, size: Size) -> Result<(), AtomicFault> {
        let len = size.bytes();
        if addr.is_multiple_of(len) { Ok(()) } else { Err(AtomicFault::Misaligned { addr, len }) }
    }
}

/// Asks the processor to fetch what an address leads to. It is no access: nothing can fail.
#[inline(always)]
fn prefetch(at: *const u8) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: prefetching has no effect but on time.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) };
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: as above.
    unsafe {
        std::arch::asm!("prfm pldl1keep, [{}]", in(reg) at, options(nostack, readonly, preserves_flags));
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let _ = at;
}

/// A value of any alignment, so that a volatile access needs none.
#[repr(C, packed)]
struct Unaligned<T>(T);

/// # Safety
///
/// `size` bytes at `at` are readable.
#[inline(always)]
#[allow(clippy::multiple_unsafe_ops_per_block, reason = "one operation for each size")]
unsafe fn load_raw(at: *mut u8, size: Size) -> u64 {
    // SAFETY: the caller's, in each arm.
    unsafe {
        match size {
            Size::B => u64::from(at.read_volatile()),
            Size::H => u64::from(at.cast::<Unaligned<u16>>().read_volatile().0),
            Size::W => u64::from(at.cast::<Unaligned<u32>>().read_volatile().0),
            Size::Dw => at.cast::<Unaligned<u64>>().read_volatile().0,
        }
    }
}

/// # Safety
///
/// `size` bytes at `at` are writable.
#[inline(always)]
#[allow(clippy::multiple_unsafe_ops_per_block, reason = "one operation for each size")]
unsafe fn store_raw(at: *mut u8, size: Size, value: u64) {
    // Not volatile: a volatile store of a packed value goes through the stack, which costs each
    // later load of it a store forwarding. An engine's next step is code that the compiler does
    // not know, so it cannot leave a store out or move it past that.
    // SAFETY: the caller's, in each arm.
    unsafe {
        match size {
            Size::B => at.write(value as u8),
            Size::H => at.cast::<u16>().write_unaligned(value as u16),
            Size::W => at.cast::<u32>().write_unaligned(value as u32),
            Size::Dw => at.cast::<u64>().write_unaligned(value),
        }
    }
}

fn page_range(start: u32, len: u32) -> (usize, usize) {
    assert!(
        start.is_multiple_of(PAGE_BYTES) && len.is_multiple_of(PAGE_BYTES),
        "{start:#x} + {len:#x} are not whole pages"
    );
    ((start / PAGE_BYTES) as usize, (len / PAGE_BYTES) as usize)
}

/// Zeros that are committed when they are first written to, however many. Many are backed by huge
/// pages where the host has them: tables are accessed at random.
pub(crate) fn zeroed<T: Zero>(count: usize) -> Box<[T]> {
    // SAFETY: zero is a value of T.
    let zeros: Box<[T]> = unsafe { Box::new_zeroed_slice(count).assume_init() };
    if size_of_val(&*zeros) >= HUGE_FROM_BYTES {
        advise_huge(zeros.as_ptr().cast(), size_of_val(&*zeros));
    }
    zeros
}

/// Smaller tables fit into a cache and its translations.
const HUGE_FROM_BYTES: usize = 4 << 20;

/// # Safety
///
/// A value of all zero bytes is valid.
pub(crate) unsafe trait Zero {}

// SAFETY: an atomic number has the representation of the number.
unsafe impl Zero for AtomicU8 {}
// SAFETY: as for 8 bits.
unsafe impl Zero for AtomicU32 {}
// SAFETY: as for 8 bits.
unsafe impl Zero for AtomicU64 {}

#[cfg(unix)]
use reservation::{advise_huge, clear, discard, map_twice, protect, reserve, unreserve};

#[cfg(unix)]
mod reservation {
    use super::{Perm, ptr};
    use rustix::mm::{self, Advice, MapFlags, MprotectFlags, ProtFlags};
    use std::io;

    pub(super) fn reserve(len: usize) -> io::Result<*mut u8> {
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
        // SAFETY: a new mapping at an address of the kernel's choice.
        let at = unsafe { mm::mmap_anonymous(ptr::null_mut(), len, ProtFlags::empty(), flags) }?;
        Ok(at.cast())
    }

    pub(super) fn unreserve(at: *mut u8, len: usize) {
        // SAFETY: the whole reservation, which nothing uses any more.
        // A failure would leave address space reserved and cannot be helped in a destructor.
        let _ = unsafe { mm::munmap(at.cast(), len) };
    }

    pub(super) fn protect(at: *mut u8, len: usize, perm: Perm) -> io::Result<()> {
        let flags = match perm {
            Perm::None => MprotectFlags::empty(),
            Perm::Read => MprotectFlags::READ,
            Perm::ReadWrite => MprotectFlags::READ | MprotectFlags::WRITE,
        };
        // SAFETY: whole pages of the reservation, which no Rust reference leads to.
        Ok(unsafe { mm::mprotect(at.cast(), len, flags) }?)
    }

    /// Asks for huge pages within a range of memory; a host without them goes on with small ones.
    pub(super) fn advise_huge(at: *const u8, len: usize) {
        const HUGE_BYTES: usize = 2 << 20;
        let before = at.addr().next_multiple_of(HUGE_BYTES) - at.addr();
        let whole = len.saturating_sub(before) / HUGE_BYTES * HUGE_BYTES;
        if whole > 0 {
            let start = at.wrapping_add(before).cast_mut();
            // SAFETY: the range lies in the caller's memory, and its contents stay as they are.
            let _ = unsafe { mm::madvise(start.cast(), whole, Advice::LinuxHugepage) };
        }
    }

    /// Replaces whatever is mapped in a range of the reservation by nothing.
    pub(super) fn clear(at: *mut u8, len: usize) -> io::Result<()> {
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE | MapFlags::FIXED;
        // SAFETY: whole pages of the reservation, which no Rust reference leads to.
        unsafe { mm::mmap_anonymous(at.cast(), len, ProtFlags::empty(), flags) }?;
        Ok(())
    }

    /// Maps one piece of shared memory twice in a row.
    #[cfg(target_os = "linux")]
    pub(super) fn map_twice(at: *mut u8, len: usize) -> io::Result<()> {
        use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
        let file = memfd_create("skep-ring", MemfdFlags::CLOEXEC)?;
        ftruncate(&file, len as u64)?;
        let (prot, flags) =
            (ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED | MapFlags::FIXED);
        for half in [at, at.wrapping_add(len)] {
            // SAFETY: whole pages of the reservation, which no Rust reference leads to.
            let mapped = unsafe { mm::mmap(half.cast(), len, prot, flags, &file, 0) };
            if let Err(error) = mapped {
                // What was mapped so far must not stay; that it may is the lesser evil.
                let _ = clear(at, 2 * len);
                return Err(error.into());
            }
        }
        Ok(())
    }

    #[cfg(not(target_os = "linux"))]
    pub(super) fn map_twice(_at: *mut u8, _len: usize) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(super) fn discard(at: *mut u8, len: usize) -> io::Result<()> {
        // SAFETY: as for protect; the pages read as zeros when they are mapped again.
        Ok(unsafe { mm::madvise(at.cast(), len, Advice::LinuxDontNeed) }?)
    }
}
