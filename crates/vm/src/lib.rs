//! A user-space eBPF virtual machine.
#![deny(unsafe_code)]

pub mod errno;
pub mod memory;
pub mod region;
