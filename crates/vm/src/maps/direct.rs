//! How machine code looks up elements without asking the map.

use super::Hash;

/// A way to the elements of a map that stays as it is for as long as the map lives.
#[derive(Clone, Copy, Debug)]
pub struct Direct<'a>(pub(crate) Way<'a>);

/// The ways there are.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Way<'a> {
    /// The key is the number of the element, of four bytes; values never move.
    Array {
        /// How many elements there are.
        entries: u32,
        /// The guest address of the first.
        start: u32,
        /// The distance between two, in bytes.
        stride: u32,
        /// If each processor has its own: how many, and the distance between those of two.
        per_cpu: Option<(u32, u32)>,
    },
    /// The key is hashed.
    Hash(&'a Hash),
}
