//! Bloom filters: sets that say of a value that it is certainly not, or maybe, among them.
//!
//! The number of bits follows Linux (`kernel/bpf/bloom_filter.c`), the hashes do not: there they
//! start from a random number. Which values are taken for others differs from run to run there.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::rules::{self, HostRights};
use super::table::hash_bytes;
use super::{Map, MapSpec, Value};
use crate::errno::Errno;
use crate::machine::{Machine, MapError};
use crate::memory::zeroed;
use crate::region::Memory;

/// The number of hash functions where none is given.
const DEFAULT_HASHES: u32 = 5;

/// `BPF_MAP_TYPE_BLOOM_FILTER`. What is a key to the host, where it asks, is the value.
#[derive(Debug)]
pub(super) struct BloomFilter {
    spec: MapSpec,
    rights: HostRights,
    memory: Arc<Memory>,
    hashes: u32,
    /// A power of two of bits, at least 64.
    words: Box<[AtomicU64]>,
}

impl BloomFilter {
    /// An empty set.
    pub(super) fn new(machine: &Machine, spec: MapSpec) -> Result<BloomFilter, MapError> {
        rules::check_bloom_filter(&spec)?;
        let hashes = if spec.extra == 0 { DEFAULT_HASHES } else { spec.extra as u32 };
        let words = words(spec.max_entries, hashes);
        if Vec::<u64>::new().try_reserve_exact(words).is_err() {
            let what = format!("no memory for {words} words");
            return Err(MapError::Invalid { what, errno: Errno::ENOMEM });
        }
        let (memory, rights) = (Arc::clone(machine.memory()), HostRights::new(&spec));
        Ok(BloomFilter { spec, rights, memory, hashes, words: zeroed(words) })
    }

    /// The bits that stand for a value: a word and a mask each.
    fn bits(&self, value: &[u8]) -> impl Iterator<Item = (&AtomicU64, u64)> {
        let mask = self.words.len() as u64 * 64 - 1;
        let hash = hash_bytes(value);
        // As good as independent hashes (Kirsch and Mitzenmacher).
        let step = (hash >> 32) | 1;
        (0..u64::from(self.hashes)).map(move |index| {
            let bit = hash.wrapping_add(index.wrapping_mul(step)) & mask;
            (&self.words[(bit / 64) as usize], 1 << (bit % 64))
        })
    }

    fn add(&self, value: &[u8], flags: u64) -> Result<(), Errno> {
        if flags != 0 {
            return Err(Errno::EINVAL);
        }
        for (word, mask) in self.bits(value) {
            word.fetch_or(mask, Ordering::Relaxed);
        }
        Ok(())
    }

    fn has(&self, value: &[u8]) -> Result<(), Errno> {
        let mut bits = self.bits(value);
        let all = bits.all(|(word, mask)| word.load(Ordering::Relaxed) & mask != 0);
        if all { Ok(()) } else { Err(Errno::ENOENT) }
    }
}

/// How many words hold the bits for so many values and hash functions.
fn words(max_entries: u32, hashes: u32) -> usize {
    const MOST_BITS: u32 = 1 << 31;
    // 7/5 is close to 1 / ln 2.
    let bits = max_entries.checked_mul(hashes).and_then(|bits| (bits / 5).checked_mul(7));
    match bits.filter(|bits| *bits <= MOST_BITS) {
        Some(bits) => (bits.max(64).next_power_of_two() / 64) as usize,
        None => (1 << 32) / 64,
    }
}

impl Map for BloomFilter {
    fn spec(&self) -> &MapSpec {
        &self.spec
    }

    fn rights(&self) -> &HostRights {
        &self.rights
    }

    fn delete(&self, _key: &[u8]) -> Result<(), Errno> {
        Err(Errno::EOPNOTSUPP)
    }

    fn push(&self, value: Value<'_>, flags: u64) -> Result<(), Errno> {
        self.add(&super::copy_value(&self.memory, &self.spec, value)?, flags)
    }

    fn peek(&self, at: u32) -> Result<(), Errno> {
        self.has(&super::copy_value(&self.memory, &self.spec, Value::Guest(at))?)
    }

    /// Gives back the value that it was asked for, if it may be in the set.
    fn read(&self, key: &[u8]) -> Result<Vec<u8>, Errno> {
        self.rights.read()?;
        if key.len() != self.spec.value_bytes as usize {
            return Err(Errno::EINVAL);
        }
        self.has(key).map(|()| key.to_vec())
    }

    fn write(&self, key: &[u8], value: &[u8], flags: u64) -> Result<(), Errno> {
        let _writing = self.rights.write()?;
        rules::check_host_flags(flags)?;
        rules::check_key(&self.spec, key)?;
        self.add(&super::copy_value(&self.memory, &self.spec, Value::Host(value))?, flags)
    }

    fn remove(&self, key: &[u8]) -> Result<(), Errno> {
        let _writing = self.rights.write()?;
        rules::check_key(&self.spec, key)?;
        Err(Errno::EOPNOTSUPP)
    }

    fn next_key(&self, _key: Option<&[u8]>) -> Result<Option<Vec<u8>>, Errno> {
        self.rights.read()?;
        Err(Errno::EOPNOTSUPP)
    }
}
