//! Executable memory: a pool that is mapped twice, so that nothing is ever writable and
//! executable at one address.
//!
//! Code is written through one mapping of the memory and runs in the other (`views`); where both lie
//! is the system's random choice, and where code lies in them ours. Chunks are never unmapped, so
//! that the fault handler can look at them without a lock: it finds the code of an address by a
//! table of the places where pieces start, and each piece has the table of its accesses beside it.

#![allow(unsafe_code, reason = "generated code is written and entered here")]

use std::io;
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use rustix::mm::{self, Advice};

use crate::abi::{Enter, RunState};
use crate::code::{Access, Code};
use crate::{fault, fetch, views};

/// Pieces start at multiples of this, which is a cache line.
const UNIT: usize = 64;
/// The size of a chunk, unless a piece needs more. Memory is used as it is touched.
const CHUNK_BYTES: usize = 16 << 20;
/// How much is made ready at once, so that a page fault is paid for many programs.
const READY_BYTES: usize = 128 << 10;
/// What unused executable memory is filled with: an instruction that stops.
const FILLER: u8 = 0xcc;

/// Code that can be run. Its memory is used again after this is dropped, so whoever runs it keeps
/// it alive.
#[derive(Debug)]
pub struct Executable {
    /// Gives the memory back when it is dropped.
    _piece: Piece,
    /// The host address of the code.
    start: u64,
    len: u64,
    enter: u64,
    callback: Option<u64>,
    entries: Box<[u32]>,
    reads_stack: Option<u32>,
}

/// What stands before each piece's code, for the fault handler.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
struct Header {
    /// The offset of the code from the header.
    code: u32,
    code_len: u32,
    fault_exit: u32,
    accesses: u32,
}

impl Executable {
    /// Copies code into executable memory.
    ///
    /// # Errors
    ///
    /// If the system gives no memory.
    pub fn new(code: &Code) -> io::Result<Executable> {
        fault::install()?;
        let table = size_of::<Header>() + size_of_val(code.accesses.as_slice());
        let code_at = table.next_multiple_of(UNIT);
        let piece = Piece::alloc(code_at + code.bytes.len())?;
        let header = Header {
            code: code_at as u32,
            code_len: code.bytes.len() as u32,
            fault_exit: code.fault_exit,
            accesses: code.accesses.len() as u32,
        };
        let write = piece.write;
        // SAFETY: the piece is ours alone, has room for all three at offsets that keep their
        // alignment, and is not executed before this returns.
        unsafe { write.cast::<Header>().write(header) };
        let accesses = write.wrapping_add(size_of::<Header>()).cast::<Access>();
        // SAFETY: as above.
        unsafe {
            ptr::copy_nonoverlapping(code.accesses.as_ptr(), accesses, code.accesses.len());
        }
        // SAFETY: as above.
        unsafe {
            ptr::copy_nonoverlapping(
                code.bytes.as_ptr(),
                write.wrapping_add(code_at),
                code.bytes.len(),
            );
        }
        fetch::publish(
            write.wrapping_add(code_at),
            piece.run.wrapping_add(code_at),
            code.bytes.len(),
        );
        piece.publish();
        let start = (piece.run.addr() + code_at) as u64;
        Ok(Executable {
            start,
            len: code.bytes.len() as u64,
            enter: start + u64::from(code.enter),
            callback: code.callback.map(|offset| start + u64::from(offset)),
            entries: code.entries.clone().into(),
            reads_stack: code.reads_stack,
            _piece: piece,
        })
    }

    /// Calls the function of [`RunState::callback`], within a run of this code: as
    /// [`Executable::run`], with what the run left in the state of its own exit in its place.
    /// None if the code has no helpers that call functions.
    ///
    /// # Safety
    ///
    /// As for [`Executable::run`]; the entry is one of metered code that the same is true of.
    pub unsafe fn call_back(&self, state: *mut RunState) -> Option<u64> {
        // SAFETY: as in `run`.
        let enter: Enter = unsafe { std::mem::transmute(self.callback? as usize) };
        // SAFETY: generated code waits for the function that this is called from, so nobody else
        // uses the state.
        let outer = unsafe { &*state };
        let (sp, saved) = (outer.exit_sp, outer.exit_saved);
        // SAFETY: the caller's.
        let how = unsafe { enter(state) };
        // SAFETY: as above.
        let outer = unsafe { &mut *state };
        (outer.exit_sp, outer.exit_saved) = (sp, saved);
        Some(how)
    }

    /// The host address of a function's entry, if there is such a function.
    #[must_use]
    pub fn entry(&self, function: usize) -> Option<u64> {
        self.entries.get(function).map(|offset| self.start + u64::from(*offset))
    }

    /// [`Code::reads_stack`] of the code.
    #[must_use]
    pub fn reads_stack(&self) -> Option<u32> {
        self.reads_stack
    }

    /// The host address of the code.
    #[must_use]
    pub fn start(&self) -> u64 {
        self.start
    }

    /// Whether a host address lies in the code.
    #[must_use]
    pub fn contains(&self, place: u64) -> bool {
        place.wrapping_sub(self.start) < self.len
    }

    /// Runs the code: [`crate::abi::EXITED`] or [`crate::abi::TRAPPED`].
    ///
    /// # Safety
    ///
    /// The code was compiled for this processor. The state is filled in as [`crate::abi`] says:
    /// `window` is the start of 4 GiB of address space between guards of 2 GiB, all of it
    /// reserved for guest memory for as long as the code runs; the stack addresses lie in it; the
    /// runtime functions accept the state, and those that the source bound to sites accept these.
    #[inline]
    pub unsafe fn run(&self, state: &mut RunState) -> u64 {
        // SAFETY: `enter` is the address of a function of this type in this piece.
        let enter: Enter = unsafe { std::mem::transmute(self.enter as usize) };
        // SAFETY: the caller's.
        unsafe { enter(state) }
    }
}

/// Some units of a chunk.
#[derive(Debug)]
struct Piece {
    chunk: &'static Chunk,
    offset: usize,
    len: usize,
    write: *mut u8,
    run: *const u8,
}

// SAFETY: a piece is memory that nobody else has; it is written before it is shared.
unsafe impl Send for Piece {}
// SAFETY: as for Send.
unsafe impl Sync for Piece {}

/// A file mapped twice. Never freed.
#[derive(Debug)]
struct Chunk {
    write: *mut u8,
    run: *const u8,
    len: usize,
    /// A bit for each unit: whether a piece starts there.
    starts: Box<[AtomicU64]>,
    next: *const Chunk,
}

// SAFETY: the pointers lead to mappings that stay.
unsafe impl Send for Chunk {}
// SAFETY: as for Send; what can change is atomic or belongs to one piece.
unsafe impl Sync for Chunk {}

/// All chunks, the newest first.
static CHUNKS: AtomicPtr<Chunk> = AtomicPtr::new(ptr::null_mut());

/// The free parts of a chunk.
#[derive(Debug)]
struct Free {
    chunk: &'static Chunk,
    /// Offsets and lengths, by offset, never adjacent.
    parts: Vec<(usize, usize)>,
    /// Up to where pages were made ready.
    ready: usize,
    /// The state of a generator of small random distances.
    random: u64,
}

static FREE: Mutex<Vec<Free>> = Mutex::new(Vec::new());

impl Piece {
    fn alloc(bytes: usize) -> io::Result<Piece> {
        let len = bytes.next_multiple_of(UNIT);
        let mut chunks = FREE.lock().unwrap_or_else(PoisonError::into_inner);
        let found = chunks.iter_mut().find_map(|free| free.take(len));
        let (chunk, offset) = match found {
            Some(found) => found,
            None => {
                chunks.push(Free::new(len)?);
                let made = chunks.last_mut().and_then(|free| free.take(len));
                made.ok_or(io::ErrorKind::OutOfMemory)?
            }
        };
        let (write, run) = (chunk.write.wrapping_add(offset), chunk.run.wrapping_add(offset));
        Ok(Piece { chunk, offset, len, write, run })
    }

    /// Lets the fault handler find the piece, which is written.
    fn publish(&self) {
        let unit = self.offset / UNIT;
        self.chunk.starts[unit / 64].fetch_or(1 << (unit % 64), Ordering::Release);
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        let unit = self.offset / UNIT;
        self.chunk.starts[unit / 64].fetch_and(!(1 << (unit % 64)), Ordering::Release);
        // SAFETY: the piece is ours, and nobody runs it any more.
        unsafe { ptr::write_bytes(self.write, FILLER, self.len) };
        let mut chunks = FREE.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(free) = chunks.iter_mut().find(|free| ptr::eq(free.chunk, self.chunk)) {
            free.give(self.offset, self.len);
        }
    }
}

impl Free {
    fn new(least: usize) -> io::Result<Free> {
        let len = least.max(CHUNK_BYTES).next_multiple_of(READY_BYTES);
        let (write, run) = views::map(len)?;
        let mut seed = [0; 8];
        rustix::rand::getrandom(&mut seed, rustix::rand::GetRandomFlags::empty())?;
        let random = u64::from_le_bytes(seed) | 1;
        let chunk: &'static Chunk = Box::leak(Box::new(Chunk {
            write,
            run,
            len,
            starts: (0..len.div_ceil(UNIT * 64)).map(|_| AtomicU64::new(0)).collect(),
            // New chunks are made under the lock of `FREE` alone.
            next: CHUNKS.load(Ordering::Relaxed),
        }));
        CHUNKS.store(ptr::from_ref(chunk).cast_mut(), Ordering::Release);
        Ok(Free { chunk, parts: vec![(0, len)], ready: 0, random })
    }

    /// The first part that is large enough; a random distance from its start if there is room.
    fn take(&mut self, len: usize) -> Option<(&'static Chunk, usize)> {
        let index = self.parts.iter().position(|(_, free)| *free >= len)?;
        let (start, free) = self.parts[index];
        // Marsaglia's xorshift; a generator that an attacker could not predict would cost more
        // than the distance hides.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        let skip = (self.random >> 32) as usize % 8 * UNIT;
        let skip = if skip + len <= free { skip } else { 0 };
        let rest = (start + skip + len, free - skip - len);
        let parts = [(start, skip), rest].into_iter().filter(|(_, len)| *len > 0);
        self.parts.splice(index..=index, parts);
        self.make_ready(rest.0);
        Some((self.chunk, start + skip))
    }

    fn give(&mut self, offset: usize, len: usize) {
        let at = self.parts.partition_point(|(start, _)| *start < offset);
        self.parts.insert(at, (offset, len));
        let joins = |parts: &[(usize, usize)], at: usize| {
            parts.get(at + 1).is_some_and(|next| parts[at].0 + parts[at].1 == next.0)
        };
        for first in [Some(at), at.checked_sub(1)].into_iter().flatten() {
            if joins(&self.parts, first) {
                self.parts[first].1 += self.parts[first + 1].1;
                self.parts.remove(first + 1);
            }
        }
    }

    /// Makes pages present up to an offset, a number of them at once. Where the system does not
    /// do that, they come one by one.
    fn make_ready(&mut self, end: usize) {
        while self.ready < end {
            let len = READY_BYTES.min(self.chunk.len - self.ready);
            let write = self.chunk.write.wrapping_add(self.ready).cast();
            let run = self.chunk.run.wrapping_add(self.ready).cast_mut().cast();
            // SAFETY: whole pages of both mappings, whose contents stay as they are.
            let _ = unsafe { mm::madvise(write, len, Advice::LinuxPopulateWrite) };
            // SAFETY: as above.
            let _ = unsafe { mm::madvise(run, len, Advice::LinuxPopulateRead) };
            self.ready += len;
        }
    }
}

/// What the fault handler needs to know of an address.
pub(crate) struct Found {
    /// The access that the instruction there makes.
    pub(crate) access: Access,
    /// Where to go on.
    pub(crate) exit: u64,
}

/// The access made by the machine instruction at a host address, if it is one of ours. Takes no
/// lock and no memory: the fault handler calls it.
pub(crate) fn find(place: u64) -> Option<Found> {
    let mut chunk = CHUNKS.load(Ordering::Acquire).cast_const();
    // SAFETY: chunks are never freed, and each was complete before it was stored.
    while let Some(at) = unsafe { chunk.as_ref() } {
        let offset = (place as usize).wrapping_sub(at.run.addr());
        if offset < at.len {
            return at.find(offset);
        }
        chunk = at.next;
    }
    None
}

impl Chunk {
    fn find(&self, offset: usize) -> Option<Found> {
        let start = self.start_before(offset)?;
        let header = self.run.wrapping_add(start);
        // SAFETY: a header was written there before its bit was set, and the piece is in use: the
        // thread that faulted is running it.
        let found = unsafe { header.cast::<Header>().read() };
        let in_code = offset.checked_sub(start + found.code as usize)?;
        if in_code >= found.code_len as usize {
            return None;
        }
        let accesses = header.wrapping_add(size_of::<Header>()).cast::<Access>();
        let (mut low, mut high) = (0, found.accesses as usize);
        while low < high {
            let middle = low + (high - low) / 2;
            // SAFETY: the table has so many entries.
            let access = unsafe { accesses.wrapping_add(middle).read() };
            match (access.offset as usize).cmp(&in_code) {
                std::cmp::Ordering::Equal => {
                    let code = self.run.addr() + start + found.code as usize;
                    return Some(Found { access, exit: code as u64 + u64::from(found.fault_exit) });
                }
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        None
    }

    /// The start of the last piece that starts at or before an offset.
    fn start_before(&self, offset: usize) -> Option<usize> {
        let unit = offset / UNIT;
        let mut word = unit / 64;
        let mut bits = self.starts[word].load(Ordering::Acquire) & (u64::MAX >> (63 - unit % 64));
        loop {
            if bits != 0 {
                return Some((word * 64 + 63 - bits.leading_zeros() as usize) * UNIT);
            }
            word = word.checked_sub(1)?;
            bits = self.starts[word].load(Ordering::Acquire);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(len: usize) -> Code {
        let access = |offset| Access {
            offset,
            insn: offset * 2,
            disp: -8,
            reg: 3,
            len: 4,
            write: 1,
            host: 0,
        };
        Code {
            bytes: vec![0x90; len],
            fault_exit: 1,
            entries: vec![0, 5],
            accesses: vec![access(2), access(7), access(9)],
            ..Code::default()
        }
    }

    #[test]
    fn accesses_are_found_by_address() {
        let pieces: Vec<Executable> =
            [100, 10, 5000, 64].map(|len| Executable::new(&code(len)).unwrap()).into();
        for piece in &pieces {
            let start = piece.start();
            let found = find(start + 7).unwrap();
            assert_eq!((found.access.insn, found.exit), (14, start + 1));
            assert!(find(start + 8).is_none());
            assert!(find(start - 1).is_none(), "the table before the code");
            assert_eq!(piece.entry(1), Some(start + 5));
            assert_eq!(piece.entry(2), None);
            assert!(piece.contains(start) && !piece.contains(start - 1));
        }
        let gone = pieces[1].start();
        drop(pieces);
        assert!(find(gone + 7).is_none());
        assert!(find(0).is_none() && find(u64::MAX).is_none());
    }

    #[test]
    fn memory_is_used_again() {
        let mut free = Free::new(0).unwrap();
        let taken: Vec<usize> = (0..100).map(|_| free.take(640).unwrap().1).collect();
        let mut sorted = taken.clone();
        sorted.sort_unstable();
        assert!(sorted.windows(2).all(|pair| pair[0] + 640 <= pair[1]), "they overlap");
        for offset in taken.iter().step_by(2).chain(taken.iter().skip(1).step_by(2)) {
            free.give(*offset, 640);
        }
        assert_eq!(free.parts, [(0, free.chunk.len)]);
    }
}
