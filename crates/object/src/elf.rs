//! Sections, symbols and relocations, as far as the file holds together.
//!
//! The reader keeps one copy of the file; sections are ranges of it, so that headers that
//! overlap cost nothing. What cannot be read is left out with a [`Diagnostic`]. Meaning (what is
//! a program, what a map) is given elsewhere.

mod parts;

use std::collections::BTreeMap;
use std::ops::Range;

use object::LittleEndian as LE;
use object::elf::{self, FileHeader64};
use object::read::StringTable;
use object::read::elf::{FileHeader, Rel, SectionHeader, SectionTable, Sym, SymbolTable};

use crate::error::{Diagnostic, ParseError};

pub use parts::{
    Binding, Place, Relocation, RelocationKind, RelocationRow, Section, SectionIndex, Symbol,
    SymbolIndex, SymbolKind,
};

/// The contents of the file.
#[derive(Clone, Debug)]
pub(crate) struct Elf {
    bytes: Vec<u8>,
    pub(crate) machine: u16,
    pub(crate) sections: Vec<Section>,
    pub(crate) symbols: Vec<Symbol>,
    /// By section, and then by offset.
    pub(crate) relocations: BTreeMap<SectionIndex, Vec<Relocation>>,
}

type Headers<'a> = &'a [elf::SectionHeader64<LE>];

impl Elf {
    pub(crate) fn parse(bytes: &[u8], found: &mut Vec<Diagnostic>) -> Result<Elf, ParseError> {
        let header = parse_header(bytes)?;
        let unreadable =
            |error: object::read::Error| ParseError::SectionHeaders { reason: error.to_string() };
        let headers = header.section_headers(LE, bytes).map_err(unreadable)?;
        let mut names = Names { left: bytes.len().saturating_mul(4).saturating_add(1 << 16) };
        let sections = read_sections(header, headers, bytes, &mut names, found);
        let symbols = read_symbols(headers, bytes, &mut names, found);
        let relocations = read_relocations(headers, &sections, bytes, symbols.len(), found);
        let machine = header.e_machine(LE).0;
        Ok(Elf { bytes: bytes.to_vec(), machine, sections, symbols, relocations })
    }

    /// The content of a section; empty if it has none in the file.
    pub(crate) fn bytes_of(&self, section: &Section) -> &[u8] {
        self.bytes.get(section.range.clone()).unwrap_or(&[])
    }

    pub(crate) fn section(&self, index: SectionIndex) -> Option<&Section> {
        self.sections.get(index.0)
    }

    pub(crate) fn section_named(&self, name: &str) -> Option<&Section> {
        self.sections.iter().find(|section| section.name == name)
    }

    pub(crate) fn symbol(&self, index: SymbolIndex) -> Option<&Symbol> {
        self.symbols.get(index.0)
    }

    pub(crate) fn relocations_of(&self, section: SectionIndex) -> &[Relocation] {
        self.relocations.get(&section).map_or(&[], Vec::as_slice)
    }

    /// The name of a symbol for people; that of its section if it has none of its own.
    pub(crate) fn symbol_label(&self, symbol: &Symbol) -> String {
        match symbol.place {
            Place::Section(index) if symbol.name.is_empty() => {
                self.section(index).map_or_else(String::new, |section| section.name.clone())
            }
            _ => symbol.name.clone(),
        }
    }

    /// The content of a section after its 32-bit data relocations (`.BTF` and `.BTF.ext` have
    /// such): the value of the symbol is added to what is there.
    pub(crate) fn relocated(&self, section: &Section) -> Vec<u8> {
        let mut bytes = self.bytes_of(section).to_vec();
        for relocation in self.relocations_of(section.index) {
            if !matches!(relocation.kind, RelocationKind::ABS_32 | RelocationKind::NODYLD_32) {
                continue;
            }
            let word = usize::try_from(relocation.offset)
                .ok()
                .and_then(|at| bytes.get_mut(at..at.checked_add(4)?))
                .and_then(|word| <&mut [u8; 4]>::try_from(word).ok());
            let value = self.symbol(relocation.symbol).map(|symbol| symbol.value);
            if let (Some(word), Some(value)) = (word, value) {
                // An offset that exceeds 32 bits lies in no section; it is out of range as well
                // when cut.
                let sum = u64::from(u32::from_le_bytes(*word)).wrapping_add(value);
                *word = u32::try_from(sum).unwrap_or(u32::MAX).to_le_bytes();
            }
        }
        bytes
    }
}

fn parse_header(bytes: &[u8]) -> Result<&FileHeader64<LE>, ParseError> {
    if !bytes.starts_with(b"\x7fELF") {
        return Err(ParseError::NotElf);
    }
    let truncated = ParseError::HeaderTruncated { found: bytes.len() };
    let (class, encoding) = match *bytes {
        [_, _, _, _, class, encoding, ..] => (class, encoding),
        _ => return Err(truncated),
    };
    match (class, encoding) {
        (2, 1) => {}
        (2, 2) => return Err(ParseError::BigEndian),
        (2, encoding) => return Err(ParseError::Encoding { encoding }),
        (class, _) => return Err(ParseError::Class { class }),
    }
    if bytes.len() < size_of::<FileHeader64<LE>>() {
        return Err(truncated);
    }
    let header = FileHeader64::<LE>::parse(bytes)
        .map_err(|error| ParseError::SectionHeaders { reason: error.to_string() })?;
    if header.e_type(LE) != elf::ET_REL {
        return Err(ParseError::NotRelocatable { found: header.e_type(LE).0 });
    }
    // Compilers before LLVM 4 left the machine empty; libbpf accepts that as well.
    match header.e_machine(LE) {
        elf::EM_BPF | elf::EM_NONE => Ok(header),
        machine => Err(ParseError::NotBpf { machine: machine.0 }),
    }
}

/// Reads names, within a budget: symbols may share one long name.
struct Names {
    left: usize,
}

impl Names {
    fn read(&mut self, name: &[u8], found: &mut Vec<Diagnostic>) -> String {
        match self.left.checked_sub(name.len()) {
            Some(left) => {
                self.left = left;
                String::from_utf8_lossy(name).into_owned()
            }
            None => {
                if !found.contains(&Diagnostic::NamesTooLong) {
                    found.push(Diagnostic::NamesTooLong);
                }
                String::new()
            }
        }
    }
}

fn read_sections(
    header: &FileHeader64<LE>,
    headers: Headers<'_>,
    bytes: &[u8],
    names: &mut Names,
    found: &mut Vec<Diagnostic>,
) -> Vec<Section> {
    let strings = header.section_strings(LE, bytes, headers).unwrap_or_else(|error| {
        found.push(Diagnostic::SectionNames { reason: error.to_string() });
        StringTable::default()
    });
    let mut sections = Vec::with_capacity(headers.len());
    for (index, header) in headers.iter().enumerate() {
        let name = match header.name(LE, strings) {
            Ok(name) => names.read(name, found),
            Err(_) => {
                found.push(Diagnostic::SectionName { section: index });
                String::new()
            }
        };
        let (offset, size) = (header.sh_offset(LE), header.sh_size(LE));
        let has_content = !matches!(header.sh_type(LE), elf::SHT_NULL | elf::SHT_NOBITS);
        let range = file_range(offset, size).filter(|range| range.end <= bytes.len());
        if has_content && range.is_none() {
            let (name, file_len) = (name.clone(), bytes.len());
            found.push(Diagnostic::SectionOutside { section: index, name, offset, size, file_len });
        }
        sections.push(Section {
            index: SectionIndex(index),
            name,
            kind: header.sh_type(LE).0,
            flags: header.sh_flags(LE).0,
            size,
            align: header.sh_addralign(LE),
            link: header.sh_link(LE),
            info: header.sh_info(LE),
            range: range.filter(|_| has_content).unwrap_or(0..0),
        });
    }
    sections
}

fn file_range(offset: u64, size: u64) -> Option<Range<usize>> {
    let start = usize::try_from(offset).ok()?;
    Some(start..start.checked_add(usize::try_from(size).ok()?)?)
}

fn read_symbols(
    headers: Headers<'_>,
    bytes: &[u8],
    names: &mut Names,
    found: &mut Vec<Diagnostic>,
) -> Vec<Symbol> {
    let table = SectionTable::<FileHeader64<LE>>::new(headers, StringTable::default()).symbols(
        LE,
        bytes,
        elf::SHT_SYMTAB,
    );
    let table = match table {
        Ok(table) => table,
        Err(error) => {
            found.push(Diagnostic::Symbols { reason: error.to_string() });
            return Vec::new();
        }
    };
    let mut symbols = Vec::with_capacity(table.len());
    for (index, symbol) in table.enumerate() {
        let mut odd = |reason| found.push(Diagnostic::Symbol { symbol: index.0, reason });
        let place = read_place(&table, index, symbol).unwrap_or_else(|error| {
            odd(error.to_string());
            Place::Other(symbol.st_shndx(LE).0)
        });
        let name = symbol.name(LE, table.strings()).unwrap_or_else(|error| {
            odd(error.to_string());
            &[]
        });
        symbols.push(Symbol {
            name: names.read(name, found),
            value: symbol.st_value(LE),
            size: symbol.st_size(LE),
            kind: match symbol.st_type() {
                elf::STT_NOTYPE => SymbolKind::NoType,
                elf::STT_OBJECT => SymbolKind::Object,
                elf::STT_FUNC => SymbolKind::Function,
                elf::STT_SECTION => SymbolKind::Section,
                elf::STT_FILE => SymbolKind::File,
                other => SymbolKind::Other(other.0),
            },
            binding: match symbol.st_bind() {
                elf::STB_LOCAL => Binding::Local,
                elf::STB_GLOBAL => Binding::Global,
                elf::STB_WEAK => Binding::Weak,
                other => Binding::Other(other.0),
            },
            hidden: matches!(symbol.st_visibility(), elf::STV_HIDDEN | elf::STV_INTERNAL),
            place,
        });
    }
    symbols
}

fn read_place(
    table: &SymbolTable<'_, FileHeader64<LE>>,
    index: object::read::SymbolIndex,
    symbol: &elf::Sym64<LE>,
) -> Result<Place, object::read::Error> {
    let section = table.symbol_section(LE, symbol, index)?;
    Ok(match (section, symbol.st_shndx(LE)) {
        (Some(section), _) => Place::Section(SectionIndex(section.0)),
        (None, elf::SHN_ABS) => Place::Absolute,
        (None, elf::SHN_UNDEF) => Place::Undefined,
        (None, other) => Place::Other(other.0),
    })
}

fn read_relocations(
    headers: Headers<'_>,
    sections: &[Section],
    bytes: &[u8],
    symbols: usize,
    found: &mut Vec<Diagnostic>,
) -> BTreeMap<SectionIndex, Vec<Relocation>> {
    let mut relocations: BTreeMap<SectionIndex, Vec<Relocation>> = BTreeMap::new();
    // Relocations that lie in the file once each are at most this many.
    let mut left = bytes.len() / size_of::<elf::Rel64<LE>>();
    for (header, section) in headers.iter().zip(sections) {
        let mut refuse = |reason: String| {
            let name = section.name.clone();
            found.push(Diagnostic::Relocations { section: section.index.0, name, reason });
        };
        if header.sh_type(LE) == elf::SHT_RELA {
            refuse("BPF uses relocations without addend (SHT_REL), not SHT_RELA".to_owned());
            continue;
        }
        let entries = match header.rel(LE, bytes) {
            Ok(Some((entries, _))) => entries,
            Ok(None) => continue,
            Err(error) => {
                refuse(error.to_string());
                continue;
            }
        };
        let target = usize::try_from(section.info).ok().filter(|&index| index < sections.len());
        let (Some(target), Some(rest)) = (target, left.checked_sub(entries.len())) else {
            refuse(match target {
                Some(_) => "the relocation sections of the file overlap".to_owned(),
                None => format!("they are for section {}, which does not exist", section.info),
            });
            continue;
        };
        left = rest;
        let list = relocations.entry(SectionIndex(target)).or_default();
        for entry in entries {
            let symbol = usize::try_from(entry.r_sym(LE)).unwrap_or(usize::MAX);
            if symbol >= symbols {
                let offset = entry.r_offset(LE);
                refuse(format!("the one for offset {offset} names symbol {symbol}"));
                continue;
            }
            list.push(Relocation {
                offset: entry.r_offset(LE),
                kind: RelocationKind(entry.r_type(LE).0),
                symbol: SymbolIndex(symbol),
            });
        }
    }
    for list in relocations.values_mut() {
        list.sort_by_key(|relocation| relocation.offset);
    }
    relocations
}
