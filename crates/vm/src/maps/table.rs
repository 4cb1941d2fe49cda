//! The hash table of keys: from a key to the number of its element.
//!
//! Everything is words in boxed slices, so that readers need neither locks nor unsafe code. A
//! bucket is a cache line: elements with the hashes of their keys, a version, and the first of a
//! chain of elements for which there was no room. Keys lie by themselves, so that a lookup
//! touches two lines. Writers lock the bucket. A removal counts up the bucket's version before its
//! element can be reused; a reader that finds the version unchanged at the end has therefore only
//! seen elements that were in the bucket all the time, and what it found or missed was so.
//! Versions have 32 bits: a reader would have to sleep through exactly 2^32 removals to be wrong.

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

/// How many words a bucket has: a cache line. The first holds the version in its upper half and
/// the link to the first of the chain in the lower, the others the mark of a hash and a link.
const BUCKET_WORDS: usize = 8;
/// How many entries a bucket is made for: of seven places, so many are taken on average.
const BUCKET_ENTRIES: usize = 4;

/// The size of a cache line, in bytes.
const LINE_BYTES: usize = 64;

/// The most locks that buckets share.
const LOCKS: usize = 256;
/// How often a reader tries again before it locks the bucket.
const TRIES: usize = 8;

/// Keys and the elements they are in.
pub(super) struct Table {
    key_bytes: usize,
    /// [`BUCKET_WORDS`] for each, from the start of a cache line on.
    buckets: Box<[AtomicU64]>,
    buckets_start: usize,
    bucket_count: usize,
    locks: Box<[Lock]>,
    /// The keys, from the start of a cache line on.
    words: Box<[AtomicU32]>,
    start: usize,
    /// For each element, the link to the next of its chain.
    next: Box<[AtomicU32]>,
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

/// Where an element is: its number, and what links to it.
#[derive(Clone, Copy)]
struct Place {
    index: u32,
    at: At,
}

/// What links to an element.
#[derive(Clone, Copy)]
enum At {
    /// A word of the bucket.
    Word(usize),
    /// The element before it in the chain; none if it is the first.
    Chain(Option<u32>),
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
        f.debug_struct("Table").field("buckets", &self.bucket_count).finish_non_exhaustive()
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
        let words = spec.key_bytes.div_ceil(4) as usize;
        let stride = if words <= 16 { words.next_power_of_two() } else { words };
        let buckets = (spec.max_entries as usize).next_power_of_two().div_ceil(BUCKET_ENTRIES);
        // Asked first, since a refusal below could not be handled.
        let room = |bytes: usize| Vec::<u8>::new().try_reserve_exact(bytes).ok();
        let bytes = (stride + 1)
            .checked_mul(4 * elements as usize)
            .and_then(|bytes| bytes.checked_add((buckets + 2) * LINE_BYTES));
        bytes.and_then(room).ok_or_else(|| MapError::Invalid {
            what: format!(
                "no memory for the keys of {} entries of {} bytes",
                spec.max_entries, spec.key_bytes
            ),
            errno: Errno::ENOMEM,
        })?;
        let words = zeroed::<AtomicU32>(stride * elements as usize + LINE_BYTES / 4);
        let start = line_start(words.as_ptr().align_offset(LINE_BYTES), LINE_BYTES / 4);
        let bucket_words = zeroed::<AtomicU64>((buckets + 1) * BUCKET_WORDS);
        let buckets_start =
            line_start(bucket_words.as_ptr().align_offset(LINE_BYTES), BUCKET_WORDS);
        Ok(Table {
            key_bytes: spec.key_bytes as usize,
            buckets: bucket_words,
            buckets_start,
            bucket_count: buckets,
            locks: (0..buckets.min(LOCKS)).map(|_| Lock::default()).collect(),
            words,
            start,
            next: zeroed(elements as usize),
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
        let seen = bucket[0].load(Ordering::Acquire);
        // Without a jump for each place: which one it is cannot be guessed.
        let mut link = 0;
        for word in &bucket[1..] {
            let word = word.load(Ordering::Relaxed);
            link = if mark_of(word) == mark(hash) { first(word) } else { link };
        }
        fence(Ordering::Acquire);
        let mut found = None;
        if let Some(index) = link.checked_sub(1) {
            soon(index);
            found = key.is_at(self.key_words(index)).then_some(index);
        }
        // Another key's hash may have the same mark.
        if found.is_none() && (link != 0 || first(seen) != 0) {
            found = self.find_slowly(bucket, hash, key);
        }
        fence(Ordering::Acquire);
        if version(bucket[0].load(Ordering::Relaxed)) != version(seen) {
            return Err(Disturbed);
        }
        Ok(found)
    }

    #[inline(never)]
    fn find_slowly(
        &self,
        bucket: &[AtomicU64],
        hash: u32,
        key: &(impl Key + ?Sized),
    ) -> Option<u32> {
        self.walk(bucket, hash, key).map(|place| place.index)
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
        self.find_slowly(self.bucket(hash), hash, key)
    }

    /// Gives the element of a key to a function, which can rely on its staying.
    pub(super) fn with<T>(&self, key: &[u8], see: impl FnOnce(u32) -> T) -> Option<T> {
        let hash = hash(key);
        let _guard = self.lock(hash);
        let place = self.walk(self.bucket(hash), hash, key)?;
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
        let old = self.walk(bucket, hash, key);
        match (old, expect) {
            (Some(_), Expect::Absent) => return Err(Errno::EEXIST),
            (None, Expect::Present) => return Err(Errno::ENOENT),
            (Some(place), _) if present == Present::Overwrite => {
                return write(Target { element: place.index, new: false });
            }
            (_, Expect::Any | Expect::Absent | Expect::Present) => {}
        }
        let element = self.take_element(old.is_some())?;
        self.set_key(element, key);
        if let Err(error) = write(Target { element, new: true }) {
            self.pool.lock().give_back(element, old.is_some());
            return Err(error);
        }
        match old {
            Some(place) => self.put_in(bucket, hash, place, Some(element)),
            None => self.add(bucket, hash, element),
        }
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
        let place = self.walk(bucket, hash, key).ok_or(Errno::ENOENT)?;
        self.put_in(bucket, hash, place, None);
        self.pool.lock().retire(place.index, false);
        Ok(())
    }

    /// Removes a key and shows its element to a function before it is gone.
    pub(super) fn take<T>(&self, key: &[u8], see: impl FnOnce(u32) -> T) -> Result<T, Errno> {
        let hash = hash(key);
        let bucket = self.bucket(hash);
        let _guard = self.lock(hash);
        let place = self.walk(bucket, hash, key).ok_or(Errno::ENOENT)?;
        let seen = see(place.index);
        self.put_in(bucket, hash, place, None);
        self.pool.lock().retire(place.index, false);
        Ok(seen)
    }

    /// Removes an element, if it is in use and a function still wants it gone.
    pub(super) fn evict(&self, element: u32, wanted: impl FnOnce() -> bool) -> bool {
        let hash = hash(&self.key(element)[..]);
        let bucket = self.bucket(hash);
        let _guard = self.lock(hash);
        let place = self.places(bucket).find(|place| place.index == element);
        let Some(place) = place.filter(|_| wanted()) else { return false };
        self.put_in(bucket, hash, place, None);
        self.pool.lock().retire(element, false);
        true
    }

    /// The key after another in the order of buckets and places; the first after none and after
    /// one that is not there.
    pub(super) fn next_key(&self, key: Option<&[u8]>) -> Option<Vec<u8>> {
        let mut start = 0;
        if let Some(key) = key {
            let hash = hash(key);
            let _guard = self.lock(hash);
            let bucket = self.bucket(hash);
            if let Some(place) = self.walk(bucket, hash, key) {
                let mut places = self.places(bucket).skip_while(|other| other.index != place.index);
                if let Some(next) = places.nth(1) {
                    return Some(self.key(next.index));
                }
                start = self.bucket_index(hash) + 1;
            }
        }
        (start..self.bucket_count).find_map(|index| {
            let bucket = self.bucket_at(index);
            bucket.iter().find(|word| first(word.load(Ordering::Relaxed)) != 0)?;
            let _guard = self.locks[index % self.locks.len()].0.lock();
            let place = self.places(bucket).next()?;
            Some(self.key(place.index))
        })
    }

    /// Where the element of a key is. Without the lock it may stray into other chains.
    #[inline(always)]
    fn walk(&self, bucket: &[AtomicU64], hash: u32, key: &(impl Key + ?Sized)) -> Option<Place> {
        self.places(bucket).find(|place| {
            let marked = match place.at {
                At::Word(at) => mark_of(bucket[at].load(Ordering::Relaxed)) == mark(hash),
                At::Chain(_) => true,
            };
            marked && key.is_at(self.key_words(place.index))
        })
    }

    /// The elements of a bucket, those of its chain last. A chain longer than there are elements
    /// has been strayed from, and is given up.
    fn places(&self, bucket: &[AtomicU64]) -> impl Iterator<Item = Place> {
        let words = bucket.iter().enumerate().skip(1).filter_map(|(at, word)| {
            let index = first(word.load(Ordering::Acquire)).checked_sub(1)?;
            Some(Place { index, at: At::Word(at) })
        });
        let mut before = None;
        let mut link = first(bucket[0].load(Ordering::Acquire));
        let chain = std::iter::from_fn(move || {
            let index = link.checked_sub(1)?;
            let place = Place { index, at: At::Chain(before) };
            (before, link) = (Some(index), self.next[index as usize].load(Ordering::Acquire));
            Some(place)
        });
        words.chain(chain.take(self.elements as usize))
    }

    /// Adds an element to a bucket.
    fn add(&self, bucket: &[AtomicU64], hash: u32, element: u32) {
        let link = element + 1;
        let free = bucket[1..].iter().find(|word| first(word.load(Ordering::Relaxed)) == 0);
        if let Some(word) = free {
            return word.store(marked(hash, link), Ordering::Release);
        }
        let seen = bucket[0].load(Ordering::Relaxed);
        self.next[element as usize].store(first(seen), Ordering::Relaxed);
        bucket[0].store(u64::from(version(seen)) << 32 | u64::from(link), Ordering::Release);
    }

    /// Puts an element in the place of another, or none, and counts up the version.
    fn put_in(&self, bucket: &[AtomicU64], hash: u32, place: Place, element: Option<u32>) {
        let seen = bucket[0].load(Ordering::Relaxed);
        let mut head = first(seen);
        match place.at {
            At::Word(at) => {
                let word = element.map_or(0, |element| marked(hash, element + 1));
                bucket[at].store(word, Ordering::Release);
            }
            At::Chain(before) => {
                let after = self.next[place.index as usize].load(Ordering::Relaxed);
                if let Some(element) = element {
                    self.next[element as usize].store(after, Ordering::Relaxed);
                }
                let link = element.map_or(after, |element| element + 1);
                match before {
                    Some(before) => self.next[before as usize].store(link, Ordering::Release),
                    None => head = link,
                }
            }
        }
        let version = version(seen).wrapping_add(1);
        bucket[0].store(u64::from(version) << 32 | u64::from(head), Ordering::Release);
    }

    fn take_element(&self, replaces: bool) -> Result<u32, Errno> {
        loop {
            if let Some(element) = self.pool.lock().take(replaces)? {
                return Ok(element);
            }
            std::thread::yield_now();
        }
    }

    fn set_key(&self, element: u32, key: &[u8]) {
        // Who reads one of these words sees that the element's former bucket has a new version.
        fence(Ordering::Release);
        let mut words = self.key_words(element).iter();
        for pair in key.pairs() {
            for part in [pair as u32, (pair >> 32) as u32] {
                if let Some(word) = words.next() {
                    word.store(part, Ordering::Relaxed);
                }
            }
        }
    }

    fn key(&self, element: u32) -> Vec<u8> {
        let words = self.key_words(element).iter().map(|word| word.load(Ordering::Relaxed));
        words.flat_map(u32::to_le_bytes).take(self.key_bytes).collect()
    }

    /// The words of an element's key, the rest of its room included.
    #[inline(always)]
    fn key_words(&self, element: u32) -> &[AtomicU32] {
        let start = self.start + element as usize * self.stride;
        &self.words[start..start + self.stride]
    }

    fn bucket_index(&self, hash: u32) -> usize {
        // There is a power of two of buckets.
        hash as usize & (self.bucket_count - 1)
    }

    #[inline(always)]
    fn bucket(&self, hash: u32) -> &[AtomicU64] {
        self.bucket_at(self.bucket_index(hash))
    }

    #[inline(always)]
    fn bucket_at(&self, index: usize) -> &[AtomicU64] {
        let start = self.buckets_start + index * BUCKET_WORDS;
        &self.buckets[start..start + BUCKET_WORDS]
    }

    fn lock(&self, hash: u32) -> MutexGuard<'_, ()> {
        self.locks[self.bucket_index(hash) % self.locks.len()].0.lock()
    }
}

/// The first word of a cache line, as far as that can be told; there is a line more than needed.
fn line_start(found: usize, line_words: usize) -> usize {
    if found < line_words { found } else { 0 }
}

/// The link in a word of a bucket: an element's number plus one, or zero.
fn first(bucket: u64) -> u32 {
    bucket as u32
}

/// What tells most keys of a bucket apart; never 0.
fn mark(hash: u32) -> u32 {
    hash | 1 << 31
}

/// The mark in a word of a bucket.
fn mark_of(word: u64) -> u32 {
    (word >> 32) as u32
}

/// A word of a bucket.
fn marked(hash: u32, link: u32) -> u64 {
    u64::from(mark(hash)) << 32 | u64::from(link)
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
    /// The key of so many words, of which there are one to four.
    #[inline(always)]
    pub(super) fn new(words: [u32; WORDS]) -> Self {
        let word = |at: usize| words.get(at).copied().map_or(0, u64::from);
        let pair = |at: usize| word(at + 1) << 32 | word(at);
        Short { pairs: [pair(0), pair(2)] }
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
    Short::new(std::array::from_fn(|at| u32::from_le_bytes(words[at])))
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
