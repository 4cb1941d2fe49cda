//! The hash table of keys: from a key to the number of its element.
//!
//! Everything is words in boxed slices, so that readers need neither locks nor unsafe code: a
//! bucket holds the first element of its chain, an element the next one, the hash and the key.
//! Writers lock the bucket. A removal counts up the bucket's version before its element can be
//! reused; a reader that finds the version unchanged at the end has therefore only seen elements
//! that were in the chain all the time, and what it found or missed was so. Versions have 32 bits:
//! a reader would have to sleep through exactly 2^32 removals to be wrong.

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

use parking_lot::{Mutex, MutexGuard};

use super::MapSpec;
use super::pool::{self, Pool};
use super::rules::Expect;
use super::values::Layout;
use crate::epoch::Epochs;
use crate::errno::Errno;
use crate::machine::MapError;
use crate::memory::zeroed;

/// Words of an element: the link to the next, the hash, then the key, padded with zeros.
const NEXT: usize = 0;
const HASH: usize = 1;
const KEY: usize = 2;

/// The most locks that buckets share.
const LOCKS: usize = 256;
/// How often a reader tries again before it locks the bucket.
const TRIES: usize = 8;

/// Keys and the elements they are in.
pub(super) struct Table {
    key_bytes: usize,
    /// The first link of the chain in the lower half, the version in the upper.
    buckets: Box<[AtomicU64]>,
    locks: Box<[Lock]>,
    words: Box<[AtomicU32]>,
    /// How many words an element has; a power of two up to a cache line, so that short keys do
    /// not straddle two.
    stride: usize,
    elements: u32,
    pool: Mutex<Pool>,
}

/// A lock on a cache line of its own.
#[derive(Default)]
#[repr(align(64))]
struct Lock(Mutex<()>);

/// An element in its chain: its number, and the one before it.
#[derive(Clone, Copy)]
struct Place {
    index: u32,
    before: Option<u32>,
}

/// An element was removed from a chain while it was read.
struct Disturbed;

/// What an update does to the element of a key that is there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Present {
    /// Another takes its place: those who hold the old value keep it.
    Replace,
    /// It is written to.
    Overwrite,
}

/// The element that an update writes to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Target {
    /// Its number.
    pub(super) element: u32,
    /// Whether it holds a previous element's value.
    pub(super) new: bool,
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table").field("buckets", &self.buckets.len()).finish_non_exhaustive()
    }
}

impl Table {
    /// An empty table for maps that [`super::rules::check_hash`] accepts.
    pub(super) fn new(
        spec: &MapSpec,
        layout: Layout,
        epochs: Arc<Epochs>,
    ) -> Result<Table, MapError> {
        let elements = pool::elements(spec.max_entries, layout.element_bytes(spec.value_bytes));
        let words = KEY + spec.key_bytes.div_ceil(4) as usize;
        let stride = if words <= 16 { words.next_power_of_two() } else { words };
        // Twice as many as entries: most chains then have one, and the processor guesses right.
        let buckets = 2 * (spec.max_entries as usize).next_power_of_two();
        // Asked first, since a refusal below could not be handled.
        let room = |bytes: usize| Vec::<u8>::new().try_reserve_exact(bytes).ok();
        let bytes = stride
            .checked_mul(4 * elements as usize)
            .and_then(|bytes| bytes.checked_add(buckets * 8));
        bytes.and_then(room).ok_or_else(|| MapError::Invalid {
            what: format!(
                "no memory for the keys of {} entries of {} bytes",
                spec.max_entries, spec.key_bytes
            ),
            errno: Errno::ENOMEM,
        })?;
        Ok(Table {
            key_bytes: spec.key_bytes as usize,
            buckets: zeroed(buckets),
            locks: (0..buckets.min(LOCKS)).map(|_| Lock::default()).collect(),
            words: zeroed(stride * elements as usize),
            stride,
            elements,
            pool: Mutex::new(Pool::new(epochs, spec.max_entries, elements)),
        })
    }

    /// How many elements there are, so many values are needed.
    pub(super) fn elements(&self) -> u32 {
        self.elements
    }

    /// The element of a key. It is not reused before the run under way on this thread, if there is
    /// one, has left.
    #[inline]
    pub(super) fn find(&self, key: &[u8]) -> Option<u32> {
        if key.len() != self.key_bytes {
            return None;
        }
        match key.as_chunks() {
            (words @ [_], []) => self.find_key(&short::<1>(words)),
            (words @ [_, _], []) => self.find_key(&short::<2>(words)),
            (words @ [_, _, _], []) => self.find_key(&short::<3>(words)),
            (words @ [_, _, _, _], []) => self.find_key(&short::<4>(words)),
            _ => self.find_key(key),
        }
    }

    /// As [`Table::find`], of a key that has the table's length.
    #[inline(always)]
    pub(super) fn find_key(&self, key: &(impl Key + ?Sized)) -> Option<u32> {
        self.find_key_soon(key, |_| {})
    }

    /// As [`Table::find_key`]; a function is told which element it might be, before that is known.
    #[inline(always)]
    pub(super) fn find_key_soon(
        &self,
        key: &(impl Key + ?Sized),
        soon: impl Fn(u32),
    ) -> Option<u32> {
        let hash = hash(key);
        match self.try_find(hash, key, soon) {
            Ok(found) => found,
            Err(Disturbed) => self.find_disturbed(hash, key),
        }
    }

    #[inline(always)]
    fn try_find(
        &self,
        hash: u32,
        key: &(impl Key + ?Sized),
        soon: impl Fn(u32),
    ) -> Result<Option<u32>, Disturbed> {
        let bucket = self.bucket(hash);
        let seen = bucket.load(Ordering::Acquire);
        if let Some(index) = first(seen).checked_sub(1) {
            soon(index);
        }
        let found = self.walk(seen, hash, key);
        fence(Ordering::Acquire);
        if version(bucket.load(Ordering::Relaxed)) != version(seen) {
            return Err(Disturbed);
        }
        Ok(found.map(|place| place.index))
    }

    #[cold]
    #[inline(never)]
    fn find_disturbed(&self, hash: u32, key: &(impl Key + ?Sized)) -> Option<u32> {
        for _ in 0..TRIES {
            if let Ok(found) = self.try_find(hash, key, |_| {}) {
                return found;
            }
        }
        let _guard = self.lock(hash);
        let bucket = self.bucket(hash).load(Ordering::Acquire);
        self.walk(bucket, hash, key).map(|place| place.index)
    }

    /// Gives the element of a key to a function, which can rely on its staying.
    pub(super) fn with<T>(&self, key: &[u8], see: impl FnOnce(u32) -> T) -> Option<T> {
        let hash = hash(key);
        let _guard = self.lock(hash);
        let place = self.walk(self.bucket(hash).load(Ordering::Acquire), hash, key)?;
        Some(see(place.index))
    }

    /// Sets a key. `write` fills the element before others can see it, unless it is overwritten.
    pub(super) fn put(
        &self,
        key: &[u8],
        expect: Expect,
        present: Present,
        write: impl FnOnce(Target) -> Result<(), Errno>,
    ) -> Result<(), Errno> {
        let hash = hash(key);
        let bucket = self.bucket(hash);
        let _guard = self.lock(hash);
        let seen = bucket.load(Ordering::Acquire);
        let old = self.walk(seen, hash, key);
        match (old, expect) {
            (Some(_), Expect::Absent) => return Err(Errno::EEXIST),
            (None, Expect::Present) => return Err(Errno::ENOENT),
            (Some(place), _) if present == Present::Overwrite => {
                return write(Target { element: place.index, new: false });
            }
            (_, Expect::Any | Expect::Absent | Expect::Present) => {}
        }
        let element = self.take_element(old.is_some())?;
        self.set_key(element, hash, key);
        if let Err(error) = write(Target { element, new: true }) {
            self.pool.lock().give_back(element, old.is_some());
            return Err(error);
        }
        let after = old.map_or(first(seen), |place| self.next(place.index));
        self.word(element, NEXT).store(after, Ordering::Relaxed);
        self.link(bucket, old.and_then(|place| place.before), element + 1, old.is_some());
        if let Some(place) = old {
            self.pool.lock().retire(place.index, true);
        }
        Ok(())
    }

    /// Removes a key.
    pub(super) fn remove(&self, key: &[u8]) -> Result<(), Errno> {
        let hash = hash(key);
        let bucket = self.bucket(hash);
        let _guard = self.lock(hash);
        let place = self.walk(bucket.load(Ordering::Acquire), hash, key).ok_or(Errno::ENOENT)?;
        self.link(bucket, place.before, self.next(place.index), true);
        self.pool.lock().retire(place.index, false);
        Ok(())
    }

    /// Removes a key and shows its element to a function before it is gone.
    pub(super) fn take<T>(&self, key: &[u8], see: impl FnOnce(u32) -> T) -> Result<T, Errno> {
        let hash = hash(key);
        let bucket = self.bucket(hash);
        let _guard = self.lock(hash);
        let place = self.walk(bucket.load(Ordering::Acquire), hash, key).ok_or(Errno::ENOENT)?;
        let seen = see(place.index);
        self.link(bucket, place.before, self.next(place.index), true);
        self.pool.lock().retire(place.index, false);
        Ok(seen)
    }

    /// Removes an element, if it is in use and a function still wants it gone.
    pub(super) fn evict(&self, element: u32, wanted: impl FnOnce() -> bool) -> bool {
        let hash = self.word(element, HASH).load(Ordering::Relaxed);
        let bucket = self.bucket(hash);
        let _guard = self.lock(hash);
        let mut before = None;
        let mut link = first(bucket.load(Ordering::Acquire));
        while let Some(index) = link.checked_sub(1) {
            if index == element {
                if !wanted() {
                    return false;
                }
                self.link(bucket, before, self.next(index), true);
                self.pool.lock().retire(index, false);
                return true;
            }
            (before, link) = (Some(index), self.next(index));
        }
        false
    }

    /// The key after another in the order of buckets and chains; the first after none and after
    /// one that is not there.
    pub(super) fn next_key(&self, key: Option<&[u8]>) -> Option<Vec<u8>> {
        let mut start = 0;
        if let Some(key) = key {
            let hash = hash(key);
            let _guard = self.lock(hash);
            let bucket = self.bucket(hash);
            if let Some(place) = self.walk(bucket.load(Ordering::Acquire), hash, key) {
                if let Some(next) = self.next(place.index).checked_sub(1) {
                    return Some(self.key(next));
                }
                start = self.bucket_index(hash) + 1;
            }
        }
        (start..self.buckets.len()).find_map(|index| {
            let bucket = &self.buckets[index];
            first(bucket.load(Ordering::Relaxed)).checked_sub(1)?;
            let _guard = self.locks[index % self.locks.len()].0.lock();
            Some(self.key(first(bucket.load(Ordering::Acquire)).checked_sub(1)?))
        })
    }

    /// Follows a chain to a key. Without the lock it may stray into other chains; a walk longer
    /// than there are elements has, and is given up.
    #[inline(always)]
    fn walk(&self, bucket: u64, hash: u32, key: &(impl Key + ?Sized)) -> Option<Place> {
        let mut before = None;
        let mut link = first(bucket);
        for _ in 0..=self.elements {
            let index = link.checked_sub(1)?;
            let start = index as usize * self.stride;
            let words = &self.words[start..start + self.stride];
            if words[HASH].load(Ordering::Relaxed) == hash && key.is_at(&words[KEY..]) {
                return Some(Place { index, before });
            }
            link = words[NEXT].load(Ordering::Acquire);
            before = Some(index);
        }
        None
    }

    /// Makes a link of a chain lead elsewhere: that of the bucket or of an element.
    fn link(&self, bucket: &AtomicU64, before: Option<u32>, to: u32, removes: bool) {
        let seen = bucket.load(Ordering::Relaxed);
        let version = version(seen).wrapping_add(removes.into());
        let mut head = first(seen);
        match before {
            Some(before) => self.word(before, NEXT).store(to, Ordering::Release),
            None => head = to,
        }
        bucket.store(u64::from(version) << 32 | u64::from(head), Ordering::Release);
    }

    fn take_element(&self, replaces: bool) -> Result<u32, Errno> {
        loop {
            if let Some(element) = self.pool.lock().take(replaces)? {
                return Ok(element);
            }
            std::thread::yield_now();
        }
    }

    fn set_key(&self, element: u32, hash: u32, key: &[u8]) {
        // Who reads one of these words sees that the element's former bucket has a new version.
        fence(Ordering::Release);
        self.word(element, HASH).store(hash, Ordering::Relaxed);
        for (at, pair) in (KEY..).step_by(2).zip(key.pairs()) {
            self.word(element, at).store(pair as u32, Ordering::Relaxed);
            if at + 1 < KEY + key.len().div_ceil(4) {
                self.word(element, at + 1).store((pair >> 32) as u32, Ordering::Relaxed);
            }
        }
    }

    fn key(&self, element: u32) -> Vec<u8> {
        let words = (KEY..).map(|at| self.word(element, at).load(Ordering::Relaxed));
        words
            .take(self.key_bytes.div_ceil(4))
            .flat_map(u32::to_le_bytes)
            .take(self.key_bytes)
            .collect()
    }

    fn word(&self, element: u32, at: usize) -> &AtomicU32 {
        &self.words[element as usize * self.stride + at]
    }

    fn next(&self, element: u32) -> u32 {
        self.word(element, NEXT).load(Ordering::Acquire)
    }

    fn bucket_index(&self, hash: u32) -> usize {
        // There is a power of two of buckets.
        hash as usize & (self.buckets.len() - 1)
    }

    fn bucket(&self, hash: u32) -> &AtomicU64 {
        &self.buckets[self.bucket_index(hash)]
    }

    fn lock(&self, hash: u32) -> MutexGuard<'_, ()> {
        self.locks[self.bucket_index(hash) % self.locks.len()].0.lock()
    }
}

/// The link to the first element of a bucket: its number plus one, or zero.
fn first(bucket: u64) -> u32 {
    bucket as u32
}

fn version(bucket: u64) -> u32 {
    (bucket >> 32) as u32
}

/// A key, of words of four bytes; the last is padded with zeros.
pub(super) trait Key {
    /// Two words at a time, the first in the lower half, without a second in the last if their
    /// number is odd.
    fn pairs(&self) -> impl Iterator<Item = u64>;

    /// Whether an element's words are those of this key.
    fn is_at(&self, words: &[AtomicU32]) -> bool;
}

impl Key for [u8] {
    #[inline]
    fn pairs(&self) -> impl Iterator<Item = u64> {
        self.chunks(8).map(|part| match part.try_into() {
            Ok(pair) => u64::from_le_bytes(pair),
            Err(_) => part.iter().rev().fold(0, |pair, byte| pair << 8 | u64::from(*byte)),
        })
    }

    #[inline]
    fn is_at(&self, words: &[AtomicU32]) -> bool {
        let mut pairs = words.chunks(2).zip(self.pairs());
        pairs.all(|(words, pair)| {
            let load =
                |at| words.get(at).map_or(0, |word: &AtomicU32| word.load(Ordering::Relaxed));
            pair == u64::from(load(1)) << 32 | u64::from(load(0))
        })
    }
}

/// A key of one to four words, which stays in registers.
pub(super) struct Short<const WORDS: usize> {
    pairs: [u64; 2],
}

impl<const WORDS: usize> Short<WORDS> {
    /// Reads the words one by one.
    #[inline(always)]
    pub(super) fn read<E>(mut word: impl FnMut(u32) -> Result<u32, E>) -> Result<Self, E> {
        let mut pair = |at: u32| -> Result<u64, E> {
            let low = if WORDS > at as usize { word(at)? } else { 0 };
            let high = if WORDS > at as usize + 1 { word(at + 1)? } else { 0 };
            Ok(u64::from(high) << 32 | u64::from(low))
        };
        Ok(Short { pairs: [pair(0)?, pair(2)?] })
    }
}

impl<const WORDS: usize> Key for Short<WORDS> {
    #[inline(always)]
    fn pairs(&self) -> impl Iterator<Item = u64> {
        self.pairs.into_iter().take(WORDS.div_ceil(2))
    }

    #[inline(always)]
    fn is_at(&self, words: &[AtomicU32]) -> bool {
        let [a, b] = self.pairs;
        let own = [a as u32, (a >> 32) as u32, b as u32, (b >> 32) as u32];
        words.len() >= WORDS && (0..WORDS).all(|at| words[at].load(Ordering::Relaxed) == own[at])
    }
}

/// A key of at least so many words.
#[inline(always)]
fn short<const WORDS: usize>(words: &[[u8; 4]]) -> Short<WORDS> {
    let word = |at| Ok::<_, Infallible>(u32::from_le_bytes(words[at as usize]));
    let Ok(key) = Short::read(word);
    key
}

/// The hash of a key: two words at a time are multiplied into the state (as in wyhash). Without a
/// seed: the same operations give the same order of keys.
#[inline(always)]
fn hash(key: &(impl Key + ?Sized)) -> u32 {
    (wide_hash(key) >> 16) as u32
}

/// The hash of bytes that are no key, in 64 bits.
pub(super) fn hash_bytes(bytes: &[u8]) -> u64 {
    wide_hash(bytes)
}

#[inline(always)]
fn wide_hash(key: &(impl Key + ?Sized)) -> u64 {
    const ODD: [u64; 3] = [0x9e37_79b9_7f4a_7c15, 0xbf58_476d_1ce4_e5b9, 0x94d0_49bb_1331_11eb];
    let state = key.pairs().fold(ODD[0], |state, pair| fold(state ^ pair, ODD[1]));
    fold(state ^ ODD[2], ODD[1])
}

#[inline]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}
