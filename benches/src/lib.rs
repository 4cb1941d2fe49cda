//! Measuring several engines against each other on a machine that others use as well.
//!
//! Engines take turns within one process, in an order that rotates from round to round; a sample
//! is the thread's CPU time over so many runs that the clock's grain does not matter; figures are
//! medians, and ratios are medians of the ratios within a round. Results and memory of all
//! engines are compared in every round.
#![forbid(unsafe_code)]

mod sample;

mod subject;

pub use sample::{Spread, geometric_mean, median, ratio};
pub use subject::{Disagreement, Outcome, Settings, Subject, measure};
