//! BTF: types, functions and source lines of eBPF programs.
//!
//! [`Btf`] is a parsed `.BTF` section and [`BtfExt`] a parsed `.BTF.ext` section, as
//! <https://docs.kernel.org/bpf/btf.html> defines them. Both take plain bytes: this crate knows
//! no ELF. Every offset, length and reference is checked while parsing, so what comes out can be
//! walked without errors; sizes and printing have limits of their own, because a well-formed
//! section can still describe an endless type.
//!
//! ```
//! use skep_btf::{Btf, Kind};
//!
//! // One type, `int`, and the strings "" and "int".
//! let mut bytes = vec![0x9f, 0xeb, 1, 0, 24, 0, 0, 0];
//! for word in [0u32, 16, 16, 5, 1, 1 << 24, 4, 1 << 24 | 32] {
//!     bytes.extend_from_slice(&word.to_le_bytes());
//! }
//! bytes.extend_from_slice(b"\0int\0");
//!
//! let btf = Btf::parse(&bytes)?;
//! let (id, int) = btf.types().next().expect("the section holds one type");
//! assert!(matches!(int.kind, Kind::Int(_)));
//! assert_eq!(btf.name(id), "int");
//! assert_eq!(btf.size_of(id)?, 4);
//! assert_eq!(btf.declaration(id, "counter"), "int counter");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod bytes;
mod error;
mod ext;
mod lookup;
mod names;
mod parse;
mod print;
mod resolve;
#[cfg(test)]
mod test_build;
#[cfg(test)]
mod tests;
mod types;
mod value;

pub use error::{BtfError, ResolveError, TypeProblem};
pub use ext::{BtfExt, CoreRelocation, ExtSection, FuncInfo, LineInfo};
pub use parse::Btf;
pub use types::{
    Array, Composite, DatasecVar, Enum, EnumValue, Int, Kind, Linkage, List, Member, Param, Str,
    Type, TypeId,
};
