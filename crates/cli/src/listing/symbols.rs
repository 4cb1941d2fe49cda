//! The symbols of a code section as `llvm-objdump` orders and chooses them.
//!
//! They are sorted by address, name and type. Of several at one address the last that is not data
//! heads the code there, and the last of all is the label of jump targets. A section without a
//! symbol at its start has one of its own name there.

use skep_object::{Object, Place, Section, Symbol, SymbolKind};

/// A symbol as far as a listing needs it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Entry<'a> {
    address: u64,
    name: &'a str,
    /// `st_type`, the last criterion of the order.
    kind: u8,
}

/// The symbols of a section, sorted.
#[derive(Debug)]
pub(super) struct Symbols<'a> {
    entries: Vec<Entry<'a>>,
}

/// A piece of a section between two symbols.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Part {
    /// Its first byte.
    pub(super) start: usize,
    /// The byte after its last.
    pub(super) end: usize,
    /// The symbol that heads it.
    pub(super) name: String,
    /// Whether all symbols at its start are data.
    pub(super) is_data: bool,
}

/// Where a jump leads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Label<'a> {
    /// The symbol at the target or before it.
    pub(super) name: &'a str,
    /// How far behind the symbol the target is, in bytes.
    pub(super) distance: u64,
}

/// `STT_OBJECT`.
const OBJECT: u8 = 1;
/// `STT_FUNC`.
const FUNCTION: u8 = 2;
/// `STT_COMMON`.
const COMMON: u8 = 5;

impl<'a> Symbols<'a> {
    pub(super) fn of(object: &'a Object, section: &'a Section) -> Symbols<'a> {
        let here = |symbol: &&Symbol| symbol.place == Place::Section(section.index);
        let mut entries: Vec<Entry<'_>> = object
            .symbols()
            .iter()
            .filter(here)
            .filter(|symbol| !symbol.name.is_empty())
            .filter_map(|symbol| {
                let kind = match symbol.kind {
                    SymbolKind::NoType => 0,
                    SymbolKind::Object => OBJECT,
                    SymbolKind::Function => FUNCTION,
                    SymbolKind::Other(number) => number,
                    SymbolKind::Section | SymbolKind::File => return None,
                };
                Some(Entry { address: symbol.value, name: &symbol.name, kind })
            })
            .collect();
        entries.sort();
        if entries.first().is_none_or(|first| first.address != 0) {
            entries.insert(0, Entry { address: 0, name: &section.name, kind: FUNCTION });
        }
        Symbols { entries }
    }

    /// The pieces of a section of `len` bytes, in order.
    pub(super) fn parts(&self, len: usize) -> Vec<Part> {
        let mut parts = Vec::new();
        let mut rest = self.entries.as_slice();
        while let Some(first) = rest.first() {
            let count = rest.iter().take_while(|entry| entry.address == first.address).count();
            let (here, after) = rest.split_at(count);
            rest = after;
            let is_data = |entry: &&Entry<'_>| matches!(entry.kind, OBJECT | COMMON);
            let code = here.iter().rev().find(|entry| !is_data(entry));
            let shown = code.or(here.last()).unwrap_or(first);
            let end = after.first().map_or(len, |next| len.min(to_usize(next.address)));
            let start = to_usize(first.address);
            if start < end {
                let name = shown.name.to_owned();
                parts.push(Part { start, end, name, is_data: code.is_none() });
            }
        }
        parts
    }

    /// The label of an address.
    pub(super) fn label(&self, address: u64) -> Option<Label<'_>> {
        let after = self.entries.partition_point(|entry| entry.address <= address);
        let entry = self.entries.get(after.checked_sub(1)?)?;
        Some(Label { name: entry.name, distance: address - entry.address })
    }
}

fn to_usize(address: u64) -> usize {
    usize::try_from(address).unwrap_or(usize::MAX)
}
