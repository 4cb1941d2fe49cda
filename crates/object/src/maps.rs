//! Maps as an object declares them: in `.maps` by BTF, in legacy `maps` sections by records, and
//! one for every section of global data.
//!
//! A declaration is what would be asked of the kernel at creation, plus what the loader must put
//! in: inner maps, initial values, the bytes of the data. Nothing is created here.

mod btf;
mod global;
mod legacy;

use std::collections::BTreeMap;

use skep_bpf::platform::{MapFlags, MapType};
use skep_btf::{Btf, Linkage, TypeId};

use crate::elf::{Elf, Place, Section, SectionIndex, Symbol, SymbolKind};
use crate::error::{Diagnostic, MapProblem};
use crate::functions::{Function, FunctionIndex};

/// The number of a map in [`Object::maps`](crate::Object::maps).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MapIndex(pub usize);

/// The declaration of a map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MapDef {
    /// Its name. For global data as libbpf makes it: `hello.bss` for `.bss` of `hello.bpf.o`.
    pub name: String,
    /// The section that declares it, and for global data holds it.
    pub section: SectionIndex,
    /// Where the declaration starts, in bytes from the start of the section.
    pub offset: u64,
    /// How long the declaration is, in bytes; for global data, all of the section.
    pub len: u64,
    /// How it is declared.
    pub origin: MapOrigin,
    /// What kind of map it is.
    pub map_type: MapType,
    /// The size of a key in bytes.
    pub key_size: u32,
    /// The size of a value in bytes.
    pub value_size: u32,
    /// How many elements it may have; 0 where the loader decides (perf event arrays).
    pub max_entries: u32,
    /// Flags at creation.
    pub flags: MapFlags,
    /// `map_extra`: the number of hash functions of a bloom filter, the address of an arena.
    pub map_extra: u64,
    /// The NUMA node it should lie on, if declared.
    pub numa_node: Option<u32>,
    /// `pinning`: 0 is none; 1 by name (libbpf), or in the object's namespace (iproute2); 2 in
    /// the global namespace (iproute2).
    pub pinning: u32,
    /// The type of the key, if declared.
    pub key_type: Option<TypeId>,
    /// The type of the value, if declared; for global data, the type of the section.
    pub value_type: Option<TypeId>,
    /// For a map of maps, what the maps in it are like.
    pub inner: Option<Box<MapDef>>,
    /// What it holds at first, by index.
    pub values: Vec<(u32, MapValue)>,
    /// For global data, its variables.
    pub variables: Vec<Variable>,
    /// What a legacy record says about other maps.
    links: legacy::Links,
}

/// How a map is declared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapOrigin {
    /// In `.maps`, by BTF.
    Btf,
    /// In a `maps` section, by a record of numbers.
    Legacy,
    /// By a section of global data.
    Global(GlobalData),
}

/// What a section of global data is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GlobalData {
    /// `.data`: written by programs.
    Data,
    /// `.rodata`: read by programs.
    ReadOnly,
    /// `.bss`: zero at first, written by programs.
    Zero,
}

/// What an element of a map holds at first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapValue {
    /// A map of the object.
    Map(MapIndex),
    /// A program of the object.
    Program(FunctionIndex),
}

/// A global variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// Where it lies, in bytes from the start of its section.
    pub offset: u64,
    /// Its size in bytes.
    pub size: u64,
    /// Its [`Kind::Var`](skep_btf::Kind::Var), if the object has BTF for it.
    pub var: Option<TypeId>,
    /// Whether it is static or global.
    pub linkage: Linkage,
}

/// What the declarations of maps are made from.
pub(crate) struct Source<'a> {
    pub(crate) elf: &'a Elf,
    pub(crate) btf: Option<&'a Btf>,
    pub(crate) functions: &'a [Function],
    /// The name of the object, which prefixes those of global data.
    pub(crate) name: &'a str,
    /// The symbols that may name maps and variables, by section.
    symbols: BTreeMap<SectionIndex, Vec<&'a Symbol>>,
}

impl<'a> Source<'a> {
    pub(crate) fn new(
        elf: &'a Elf,
        btf: Option<&'a Btf>,
        functions: &'a [Function],
        name: &'a str,
    ) -> Self {
        let mut symbols: BTreeMap<SectionIndex, Vec<&Symbol>> = BTreeMap::new();
        for symbol in &elf.symbols {
            if let Place::Section(section) = symbol.place
                && matches!(symbol.kind, SymbolKind::NoType | SymbolKind::Object)
                && !symbol.name.is_empty()
            {
                symbols.entry(section).or_default().push(symbol);
            }
        }
        for list in symbols.values_mut() {
            list.sort_by_key(|symbol| symbol.value);
        }
        Source { elf, btf, functions, name, symbols }
    }

    /// The named symbols in a section, by value.
    fn symbols_in(&self, section: SectionIndex) -> &[&'a Symbol] {
        self.symbols.get(&section).map_or(&[], Vec::as_slice)
    }
}

/// All maps of an object: those of `.maps`, legacy ones, then global data.
pub(crate) fn find_maps(source: &Source<'_>, found: &mut Vec<Diagnostic>) -> Vec<MapDef> {
    let mut maps = Vec::new();
    for section in &source.elf.sections {
        if section.name == btf::SECTION && section.is_program_bits() {
            btf::read(source, section, &mut maps, found);
        }
    }
    for section in &source.elf.sections {
        if legacy::is_section(section) {
            legacy::read(source, section, &mut maps, found);
        }
    }
    legacy::resolve_inner(&mut maps, found);
    btf::read_values(source, &mut maps, found);
    legacy::read_tail_calls(source, &mut maps);
    for section in &source.elf.sections {
        if let Some(kind) = global::kind_of(section) {
            maps.push(global::read(source, section, kind, found));
        } else if let Some(what) = not_supported(section) {
            let section = section.name.clone();
            found.push(Diagnostic::NotSupported { section, what });
        }
    }
    maps
}

/// What a section holds that libbpf makes maps of and this crate does not.
fn not_supported(section: &Section) -> Option<&'static str> {
    match section.name.as_str() {
        _ if section.size == 0 => None,
        ".struct_ops" | ".struct_ops.link" | "?.struct_ops" | "?.struct_ops.link" => {
            Some("operations that a subsystem of the kernel calls (struct_ops)")
        }
        ".addr_space.1" => Some("variables that lie in an arena"),
        ".jumptables" => Some("targets of indirect jumps"),
        _ => None,
    }
}

/// Whether a section of that name would declare maps or hold global data, so that a reference
/// into it that finds no map means a bad declaration.
pub(crate) fn declares_maps(elf: &Elf, section: SectionIndex) -> bool {
    elf.section(section)
        .is_some_and(|section| section.name == btf::SECTION || legacy::is_section(section))
}

impl MapDef {
    /// A declaration of which nothing but its place is known.
    fn empty(
        name: String,
        section: SectionIndex,
        offset: u64,
        len: u64,
        origin: MapOrigin,
    ) -> Self {
        MapDef {
            name,
            section,
            offset,
            len,
            origin,
            map_type: MapType::UNSPEC,
            key_size: 0,
            value_size: 0,
            max_entries: 0,
            flags: MapFlags(0),
            map_extra: 0,
            numa_node: None,
            pinning: 0,
            key_type: None,
            value_type: None,
            inner: None,
            values: Vec::new(),
            variables: Vec::new(),
            links: legacy::Links::default(),
        }
    }

    /// Whether it holds maps.
    pub fn holds_maps(&self) -> bool {
        matches!(self.map_type, MapType::ARRAY_OF_MAPS | MapType::HASH_OF_MAPS)
    }

    /// Whether it is a section of global data.
    pub fn is_global_data(&self) -> bool {
        matches!(self.origin, MapOrigin::Global(_))
    }
}

fn problem(map: &str, problem: MapProblem) -> Diagnostic {
    Diagnostic::Map { map: map.to_owned(), problem }
}
