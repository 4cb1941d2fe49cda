//! What can be wrong with BTF: while parsing it, and while computing sizes from it.

use core::fmt;

use crate::types::TypeId;

/// Why bytes are not a `.BTF` or `.BTF.ext` section.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BtfError {
    /// The section ends before its header does.
    HeaderTruncated {
        /// Bytes the header needs.
        needed: usize,
        /// Bytes there are.
        found: usize,
    },
    /// The magic number is that of big-endian BTF, which is not supported.
    BigEndian,
    /// The section does not start with the magic number 0xeb9f.
    Magic {
        /// What it starts with.
        found: u16,
    },
    /// The version is not 1.
    Version {
        /// The version of the header.
        found: u8,
    },
    /// The header has flags, of which none are defined.
    Flags {
        /// The flags of the header.
        found: u8,
    },
    /// A part that the header announces does not lie in the section.
    PartOutside {
        /// Which part.
        part: &'static str,
        /// Where it starts, in bytes after the header.
        offset: u32,
        /// Its length in bytes.
        len: u32,
        /// How many bytes follow the header.
        available: usize,
    },
    /// The strings do not start and end with a NUL byte.
    Strings,
    /// There are more types than the kernel accepts.
    TooManyTypes {
        /// The limit.
        limit: u32,
    },
    /// A type is malformed.
    Type {
        /// The number of the type.
        id: TypeId,
        /// Where it starts, in bytes from the first type.
        offset: usize,
        /// What is wrong with it.
        problem: TypeProblem,
    },
    /// The records of a part of `.BTF.ext` are shorter than they must be, or not whole words.
    RecordSize {
        /// Which part.
        part: &'static str,
        /// Bytes a record needs at least.
        needed: u32,
        /// The record size that the part states.
        found: u32,
    },
    /// A part of `.BTF.ext` ends inside its records.
    RecordsTruncated {
        /// Which part.
        part: &'static str,
        /// Where the incomplete records start, in bytes from the start of the part.
        offset: usize,
        /// Bytes needed from there.
        needed: u64,
        /// Bytes there are.
        found: usize,
    },
}

/// What is wrong with one type of a `.BTF` section.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TypeProblem {
    /// The types end inside this one.
    Truncated {
        /// Bytes the rest of the type needs.
        needed: usize,
        /// Bytes there are.
        found: usize,
    },
    /// The kind is not one of the defined ones, so the length of the type is unknown.
    UnknownKind(u32),
    /// It refers to a type that does not exist.
    Reference {
        /// The number it refers to.
        to: u32,
        /// The number of types, void included.
        count: u32,
    },
    /// The offset of a name lies outside the strings.
    Name {
        /// The offset.
        offset: u32,
    },
    /// A name is longer than any compiler writes.
    NameTooLong {
        /// Its length in bytes.
        len: usize,
        /// The longest allowed.
        limit: usize,
    },
}

impl fmt::Display for BtfError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BtfError::HeaderTruncated { needed, found } => {
                write!(f, "the BTF header needs {needed} bytes, the section has {found}")
            }
            BtfError::BigEndian => {
                f.write_str("the BTF is big-endian; only little-endian (-target bpfel) is read")
            }
            BtfError::Magic { found } => {
                write!(f, "BTF starts with 0xeb9f, this section with {found:#06x}")
            }
            BtfError::Version { found } => {
                write!(f, "only version 1 of BTF is known, this is version {found}")
            }
            BtfError::Flags { found } => {
                write!(f, "the BTF header has unknown flags {found:#04x}")
            }
            BtfError::PartOutside { part, offset, len, available } => write!(
                f,
                "the {part} of the BTF (offset {offset}, {len} bytes) exceed the {available} \
                 bytes after the header"
            ),
            BtfError::Strings => f.write_str("the BTF strings do not start and end with NUL"),
            BtfError::TooManyTypes { limit } => {
                write!(f, "the BTF has more than {limit} types")
            }
            BtfError::Type { id, offset, problem } => {
                write!(f, "BTF type {id}, at offset {offset} of the types: {problem}")
            }
            BtfError::RecordSize { part, needed, found } => write!(
                f,
                "a record of the {part} in .BTF.ext needs {needed} bytes in whole words, the \
                 section states {found}"
            ),
            BtfError::RecordsTruncated { part, offset, needed, found } => write!(
                f,
                "the {part} of .BTF.ext need {needed} bytes at offset {offset}, {found} are left"
            ),
        }
    }
}

impl fmt::Display for TypeProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TypeProblem::Truncated { needed, found } => {
                write!(f, "it needs {needed} more bytes, {found} are left")
            }
            TypeProblem::UnknownKind(kind) => write!(f, "kind {kind} is not defined"),
            TypeProblem::Reference { to, count } => {
                write!(f, "it refers to type {to}, the last is {}", count.saturating_sub(1))
            }
            TypeProblem::Name { offset } => {
                write!(f, "its name lies at offset {offset}, outside the strings")
            }
            TypeProblem::NameTooLong { len, limit } => {
                write!(f, "a name has {len} bytes, at most {limit} are read")
            }
        }
    }
}

impl core::error::Error for BtfError {}

/// Why a type has no size or alignment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ResolveError {
    /// The type has none: `void`, a function, a forward declaration.
    Unsized {
        /// The type in question.
        id: TypeId,
    },
    /// The chain of types does not end: it refers to itself, or is too long to follow.
    Endless {
        /// Where the walk started.
        id: TypeId,
    },
    /// The size does not fit 64 bits.
    Overflow {
        /// The array whose size it is.
        id: TypeId,
    },
}

impl fmt::Display for ResolveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ResolveError::Unsized { id } => write!(f, "BTF type {id} has no size"),
            ResolveError::Endless { id } => {
                write!(f, "BTF type {id} refers to itself or is nested too deeply")
            }
            ResolveError::Overflow { id } => {
                write!(f, "the size of BTF type {id} exceeds 64 bits")
            }
        }
    }
}

impl core::error::Error for ResolveError {}
