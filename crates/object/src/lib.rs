//! eBPF objects as clang writes them: ELF, maps, global data, relocations, BTF.
//!
//! [`Object::parse`] reads a file and keeps going where parts of it are odd: those become
//! [`Object::diagnostics`]. [`Object::link`] takes one program out of it, with the functions it
//! calls, as code that stands on its own. This crate creates no maps and runs nothing.
#![forbid(unsafe_code)]

mod elf;
mod error;
mod functions;
mod link;
mod maps;
mod object;
#[cfg(test)]
mod tests;

pub use elf::{
    Binding, Place, Relocation, RelocationKind, Section, SectionIndex, Symbol, SymbolIndex,
    SymbolKind,
};
pub use error::{Diagnostic, MapProblem, ParseError};
pub use functions::{Function, FunctionIndex};
pub use link::{
    CodePlace, CoreKind, CoreRelocations, ExternKind, LinkError, LinkOptions, LinkProblem, Linked,
    MAX_LINKED_SLOTS, Origin, Part,
};
pub use maps::{GlobalData, MapDef, MapIndex, MapOrigin, MapValue, Variable};
pub use object::Object;
