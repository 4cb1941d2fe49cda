//! One test binary for the whole workspace.

mod command;

mod conformance;

mod examples;

mod objdump;

mod robustness;
