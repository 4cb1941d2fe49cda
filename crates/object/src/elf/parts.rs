//! What an ELF file consists of: sections, symbols, relocations.
//!
//! Plain descriptions, with the names and numbers of the file; reading them is left to the module
//! above.

use std::fmt;
use std::ops::Range;

use object::elf;

/// The number of a section in the section headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SectionIndex(pub usize);

/// The number of a symbol in the symbol table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SymbolIndex(pub usize);

/// A section of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// Its number.
    pub index: SectionIndex,
    /// Its name; empty if unreadable.
    pub name: String,
    /// `sh_type`.
    pub kind: u32,
    /// `sh_flags`.
    pub flags: u64,
    /// `sh_size`, in bytes.
    pub size: u64,
    /// `sh_addralign`, in bytes.
    pub align: u64,
    /// `sh_link`.
    pub link: u32,
    /// `sh_info`.
    pub info: u32,
    /// Where its content lies in the file; empty if it has none.
    pub(crate) range: Range<usize>,
}

impl Section {
    /// Whether it holds code: program bits with the executable flag.
    pub fn is_code(&self) -> bool {
        self.kind == elf::SHT_PROGBITS.0 && self.flags & elf::SHF_EXECINSTR.0 != 0
    }

    /// Whether it holds zeros that the file does not contain (`.bss`).
    pub fn is_zeros(&self) -> bool {
        self.kind == elf::SHT_NOBITS.0
    }

    /// Whether it holds the relocations of another section.
    pub(crate) fn is_relocations(&self) -> bool {
        self.kind == elf::SHT_REL.0
    }

    /// Whether it holds content of the program: code, data or notes, but no tables of ELF.
    pub fn is_program_bits(&self) -> bool {
        self.kind == elf::SHT_PROGBITS.0
    }
}

/// A symbol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Symbol {
    /// Its name; empty for the symbols of sections, and if unreadable.
    pub name: String,
    /// `st_value`: bytes from the start of its section.
    pub value: u64,
    /// `st_size`, in bytes.
    pub size: u64,
    /// What it stands for.
    pub kind: SymbolKind,
    /// Whether it is local, global or weak.
    pub binding: Binding,
    /// Whether it is visible to this object only (`STV_HIDDEN`, `STV_INTERNAL`).
    pub hidden: bool,
    /// Where it is defined.
    pub place: Place,
}

/// What a symbol stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SymbolKind {
    /// Nothing said: labels, symbols defined elsewhere, functions of old compilers.
    NoType,
    /// A variable or map.
    Object,
    /// A function.
    Function,
    /// A section.
    Section,
    /// The source file.
    File,
    /// Another number.
    Other(u8),
}

/// Who sees a symbol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binding {
    /// This object.
    Local,
    /// Everybody.
    Global,
    /// Everybody, unless there is a global one.
    Weak,
    /// Another number.
    Other(u8),
}

/// Where a symbol is defined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Elsewhere: by the kernel, or by whoever loads the program.
    Undefined,
    /// In a section of this file.
    Section(SectionIndex),
    /// Its value is a number, not an address.
    Absolute,
    /// Another reserved number, such as that of common symbols.
    Other(u16),
}

/// The kind of a relocation, `r_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RelocationKind(pub u32);

/// What is known of a kind of relocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RelocationRow {
    /// The kind.
    pub kind: RelocationKind,
    /// The name in the LLVM documentation, which `llvm-readelf` prints.
    pub name: &'static str,
    /// What it is for.
    pub meaning: &'static str,
}

macro_rules! relocation_kinds {
    ($($constant:ident = $number:literal, $name:literal, $meaning:literal;)*) => {
        impl RelocationKind {
            $(
                #[doc = concat!("`", $name, "`: ", $meaning, ".")]
                pub const $constant: RelocationKind = RelocationKind($number);
            )*

            /// The kinds that LLVM writes, by number. All of them are understood.
            pub const ROWS: &'static [RelocationRow] = &[$(RelocationRow {
                kind: RelocationKind::$constant,
                name: $name,
                meaning: $meaning,
            },)*];
        }
    };
}

// Source: llvm/docs, "BPF Relocation Types" (also Documentation/bpf/llvm_reloc.rst of Linux).
relocation_kinds! {
    NONE = 0, "R_BPF_NONE", "nothing";
    INSN_64 = 1, "R_BPF_64_64", "the 64-bit immediate of a wide instruction";
    ABS_64 = 2, "R_BPF_64_ABS64", "64 bits of data";
    ABS_32 = 3, "R_BPF_64_ABS32", "32 bits of data";
    NODYLD_32 = 4, "R_BPF_64_NODYLD32",
        "32 bits of `.BTF` and `.BTF.ext`, which a loader of machine code does not apply";
    INSN_32 = 10, "R_BPF_64_32", "the immediate of a call";
}

impl RelocationKind {
    /// The name in the LLVM documentation (`llvm-readelf` prints it), if it has one.
    pub fn name(self) -> Option<&'static str> {
        Self::ROWS.iter().find(|row| row.kind == self).map(|row| row.name)
    }
}

impl fmt::Display for RelocationKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "relocation type {}", self.0),
        }
    }
}

/// A place in a section that depends on a symbol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Relocation {
    /// Where, in bytes from the start of the section.
    pub offset: u64,
    /// How.
    pub kind: RelocationKind,
    /// On which symbol.
    pub symbol: SymbolIndex,
}
