//! What is known about a 64-bit number: the scalar domain of the Linux verifier.
//!
//! **Lattice.** A [`Scalar`] is the product of a tristate number (each bit 0, 1 or unknown) and
//! four intervals: unsigned and signed, of all 64 and of the low 32 bits. It stands for the set
//! gamma of numbers that lie in all five; no interval is ever empty.
//! **Order.** `a.within(b)`: every component of `a` is contained in that of `b`; then gamma(a) is a
//! subset of gamma(b). [`Scalar::join`] is the least upper bound, component by component.
//! **Transfer.** For every operation, `eval(x, y)` lies in `transfer(a, b)` for all x in gamma(a)
//! and y in gamma(b) (`alu`, `cast`); refinement by a condition keeps every pair for which the
//! condition holds (`branch`). Each operator is sound by itself; [`ScalarOf::sync`] lets the five
//! components learn from each other and only ever drops numbers that one of them excludes.
//!
//! All is generic over the widths, so that the laws are checked exhaustively for small ones.
//! Identity, precision and pointers belong to the state. The profile is Linux 6.18.44 as it runs:
//! of the rules written later it has the single common member of bits and interval, the byte
//! swaps' bits and the split of sign masks, not the ranges of division.

mod alu;
mod bits;
mod bounds;
mod branch;
mod cast;
mod print;
mod scalar;
mod tnum;

#[cfg(test)]
mod laws;

pub use bounds::Bounds;
pub use branch::{Refined, is_branch_taken, refine, refine_same};
pub use print::{Ranges, Signed, Unsigned};
pub use scalar::{Scalar, ScalarOf};
pub use tnum::{Tnum, TnumOf};
