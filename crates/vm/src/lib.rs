//! A user-space eBPF virtual machine.
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

mod checked;

mod fast;
