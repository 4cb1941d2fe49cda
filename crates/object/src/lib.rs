//! eBPF objects as clang writes them: ELF, maps, global data, relocations, BTF.
//!
//! [`Object::parse`] reads a file and keeps going where parts of it are odd: those become
//! [`Object::diagnostics`]. [`Object::link`] takes one program out of it, with the functions it
//! calls, as code that stands on its own. This crate creates no maps and runs nothing.
//!
//! ```
//! use skep_object::{LinkOptions, Object};
//!
//! # fn read(_: &str) -> std::io::Result<&'static [u8]> {
//! #     Ok(include_bytes!("../testdata/small.bpf.o"))
//! # }
//! let object = Object::parse_named(&read("small.bpf.o")?, "small.bpf.o")?;
//! assert!(object.diagnostics().is_empty());
//! let maps: Vec<_> = object.maps().iter().map(|map| map.name.as_str()).collect();
//! assert_eq!(maps, ["m", "small.data"]);
//!
//! let program = object.programs().next().expect("the object has a program");
//! assert_eq!((program.name.as_str(), program.section_name.as_str()), ("p", "xdp"));
//! let linked = object.link(program.index, LinkOptions::default())?;
//! // `p` calls `f`, which lies in another section; both are there, and refer to both maps.
//! assert_eq!(linked.parts.len(), 2);
//! assert_eq!(linked.maps.len(), 2);
//! assert_eq!(linked.program()?.functions().len(), 2);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

mod elf;
mod error;
mod functions;
mod link;
mod maps;
mod object;
#[cfg(test)]
mod tests;
mod write;

pub use elf::{
    Binding, Place, Relocation, RelocationKind, RelocationRow, Section, SectionIndex, Symbol,
    SymbolIndex, SymbolKind,
};
pub use error::{ChangeError, Diagnostic, MapProblem, ParseError};
pub use functions::{Function, FunctionIndex};
pub use link::{
    CodePlace, CoreKind, CoreRelocations, ExternKind, KernelFunctions, LinkError, LinkOptions,
    LinkProblem, Linked, MAX_LINKED_SLOTS, Origin, Part,
};
pub use maps::{GlobalData, MapDef, MapIndex, MapOrigin, MapValue, Variable};
pub use object::Object;
pub use write::NewObject;
