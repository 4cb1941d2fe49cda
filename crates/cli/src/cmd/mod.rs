//! The commands: one file each, with its arguments and what it does.

pub mod asm;

pub mod bench;

pub mod conformance;

pub mod disasm;

pub mod explain;

pub mod inspect;

pub mod jit;

pub mod objdump;

pub mod run;

pub mod verify;
