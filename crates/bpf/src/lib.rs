//! What BPF is: instructions, their encoding, meaning and text.
//!
//! This crate computes and prints; it never runs anything and never reads memory. It has no
//! dependencies and no unsafe code.
//!
//! ```
//! use skep_bpf::codec::{Slot, SlotIndex, decode};
//! use skep_bpf::insn::{Insn, Reg, Src};
//! use skep_bpf::op::{AluOp, Width};
//!
//! let slot = Slot::from_bytes([0xb7, 0x02, 0, 0, 0x0f, 0, 0, 0]);
//! let insn = decode(&[slot], SlotIndex(0))?;
//! assert_eq!(
//!     insn,
//!     Insn::Alu { op: AluOp::Mov, width: Width::W64, dst: Reg::R2, src: Src::Imm(15) }
//! );
//! # Ok::<(), skep_bpf::codec::DecodeError>(())
//! ```

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod op;

pub mod insn;

pub mod codec;

pub mod eval;

pub mod program;

pub mod debug_info;

pub mod platform;

pub mod text;
