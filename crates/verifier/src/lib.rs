//! Proves eBPF programs safe as Linux does, and says why when it cannot.
//!
//! [`domain`] is what is known about values; [`kernel_log`] reads the log of the kernel's own
//! verifier, against which ours is compared. The profile is Linux 6.18: where the kernel's written
//! rules and its behaviour part, behaviour decides.
#![forbid(unsafe_code)]

pub mod domain;
pub mod kernel_log;
