//! Every way to run a program, side by side.
//!
//! A [`Way`] is an engine with or without a proof, with fuel counted or not, with some passes of
//! the optimising compiler or all. Each has a [`Lane`], a machine of its own; all lanes run the
//! same programs on the same inputs, so that their machines stay alike: [`Lanes`] compares results,
//! inputs afterwards, printed text, guest memory and maps with those of the checked interpreter.

mod lane;
mod memory;
mod way;
mod world;

pub use lane::{Lane, Lanes, Outcome};
pub use way::Way;
pub use world::World;
