//! Which types may have a name: chains of those whose names have the same hash.
//!
//! Sorting a kernel's hundred thousand names took longer than reading them.

use alloc::vec;
use alloc::vec::Vec;

use crate::types::TypeId;

/// For every name, the types that may have it.
#[derive(Clone, Debug, Default)]
pub(crate) struct NameIndex {
    /// The first type of each chain; 0 is none. A power of two long, or empty.
    heads: Vec<u32>,
    /// The next type of the same chain, by type; 0 is none.
    next: Vec<u32>,
}

impl NameIndex {
    /// The index of names in order of the types' numbers; those that are empty are left out.
    pub(crate) fn new<'a>(
        names: impl DoubleEndedIterator<Item = &'a str> + ExactSizeIterator,
    ) -> Self {
        let count = names.len();
        let mut index =
            NameIndex { heads: vec![0; count.next_power_of_two()], next: vec![0; count] };
        // From the last to the first, so that chains are in order.
        for (id, name) in names.enumerate().rev() {
            if name.is_empty() {
                continue;
            }
            let place = index.place(name);
            let numbers = (u32::try_from(id), index.heads.get_mut(place), index.next.get_mut(id));
            if let (Ok(id), Some(head), Some(next)) = numbers {
                *next = *head;
                *head = id;
            }
        }
        index
    }

    /// The types whose names have the hash of this one, in order of their numbers.
    pub(crate) fn candidates(&self, name: &str) -> impl Iterator<Item = TypeId> {
        let first = number(&self.heads, self.place(name)).filter(|_| !name.is_empty());
        core::iter::successors(first, move |&id| number(&self.next, usize::try_from(id).ok()?))
            .map(TypeId)
    }

    fn place(&self, name: &str) -> usize {
        // FNV-1a, <http://www.isthe.com/chongo/tech/comp/fnv/>, its halves folded together.
        let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        let folded = (hash ^ hash >> 32) as usize;
        folded & self.heads.len().saturating_sub(1)
    }
}

fn number(list: &[u32], at: usize) -> Option<u32> {
    list.get(at).copied().filter(|&id| id != 0)
}
