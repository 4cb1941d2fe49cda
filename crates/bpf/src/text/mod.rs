//! Instructions as text: printers, parsers and explanations, all over the rows of [`crate::op`].
//!
//! There are two dialects. The C-like one (`r2 = 15`) is printed in three styles: LLVM's
//! ([`llvm`], from raw slots by LLVM's rules), and the kernel's and a decimal one ([`c_like`]).
//! The other is the mnemonic dialect of ubpf and the public conformance suite ([`mnemonic`]).
//! [`parse`] reads all of them; [`explain`] takes the bytes of an instruction apart.

mod words;

pub mod llvm;

pub mod c_like;

pub mod mnemonic;

pub mod parse;

pub mod explain;

#[cfg(test)]
mod corpus;
