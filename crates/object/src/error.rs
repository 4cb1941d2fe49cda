//! What keeps a file from being read at all, what is merely odd about one, and what cannot be
//! changed.
//!
//! Only a file without usable section headers is refused. Everything else that is wrong is a
//! [`Diagnostic`]: the part in question is left out, and whatever needs it says so when linked.

use skep_btf::{BtfError, ResolveError};

use crate::maps::MapIndex;

/// Why a file is not an object that can be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseError {
    /// The file does not start with the magic number of ELF.
    #[error("the file is not an ELF object: it does not start with 7f 45 4c 46")]
    NotElf,
    /// The file ends inside the ELF header.
    #[error("the ELF header needs 64 bytes, the file has {found}")]
    HeaderTruncated {
        /// Bytes there are.
        found: usize,
    },
    /// A 32-bit object, or a class without a meaning.
    #[error("a BPF object has ELF class 2 (64 bits), this one has class {class}")]
    Class {
        /// `EI_CLASS` of the file.
        class: u8,
    },
    /// A big-endian object, as `clang -target bpfeb` writes it.
    #[error("the object is big-endian; compile it with -target bpfel (or -target bpf on x86-64)")]
    BigEndian,
    /// A byte order without a meaning.
    #[error("ELF data encoding {encoding} is not defined")]
    Encoding {
        /// `EI_DATA` of the file.
        encoding: u8,
    },
    /// Not a relocatable object: an executable, shared object or core.
    #[error("a BPF object is relocatable (ELF type 1), this file has type {found}")]
    NotRelocatable {
        /// `e_type` of the file.
        found: u16,
    },
    /// An object for another machine.
    #[error("the object is for ELF machine {machine}, BPF is 247; compile with -target bpf")]
    NotBpf {
        /// `e_machine` of the file.
        machine: u16,
    },
    /// The section headers cannot be read.
    #[error("the section headers cannot be read: {reason}")]
    SectionHeaders {
        /// What the ELF reader says.
        reason: String,
    },
}

/// Something wrong with a part of an object. That part is missing from the [`Object`]; the rest
/// is there.
///
/// [`Object`]: crate::Object
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Diagnostic {
    /// The names of the sections cannot be read.
    #[error("the section names cannot be read: {reason}")]
    SectionNames {
        /// What the ELF reader says.
        reason: String,
    },
    /// A section has no readable name.
    #[error("section {section} has no readable name")]
    SectionName {
        /// Its number.
        section: usize,
    },
    /// The content of a section does not lie in the file.
    #[error(
        "section {section} ({name}) is at offset {offset}, {size} bytes long, but the file has \
         {file_len} bytes"
    )]
    SectionOutside {
        /// Its number.
        section: usize,
        /// Its name.
        name: String,
        /// Where it starts, in bytes from the start of the file.
        offset: u64,
        /// Its length in bytes.
        size: u64,
        /// The length of the file in bytes.
        file_len: usize,
    },
    /// The symbols cannot be read.
    #[error("the symbol table cannot be read: {reason}")]
    Symbols {
        /// What the ELF reader says.
        reason: String,
    },
    /// A symbol has no readable name or section.
    #[error("symbol {symbol} cannot be read: {reason}")]
    Symbol {
        /// Its number.
        symbol: usize,
        /// What the ELF reader says.
        reason: String,
    },
    /// The names add up to several times the size of the file; the rest of them is empty.
    #[error("the names of sections and symbols are longer than the file; the rest are left out")]
    NamesTooLong,
    /// The relocations of a section cannot be read.
    #[error("the relocations in section {section} ({name}) cannot be read: {reason}")]
    Relocations {
        /// The number of the section that holds them.
        section: usize,
        /// Its name.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// A function does not lie in its section, or not at a multiple of eight bytes.
    #[error(
        "function {name} is at offset {offset}, {size} bytes long, which are not whole \
         instructions within the {section_size} bytes of section {section}"
    )]
    Function {
        /// The symbol's name.
        name: String,
        /// The section's name.
        section: String,
        /// The symbol's value, in bytes from the start of the section.
        offset: u64,
        /// The symbol's size in bytes.
        size: u64,
        /// The section's size in bytes.
        section_size: u64,
    },
    /// The `.BTF` section is malformed.
    #[error("the .BTF section is malformed: {0}")]
    Btf(BtfError),
    /// The `.BTF.ext` section is malformed.
    #[error("the .BTF.ext section is malformed: {0}")]
    BtfExt(BtfError),
    /// A map's declaration cannot be used, or not all of it.
    #[error("map {map}: {problem}")]
    Map {
        /// The name of the map.
        map: String,
        /// What is wrong with it.
        problem: MapProblem,
    },
    /// A variable is initialised with an address, which nobody but the kernel could fill in; the
    /// variable holds the number that the compiler left there.
    #[error(
        "section {section}, offset {offset}: the address of {target} is needed here, but data \
         cannot hold addresses; it stays a plain number"
    )]
    AddressInData {
        /// The section of the variable.
        section: String,
        /// Where the address should stand, in bytes from the start of the section.
        offset: u64,
        /// The symbol whose address it is.
        target: String,
    },
    /// A section holds something that is not supported; programs link without it.
    #[error("section {section} holds {what}, which are not supported")]
    NotSupported {
        /// The section.
        section: String,
        /// What it holds.
        what: &'static str,
    },
    /// The `version` section has not four bytes.
    #[error("the version section has {found} bytes, a version has 4")]
    Version {
        /// Its size in bytes.
        found: usize,
    },
}

/// What is wrong with the declaration of a map.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MapProblem {
    /// A map in `.maps` is declared by its type, and the object has no (readable) BTF.
    #[error("declared in .maps, which needs BTF; compile with -g")]
    NoBtf,
    /// The BTF of `.maps` does not describe it.
    #[error("the BTF of .maps does not describe it")]
    NotInBtf,
    /// Its type is not a struct.
    #[error("its BTF type is {found}, a map is declared as a struct")]
    NotStruct {
        /// The kind of type found.
        found: &'static str,
    },
    /// A member has not the form that the macros of libbpf give it.
    #[error("member {member} needs {needed}")]
    Member {
        /// The name of the member.
        member: String,
        /// What is needed, such as `a pointer to an array, as __uint() declares it`.
        needed: &'static str,
    },
    /// A member that no map has; it is ignored.
    #[error("member {member} is not known and is ignored")]
    UnknownMember {
        /// The name of the member.
        member: String,
    },
    /// The size of the key or value type cannot be determined.
    #[error("the type of its {member} has no size: {source}")]
    Size {
        /// `key` or `value`.
        member: &'static str,
        /// Why.
        source: ResolveError,
    },
    /// The size of the key or value type does not fit, or contradicts the declared one.
    #[error("its {member} has {found} bytes, but {member}_size says {declared}")]
    SizeMismatch {
        /// `key` or `value`.
        member: &'static str,
        /// The size of the type in bytes.
        found: u64,
        /// The declared size in bytes.
        declared: u32,
    },
    /// The type of the key or value exceeds 4 GiB.
    #[error("its {member} has {found} bytes, more than a map can hold")]
    TooLarge {
        /// `key` or `value`.
        member: &'static str,
        /// The size in bytes.
        found: u64,
    },
    /// `values` are declared twice deep, or in a map without a type that holds maps or programs.
    #[error("its values cannot be initialised: {reason}")]
    Values {
        /// Why.
        reason: &'static str,
    },
    /// A legacy declaration is too short.
    #[error("its record has {found} bytes, at least 16 are needed")]
    RecordTooShort {
        /// The length of the record in bytes.
        found: u64,
    },
    /// A legacy declaration is longer than known and has values there.
    #[error("its record has {len} bytes; those from byte {from} on are not known and ignored")]
    RecordTail {
        /// The length of the record in bytes.
        len: u64,
        /// The first byte that is not known.
        from: u64,
    },
    /// A map of maps does not say which maps it holds.
    #[error("it holds maps like the one {reference}, which does not exist")]
    NoInnerMap {
        /// What the declaration says: `with id 7`, `at index 2`.
        reference: String,
    },
    /// An element of `values` is not what the map holds.
    #[error("its element {index} is {target}, which is neither a map nor a function")]
    Value {
        /// The index of the element.
        index: u64,
        /// The symbol it is initialised with.
        target: String,
    },
    /// A relocation in `.maps` does not lie on an element of `values`.
    #[error("the address at offset {offset} of .maps is not an element of its values")]
    ValueOffset {
        /// Where, in bytes from the start of `.maps`.
        offset: u64,
    },
}

/// Why an object cannot be changed before it is loaded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChangeError {
    /// There is no map of that number.
    #[error("there is no map {}", .0.0)]
    NoSuchMap(MapIndex),
    /// Only global data has bytes to start with.
    #[error("map {map} is not global data")]
    NotGlobalData {
        /// The map.
        map: String,
    },
    /// The size of global data follows from its variables.
    #[error("{map} is global data, whose size cannot be changed")]
    GlobalData {
        /// The map.
        map: String,
    },
    /// The bytes lie outside.
    #[error("{len} bytes at offset {offset} of {map}, which is {size} bytes of global data")]
    Outside {
        /// The map.
        map: String,
        /// Where the bytes should go.
        offset: u32,
        /// How many there are.
        len: usize,
        /// The size of the data.
        size: u32,
    },
}
