//! Which pieces of code are functions, and which of them are programs.
//!
//! A program is a function that somebody may load; the others are only called. The rules are
//! libbpf's, widened for objects of old compilers (functions without type or size) and for
//! objects written in assembly (no symbols, everything in `.text`).

use skep_bpf::codec::SLOT_BYTES;
use skep_bpf::platform::{AttachType, ProgType, Section as SectionName, section_rule};

use crate::elf::{Binding, Elf, Place, Section, SectionIndex, Symbol, SymbolKind};
use crate::error::Diagnostic;

/// The number of a function in [`Object::functions`](crate::Object::functions).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FunctionIndex(pub usize);

/// A function of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Function {
    /// Its number.
    pub index: FunctionIndex,
    /// The name of its symbol; that of the section if it has no symbol.
    pub name: String,
    /// The section it lies in.
    pub section: SectionIndex,
    /// The name of that section.
    pub section_name: String,
    /// Where it starts, in bytes from the start of the section; a multiple of 8.
    pub offset: u64,
    /// Its length in bytes; a multiple of 8 unless the section is cut off.
    pub size: u64,
    /// Whether its symbol is local, global or weak.
    pub binding: Binding,
    /// Whether its symbol is hidden; libbpf then treats it as static.
    pub hidden: bool,
    /// Whether it is a program; otherwise it is only there to be called.
    pub is_program: bool,
}

impl Function {
    /// What the name of the section says about the program: its type, and what it attaches to.
    /// `None` if the name is not known to be that of a program; the type must then be given.
    pub fn section_rule(&self) -> Option<SectionName<'_>> {
        section_rule(&self.section_name)
    }

    /// The program type by the name of the section; [`ProgType::UNSPEC`] if that says nothing.
    pub fn prog_type(&self) -> ProgType {
        self.section_rule().map_or(ProgType::UNSPEC, |rule| rule.prog_type())
    }

    /// The attach type by the name of the section.
    pub fn attach_type(&self) -> AttachType {
        self.section_rule().map_or(AttachType::UNSPECIFIED, |rule| rule.attach_type())
    }

    /// The number of slots of its code.
    pub fn len_slots(&self) -> usize {
        usize::try_from(self.size / SLOT_BYTES as u64).unwrap_or(usize::MAX)
    }

    /// Whether the kernel verifies it on its own: it is global and not hidden.
    pub fn is_global(&self) -> bool {
        matches!(self.binding, Binding::Global | Binding::Weak) && !self.hidden
    }
}

/// The section whose functions are only called, unless there are no others.
const TEXT: &str = ".text";

pub(crate) fn find_functions(elf: &Elf, found: &mut Vec<Diagnostic>) -> Vec<Function> {
    let mut functions: Vec<Function> = Vec::new();
    let by_section = symbols_by_section(elf);
    for section in elf.sections.iter().filter(|section| section.is_code() && section.size > 0) {
        let symbols = by_section.get(section.index.0).map_or(&[][..], Vec::as_slice);
        let mut here = in_section(elf, section, symbols, found);
        for function in &mut here {
            function.index = FunctionIndex(functions.len());
            functions.push(function.clone());
        }
    }
    mark_programs(&mut functions);
    functions
}

/// The symbols that may name code, by the section they are in.
fn symbols_by_section(elf: &Elf) -> Vec<Vec<&Symbol>> {
    let mut by_section = vec![Vec::new(); elf.sections.len()];
    for symbol in &elf.symbols {
        if let Place::Section(index) = symbol.place
            && matches!(symbol.kind, SymbolKind::Function | SymbolKind::NoType)
            && let Some(list) = by_section.get_mut(index.0)
        {
            list.push(symbol);
        }
    }
    by_section
}

fn in_section(
    elf: &Elf,
    section: &Section,
    symbols: &[&Symbol],
    found: &mut Vec<Diagnostic>,
) -> Vec<Function> {
    let named = |accept: &dyn Fn(&Symbol) -> bool| -> Vec<&Symbol> {
        let mut list: Vec<&Symbol> = symbols.iter().copied().filter(|s| accept(s)).collect();
        list.sort_by_key(|symbol| symbol.value);
        list
    };
    let mut starts = named(&|symbol| symbol.kind == SymbolKind::Function);
    if starts.is_empty() {
        starts = named(&|symbol| symbol.binding != Binding::Local && !symbol.name.is_empty());
    }
    let function = |name: &str, offset, size, symbol: Option<&Symbol>| Function {
        index: FunctionIndex(0),
        name: name.to_owned(),
        section: section.index,
        section_name: section.name.clone(),
        offset,
        size,
        binding: symbol.map_or(Binding::Global, |symbol| symbol.binding),
        hidden: symbol.is_some_and(|symbol| symbol.hidden),
        is_program: false,
    };
    if starts.is_empty() {
        return vec![function(&section.name, 0, section.size, None)];
    }
    let section_size = elf.bytes_of(section).len() as u64;
    let mut functions = Vec::with_capacity(starts.len());
    for (symbol, end) in starts.iter().zip(next_values(&starts, section_size)) {
        let size = match symbol.size {
            0 => end.saturating_sub(symbol.value),
            size => size,
        };
        let fits = symbol.value.checked_add(size).is_some_and(|end| end <= section_size);
        let whole = symbol.value.is_multiple_of(8) && size.is_multiple_of(8) && size > 0;
        if !fits || !whole {
            found.push(Diagnostic::Function {
                name: symbol.name.clone(),
                section: section.name.clone(),
                offset: symbol.value,
                size: symbol.size,
                section_size,
            });
            continue;
        }
        functions.push(function(&symbol.name, symbol.value, size, Some(symbol)));
    }
    functions
}

/// For each symbol, sorted by value, the next greater value; `end` for the last.
pub(crate) fn next_values(sorted: &[&Symbol], end: u64) -> Vec<u64> {
    let mut next = vec![end; sorted.len()];
    let mut following = end;
    for (index, pair) in sorted.windows(2).enumerate().rev() {
        if let [symbol, later] = pair {
            if later.value > symbol.value {
                following = later.value;
            }
            if let Some(next) = next.get_mut(index) {
                *next = following;
            }
        }
    }
    next
}

/// In a section of its own name, every function that is not static is a program; a section with
/// nothing but static functions has them as programs. `.text` has programs if nothing else has.
fn mark_programs(functions: &mut [Function]) {
    let is_static = |function: &Function| function.binding == Binding::Local;
    let with_global: std::collections::BTreeSet<SectionIndex> =
        functions.iter().filter(|f| !is_static(f)).map(|f| f.section).collect();
    let only_text = functions.iter().all(|function| function.section_name == TEXT);
    for function in functions {
        let section_counts = only_text || function.section_name != TEXT;
        let is_called_only = is_static(function) && with_global.contains(&function.section);
        function.is_program = section_counts && !is_called_only;
    }
}

/// The function that starts at an offset of a section, or else the last that starts before it
/// and contains it. The functions are in order of their sections and offsets.
pub(crate) fn function_around(
    functions: &[Function],
    section: SectionIndex,
    offset: u64,
) -> Option<&Function> {
    let key = |function: &Function| (function.section, function.offset);
    let from = functions.partition_point(|function| key(function) < (section, offset));
    let exact = functions.get(from).filter(|function| key(function) == (section, offset));
    let before = || {
        let function = functions.get(from.checked_sub(1)?)?;
        let distance = offset.checked_sub(function.offset)?;
        (function.section == section && distance < function.size).then_some(function)
    };
    exact.or_else(before)
}
