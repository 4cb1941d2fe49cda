//! Which elements of a hash are in use, free, or waiting for the runs that may still see them.
//!
//! There are more elements than the map may have: while deleted ones wait, others take their
//! place. Should one run delete so many that even these are used up, the ones that wait longest
//! are reused under it, as the kernel does with every preallocated element: a stale pointer then
//! leads to another value of the same map.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::epoch::{Epoch, Epochs};
use crate::errno::Errno;

/// Elements are retired in batches of this size: asking which runs have left is not cheap.
const BATCH: u32 = 64;
/// How many elements there are to spare: as many as take so many bytes, but no more than that.
/// Their memory is committed when they are used, so that they cost no more than addresses. They
/// last for some milliseconds in which one run stands still and others delete.
const SPARE_BYTES: u64 = 4 << 20;
const SPARE_MOST: u64 = 1 << 16;

/// The elements of a hash, by number.
#[derive(Debug)]
pub(super) struct Pool {
    epochs: Arc<Epochs>,
    /// How many may be in use.
    max_entries: u32,
    /// How many there are.
    elements: u32,
    in_use: u32,
    /// The first element that was never used.
    fresh: u32,
    free: Vec<u32>,
    /// Retired elements, oldest first.
    waiting: VecDeque<u32>,
    /// How many of the first ones were retired when; the rest is the batch being filled.
    batches: VecDeque<(Epoch, u32)>,
    filling: u32,
}

/// The number of elements that a map of so many entries gets.
pub(super) fn elements(max_entries: u32, element_bytes: u64) -> u32 {
    let spare = (SPARE_BYTES / element_bytes.max(1)).clamp(2, SPARE_MOST);
    max_entries.saturating_add(spare as u32)
}

impl Pool {
    pub(super) fn new(epochs: Arc<Epochs>, max_entries: u32, elements: u32) -> Pool {
        Pool {
            epochs,
            max_entries,
            elements,
            in_use: 0,
            fresh: 0,
            free: Vec::new(),
            waiting: VecDeque::new(),
            batches: VecDeque::new(),
            filling: 0,
        }
    }

    /// An element for a new entry, or to take the place of one that will be retired. None while
    /// other threads are about to retire all that could be had: they need no more than time.
    pub(super) fn take(&mut self, replaces: bool) -> Result<Option<u32>, Errno> {
        if !replaces && self.in_use >= self.max_entries {
            return Err(Errno::E2BIG);
        }
        let found = self.find();
        self.in_use += u32::from(found.is_some() && !replaces);
        Ok(found)
    }

    fn find(&mut self) -> Option<u32> {
        if let Some(element) = self.free.pop() {
            return Some(element);
        }
        if self.fresh < self.elements {
            self.fresh += 1;
            return Some(self.fresh - 1);
        }
        self.close_batch();
        self.reclaim();
        if self.free.is_empty() {
            self.free_oldest_batch();
        }
        self.free.pop()
    }

    /// Gives back an element that was taken and never linked.
    pub(super) fn give_back(&mut self, element: u32, replaces: bool) {
        self.in_use -= u32::from(!replaces);
        self.free.push(element);
    }

    /// Takes back an element that was unlinked. `replaced` if another took its place.
    pub(super) fn retire(&mut self, element: u32, replaced: bool) {
        self.in_use -= u32::from(!replaced);
        self.waiting.push_back(element);
        self.filling += 1;
        if self.filling >= BATCH {
            self.close_batch();
            self.reclaim();
        }
    }

    fn close_batch(&mut self) {
        if self.filling > 0 {
            self.batches.push_back((self.epochs.retire(), self.filling));
            self.filling = 0;
        }
    }

    /// Frees what no run can see any more.
    fn reclaim(&mut self) {
        if self.batches.is_empty() {
            return;
        }
        let oldest = self.epochs.oldest();
        while self.batches.front().is_some_and(|(retired, _)| *retired < oldest) {
            self.free_oldest_batch();
        }
    }

    fn free_oldest_batch(&mut self) {
        let len = self.batches.pop_front().map_or(0, |(_, len)| len as usize);
        // In reverse, so that they are reused in the order in which they were retired.
        self.free.extend(self.waiting.drain(..len).rev());
    }
}
