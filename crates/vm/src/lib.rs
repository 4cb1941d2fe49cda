//! A user-space eBPF virtual machine: guest memory, maps, helpers, contexts and interpreters.
//!
//! A [`Machine`](machine::Machine) owns guest memory and the maps in it. A
//! [`Program`](skep_bpf::program::Program) is loaded into a machine and then runs on a
//! [`Cpu`](cpu::Cpu), one per thread, on a [`Context`](context::Context): a packet, or raw memory
//! as here. Whatever the program does, it reaches guest memory only; what it may not do ends the
//! run with a [`Trap`](trap::Trap) that names the instruction.
//!
//! ```
//! use std::sync::Arc;
//! use skep::context::RawMemory;
//! use skep::cpu::Cpu;
//! use skep::host::Host;
//! use skep::machine::Machine;
//! use skep::run::{Engine, Options, RunError};
//! use skep_bpf::codec::Slot;
//! use skep_bpf::platform::ProgType;
//! use skep_bpf::program::{Bytecode, Program};
//!
//! let machine = Arc::new(Machine::new(Host::default())?);
//! let mut cpu = Cpu::new(&machine)?;
//!
//! // r0 = *(u8 *)(r1 + 3); exit
//! let slots = vec![Slot::new(0x71, 0, 1, 3, 0), Slot::new(0x95, 0, 0, 0, 0)];
//! let program = Program::new(&Bytecode::from(slots))?;
//! let loaded = machine.load("third_byte", ProgType::UNSPEC, program, &[])?;
//!
//! let mut memory = RawMemory { bytes: vec![10, 20, 30, 40] };
//! let finished = loaded.run(&mut cpu, &mut memory, Options::default())?;
//! assert_eq!((finished.r0, finished.insns), (40, Some(2)));
//!
//! // The checked interpreter says exactly what an access missed.
//! memory.bytes.truncate(3);
//! let checked = Options { engine: Engine::Checked, ..Options::default() };
//! let Err(RunError::Trap(trap)) = loaded.run(&mut cpu, &mut memory, checked) else {
//!     panic!("the fourth of three bytes was read");
//! };
//! assert!(trap.to_string().ends_with("byte 3 of the memory, of which 3 bytes are there"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! From an object file to loaded programs it is one call, [`prepare`](prepare::prepare).

#![deny(unsafe_code)]

pub mod machine;

pub mod cpu;

pub mod linked;

pub mod maps;

pub mod epoch;

pub mod helpers;

pub mod context;

pub mod host;

pub mod trap;

pub mod errno;

pub mod memory;

pub mod region;

pub mod run;

pub mod profile;

pub mod runner;

pub mod prepare;

pub mod proof;

mod checked;

mod fast;

#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
mod native;

#[cfg(not(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64"))))]
mod no_native;

#[cfg(not(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64"))))]
use no_native as native;
