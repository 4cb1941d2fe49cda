//! Instructions as text: printers, parsers and explanations, all over the rows of [`crate::op`].
//!
//! [`llvm`] prints raw slots as `llvm-objdump` does.

mod words;

pub mod llvm;
