//! One test binary for the whole workspace.

mod command;

mod objdump;

mod robustness;
