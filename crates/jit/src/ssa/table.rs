//! Which value an operation has: what value numbering looks up.
//!
//! An entry holds the value and a part of the operation's hash; the operation itself stands in
//! the function. Large functions make large tables, of which every look-up reads another line.

use std::hash::BuildHasher;

use super::hash::Fast;
use super::ir::{Func, Op, Val};

/// The values of operations, searched from the place of the hash on.
pub(crate) struct Table {
    entries: Vec<(u32, Val)>,
    count: usize,
}

/// No value.
const EMPTY: (u32, Val) = (0, Val(u32::MAX));

/// Where an operation is in the table or would be.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    hash: u32,
    at: usize,
}

impl Table {
    /// A table for about so many operations.
    pub(crate) fn with_capacity(count: usize) -> Table {
        Table { entries: vec![EMPTY; (count + 8).next_power_of_two()], count: 0 }
    }

    /// The value of an operation, and its place until something is inserted.
    pub(crate) fn find(&self, func: &Func, op: &Op) -> (Option<Val>, Place) {
        let hash = Fast::default().hash_one(op) as u32;
        let mask = self.entries.len() - 1;
        let mut at = hash as usize & mask;
        loop {
            let (other, value) = self.entries[at];
            if value == EMPTY.1 {
                return (None, Place { hash, at });
            }
            if other == hash && func.op(value) == *op {
                return (Some(value), Place { hash, at });
            }
            at = (at + 1) & mask;
        }
    }

    /// Sets the value of an operation whose place was just found.
    pub(crate) fn insert(&mut self, place: Place, value: Val) {
        let entry = &mut self.entries[place.at];
        self.count += usize::from(entry.1 == EMPTY.1);
        *entry = (place.hash, value);
        if self.count * 4 > self.entries.len() * 3 {
            self.grow();
        }
    }

    fn grow(&mut self) {
        let larger = vec![EMPTY; self.entries.len() * 2];
        let mask = larger.len() - 1;
        let old = std::mem::replace(&mut self.entries, larger);
        for entry in old.into_iter().filter(|entry| entry.1 != EMPTY.1) {
            let mut at = entry.0 as usize & mask;
            while self.entries[at].1 != EMPTY.1 {
                at = (at + 1) & mask;
            }
            self.entries[at] = entry;
        }
    }
}

#[cfg(test)]
mod tests {
    use skep_bpf::op::Width;

    use super::*;
    use crate::ssa::ir::Un;

    #[test]
    fn what_was_inserted_is_found_and_nothing_else() {
        let mut func = Func::default();
        let mut table = Table::with_capacity(0);
        let op = |number: u32| Op::Unary(Un::Neg, Width::W64, Val(number));
        for number in 0..1_000 {
            let (found, place) = table.find(&func, &op(number));
            assert_eq!(found, None);
            let value = func.make(op(number), 0);
            table.insert(place, value);
        }
        for number in 0..1_000 {
            assert_eq!(table.find(&func, &op(number)).0, Some(Val(number)));
        }
        assert_eq!(table.find(&func, &op(1_000)).0, None);
        // Another value of an operation takes the place of the first.
        let (_, place) = table.find(&func, &op(7));
        let value = func.make(op(7), 0);
        table.insert(place, value);
        assert_eq!(table.find(&func, &op(7)).0, Some(value));
    }
}
