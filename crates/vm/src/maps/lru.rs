//! Which elements of a hash were used least recently, so that the hash can drop them when full.
//!
//! Elements wait in the order in which they came. One that was looked up since goes back to the
//! end when its turn comes (second chance); the first that was not is dropped. Linux keeps two
//! lists and moves elements between them in batches, and each processor some spare ones: which
//! element goes is not the same there either from one run to the next.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};

use parking_lot::Mutex;

use super::table::Table;
use crate::memory::zeroed;

/// How many more turns may be noted than there are elements before those of the past are dropped.
const SLACK: usize = 1024;

/// The order of the elements of a table.
pub(super) struct Lru {
    /// Whether an element was used since its last turn.
    used: Box<[AtomicU8]>,
    /// How often an element was given to a key.
    lives: Box<[AtomicU32]>,
    turns: Mutex<VecDeque<Turn>>,
}

/// An element in the life that it had when it came.
#[derive(Clone, Copy)]
struct Turn {
    element: u32,
    life: u32,
}

impl fmt::Debug for Lru {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lru").field("elements", &self.used.len()).finish_non_exhaustive()
    }
}

impl Lru {
    /// For a table of so many elements, none of which is in use.
    pub(super) fn new(elements: u32) -> Lru {
        let count = elements as usize;
        Lru { used: zeroed(count), lives: zeroed(count), turns: Mutex::default() }
    }

    /// Notes that an element was used.
    #[inline]
    pub(super) fn mark(&self, element: u32) {
        let used = &self.used[element as usize];
        // Without the store if it is marked: others read the same cache line.
        if used.load(Ordering::Relaxed) == 0 {
            used.store(1, Ordering::Relaxed);
        }
    }

    /// Notes that an element was given to a key.
    pub(super) fn begin(&self, element: u32) {
        self.used[element as usize].store(0, Ordering::Relaxed);
        let life = self.lives[element as usize].fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        let mut turns = self.turns.lock();
        turns.push_back(Turn { element, life });
        if turns.len() > self.used.len() + SLACK {
            turns.retain(|turn| self.is_now(*turn));
        }
    }

    /// Drops the element that was used least recently from its table. False if there is none.
    pub(super) fn evict(&self, table: &Table) -> bool {
        let mut spared = 0;
        while let Some(turn) = self.next() {
            if !self.is_now(turn) {
                continue;
            }
            let was_used = self.used[turn.element as usize].swap(0, Ordering::Relaxed) != 0;
            // Others may mark them as fast as they are spared.
            if was_used && spared < self.used.len() {
                spared += 1;
                self.turns.lock().push_back(turn);
            } else if table.evict(turn.element, || self.is_now(turn)) {
                return true;
            }
        }
        false
    }

    fn next(&self) -> Option<Turn> {
        self.turns.lock().pop_front()
    }

    fn is_now(&self, turn: Turn) -> bool {
        self.lives[turn.element as usize].load(Ordering::Relaxed) == turn.life
    }
}
