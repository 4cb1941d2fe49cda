//! One test binary for the whole workspace.

mod aarch64;
mod aarch64_accepted;

mod agreement;
mod agreement_objects;
mod agreement_vectors;

mod bench;
mod cli;

mod command;

mod conformance;

mod examples;

mod hostile;

mod infrared;
mod membership;

mod kernel_random;

mod objdump;

mod robustness;

mod damage;

mod jit;
mod kfuncs;

mod profilers;
mod readme;
mod records;

mod verdicts;

mod xdp_filters;

mod tidy;
mod verify;
mod verify_vectors;

mod reachable;
mod turns;

mod verify_log;
