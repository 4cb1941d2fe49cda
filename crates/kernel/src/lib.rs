//! The live kernel's bpf(2), as an oracle for tests and benchmarks.
//!
//! Loads programs (verdict, log, counters), creates and reads maps, loads BTF and runs programs
//! with `BPF_PROG_TEST_RUN`. It never attaches, pins or sends anything: what it makes is gone when
//! its value is dropped. Numbers are the plain `u32` of the kernel's interface; [`uapi`] names them.
//!
//! Everything compiles everywhere. Where bpf(2) cannot be used, [`available`] says why, so that a
//! test can print it and count as skipped:
//!
//! ```
//! use skep_kernel::{Map, MapSpec, ProgSpec, Program, TestRun, available, relocate, uapi};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! if let Err(reason) = available() {
//!     eprintln!("skipped: {reason}");
//!     return Ok(());
//! }
//! let counter = Map::create(&MapSpec {
//!     map_type: uapi::map_type::ARRAY,
//!     key_size: 4,
//!     value_size: 8,
//!     max_entries: 1,
//!     ..MapSpec::default()
//! })?;
//!
//! // r1 = address of the value of map 0; *(u64 *)(r1 + 0) = 7; r0 = 2 (XDP_PASS); exit
//! # #[cfg(target_endian = "little")]
//! let mut insns = [
//!     [0x18, 0x61, 0, 0, 0, 0, 0, 0],
//!     [0; 8],
//!     [0x7a, 0x01, 0, 0, 7, 0, 0, 0],
//!     [0xb7, 0x00, 0, 0, 2, 0, 0, 0],
//!     [0x95, 0, 0, 0, 0, 0, 0, 0],
//! ];
//! # #[cfg(target_endian = "big")]
//! # let mut insns = [
//! #     [0x18, 0x16, 0, 0, 0, 0, 0, 0],
//! #     [0; 8],
//! #     [0x7a, 0x10, 0, 0, 0, 0, 0, 7],
//! #     [0xb7, 0x00, 0, 0, 0, 0, 0, 2],
//! #     [0x95, 0, 0, 0, 0, 0, 0, 0],
//! # ];
//! relocate(&mut insns, &[&counter])?;
//! let program = Program::load(&ProgSpec {
//!     prog_type: uapi::prog_type::XDP,
//!     insns: &insns,
//!     licence: "MIT",
//!     log_level: uapi::log_level::TRACE,
//!     ..ProgSpec::default()
//! })?;
//! assert_eq!(program.info()?.verified_insns, 4);
//!
//! let run = program.test_run(&TestRun { data_in: &[0; 64], ..TestRun::default() })?;
//! assert_eq!((run.retval, run.data_out.len()), (2, 64));
//! assert_eq!(counter.lookup(&0u32.to_ne_bytes())?, Some(7u64.to_ne_bytes().to_vec()));
//! # Ok(())
//! # }
//! ```
#![deny(unsafe_code)]

mod attr;
mod available;
mod btf;
mod counters;
mod cpus;
mod error;
mod map;
mod program;
mod relocate;
#[allow(unsafe_code, reason = "the system call, and the buffers it reads and writes")]
mod sys;
mod test_run;
#[cfg(test)]
mod tests;
pub mod uapi;

pub use available::{Unavailable, available};
pub use btf::Btf;
pub use counters::Counters;
pub use cpus::possible_cpus;
pub use error::{Call, Error, LoadError};
pub use map::{Entry, Map, MapBtf, MapSpec};
pub use program::{ProgBtf, ProgInfo, ProgSpec, Program};
pub use relocate::relocate;
pub use test_run::{TestRun, TestRunResult};
