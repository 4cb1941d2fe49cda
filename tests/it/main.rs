//! One test binary for the whole workspace.

mod command;

mod conformance;

mod objdump;

mod robustness;
