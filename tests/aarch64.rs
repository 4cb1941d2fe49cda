//! Machine code for aarch64, run for real: under an emulator, compared with the interpreters.
//!
//! [`Recorder`] runs a program on an interpreter and notes memory before and after, and what every
//! call of a helper was given, gave and changed. [`Runner`] runs the compiled code on the same
//! memory at the same guest addresses and answers its calls from the notes, so that every helper
//! takes part, and different arguments are found at once. Without compiler or emulator there is no
//! [`Runner`], and tests say so.

mod case;
mod compare;
mod record;
mod runner;

pub use case::{Case, CodePart, Outcome, Status};
pub use compare::{Proof, SLICE, Subject, difference};
pub use record::{Event, EventKind, EventOutcome, Pages, Prepared, Recorder, Recording, Reference};
pub use runner::Runner;
