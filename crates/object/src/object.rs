//! An object file, read once: its programs, maps, types and everything else that is in it.

use std::collections::BTreeMap;

use skep_btf::{Btf, BtfExt, CoreRelocation, ExtSection, FuncInfo, LineInfo};

use crate::elf::{Elf, Place, Relocation, Section, SectionIndex, Symbol, SymbolIndex};
use crate::error::{ChangeError, Diagnostic, ParseError};
use crate::functions::{Function, FunctionIndex, find_functions, function_around};
use crate::link::ExternKind;
use crate::maps::{MapDef, MapIndex, Source, find_maps};

/// A parsed object. Programs are taken out of it with [`Object::link`]; before that, a loader may
/// change what its global data starts with and how large its maps are.
#[derive(Clone, Debug)]
pub struct Object {
    name: String,
    elf: Elf,
    functions: Vec<Function>,
    maps: Vec<MapDef>,
    map_at: BTreeMap<(SectionIndex, u64), MapIndex>,
    btf: Option<Btf>,
    funcs: BySection<FuncInfo>,
    lines: BySection<LineInfo>,
    core_relocations: BySection<CoreRelocation>,
    license: Option<String>,
    version: Option<u32>,
    diagnostics: Vec<Diagnostic>,
    /// What global data starts with where that was changed, by section.
    replaced: BTreeMap<SectionIndex, Vec<u8>>,
}

/// Records by the name of their section, sorted by offset.
type BySection<R> = BTreeMap<String, Vec<R>>;

impl Object {
    /// Reads an object that has no file name. Its global data is named `.bss` and so on.
    ///
    /// # Errors
    ///
    /// If the bytes are not a little-endian 64-bit relocatable BPF object, or its section
    /// headers cannot be read. Everything else that is wrong becomes a diagnostic.
    pub fn parse(bytes: &[u8]) -> Result<Object, ParseError> {
        Self::parse_named(bytes, "")
    }

    /// Reads an object from a file of that name, with or without directories. As in libbpf, the
    /// name up to its first dot goes into the names of global data: `hello.bss`.
    ///
    /// # Errors
    ///
    /// As [`Object::parse`].
    pub fn parse_named(bytes: &[u8], file_name: &str) -> Result<Object, ParseError> {
        let mut found = Vec::new();
        let base = file_name.rsplit(['/', '\\']).next().unwrap_or("");
        let name = base.split('.').next().unwrap_or("").to_owned();
        let elf = Elf::parse(bytes, &mut found)?;
        let btf = read_btf(&elf, &mut found);
        let ext = read_btf_ext(&elf, btf.is_some(), &mut found);
        let functions = find_functions(&elf, &mut found);
        let maps = find_maps(&Source::new(&elf, btf.as_ref(), &functions, &name), &mut found);
        let license = elf.section_named("license").map(|section| {
            let bytes = elf.bytes_of(section);
            let text = bytes.split(|&byte| byte == 0).next().unwrap_or(&[]);
            String::from_utf8_lossy(text).into_owned()
        });
        let version = read_version(&elf, &mut found);
        let by_section = btf.as_ref();
        Ok(Object {
            name,
            funcs: sort(by_section, ext.funcs, |record| record.insn_offset),
            lines: sort(by_section, ext.lines, |record| record.insn_offset),
            core_relocations: sort(by_section, ext.core_relocations, |record| record.insn_offset),
            elf,
            functions,
            map_at: places(&maps),
            maps,
            btf,
            license,
            version,
            diagnostics: found,
            replaced: BTreeMap::new(),
        })
    }

    /// The file name up to its first dot; empty if there was none.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What is wrong with the object, in the order in which it was read.
    pub fn diagnostics(&self) -> &[Diagnostic] {
        &self.diagnostics
    }

    /// The ELF machine: 247, or 0 from compilers before LLVM 4.
    pub fn machine(&self) -> u16 {
        self.elf.machine
    }

    /// The content of the `license` section up to its first NUL.
    pub fn license(&self) -> Option<&str> {
        self.license.as_deref()
    }

    /// The content of the `version` section: a `LINUX_VERSION_CODE`, which kernels before 5.0
    /// asked of kprobes.
    pub fn version(&self) -> Option<u32> {
        self.version
    }

    /// The types, if the object has readable BTF.
    pub fn btf(&self) -> Option<&Btf> {
        self.btf.as_ref()
    }

    /// All functions, by section and offset.
    pub fn functions(&self) -> &[Function] {
        &self.functions
    }

    /// The function with that number.
    pub fn function(&self, index: FunctionIndex) -> Option<&Function> {
        self.functions.get(index.0)
    }

    /// The programs: the functions that somebody may load.
    pub fn programs(&self) -> impl Iterator<Item = &Function> {
        self.functions.iter().filter(|function| function.is_program)
    }

    /// The functions with that name, or if there is none, the programs in the section with that
    /// name.
    pub fn functions_named(&self, name: &str) -> Vec<&Function> {
        let by = |accept: &dyn Fn(&Function) -> bool| -> Vec<&Function> {
            self.functions.iter().filter(|function| accept(function)).collect()
        };
        let named = by(&|function| function.name == name);
        match named.is_empty() {
            true => by(&|function| function.is_program && function.section_name == name),
            false => named,
        }
    }

    /// All maps: those of `.maps`, legacy ones, then global data.
    pub fn maps(&self) -> &[MapDef] {
        &self.maps
    }

    /// The map with that number.
    pub fn map(&self, index: MapIndex) -> Option<&MapDef> {
        self.maps.get(index.0)
    }

    /// The map with that name.
    pub fn map_named(&self, name: &str) -> Option<(MapIndex, &MapDef)> {
        let index = self.maps.iter().position(|map| map.name == name)?;
        Some((MapIndex(index), self.maps.get(index)?))
    }

    /// What global data starts with; zeros follow up to the value size of the map. Empty for
    /// other maps.
    pub fn initial_bytes(&self, map: &MapDef) -> &[u8] {
        if !map.is_global_data() {
            return &[];
        }
        match (self.replaced.get(&map.section), self.elf.section(map.section)) {
            (Some(bytes), _) => bytes,
            (None, Some(section)) => self.elf.bytes_of(section),
            (None, None) => &[],
        }
    }

    /// Puts bytes into what global data starts with.
    ///
    /// # Errors
    ///
    /// If the map is not global data, or they do not lie in it.
    pub fn replace_initial_bytes(
        &mut self,
        map: MapIndex,
        offset: u32,
        bytes: &[u8],
    ) -> Result<(), ChangeError> {
        let def = self.map(map).ok_or(ChangeError::NoSuchMap(map))?;
        let (section, size) = (def.section, def.value_size);
        if !def.is_global_data() {
            return Err(ChangeError::NotGlobalData { map: def.name.clone() });
        }
        let start = offset as usize;
        let end = start.checked_add(bytes.len()).filter(|end| *end as u64 <= u64::from(size));
        let Some(end) = end else {
            let (map, len) = (def.name.clone(), bytes.len());
            return Err(ChangeError::Outside { map, offset, len, size });
        };
        let mut initial = self.initial_bytes(def).to_vec();
        // Zeros that follow need not be there: a .bss may be of any size.
        initial.resize(initial.len().max(end), 0);
        if let Some(place) = initial.get_mut(start..end) {
            place.copy_from_slice(bytes);
        }
        self.replaced.insert(section, initial);
        Ok(())
    }

    /// Changes the size of a map's values, how many elements it may have, or both. Values of
    /// another size are no longer of the type that was declared.
    ///
    /// # Errors
    ///
    /// If there is no such map, or it is global data, whose size follows from its variables.
    pub fn resize_map(
        &mut self,
        map: MapIndex,
        value_size: Option<u32>,
        max_entries: Option<u32>,
    ) -> Result<(), ChangeError> {
        let def = self.maps.get_mut(map.0).ok_or(ChangeError::NoSuchMap(map))?;
        if def.is_global_data() {
            return Err(ChangeError::GlobalData { map: def.name.clone() });
        }
        if let Some(size) = value_size.filter(|size| *size != def.value_size) {
            def.value_size = size;
            def.value_type = None;
        }
        def.max_entries = max_entries.unwrap_or(def.max_entries);
        Ok(())
    }

    /// All sections, by number; the first is the null section.
    pub fn sections(&self) -> &[Section] {
        &self.elf.sections
    }

    /// The section with that number.
    pub fn section(&self, index: SectionIndex) -> Option<&Section> {
        self.elf.section(index)
    }

    /// The name of the section with that number; empty if there is none.
    pub fn section_name(&self, index: SectionIndex) -> &str {
        self.elf.section(index).map_or("", |section| section.name.as_str())
    }

    /// The content of a section as it stands in the file; empty for `.bss`.
    pub fn section_bytes(&self, section: &Section) -> &[u8] {
        self.elf.bytes_of(section)
    }

    /// All symbols, by number; the first is the null symbol.
    pub fn symbols(&self) -> &[Symbol] {
        &self.elf.symbols
    }

    /// The symbol with that number.
    pub fn symbol(&self, index: SymbolIndex) -> Option<&Symbol> {
        self.elf.symbol(index)
    }

    /// The name of a symbol, or that of its section if the symbol stands for it.
    pub fn symbol_label(&self, symbol: &Symbol) -> String {
        self.elf.symbol_label(symbol)
    }

    /// The relocations that apply to a section, by offset.
    pub fn relocations(&self, section: SectionIndex) -> &[Relocation] {
        self.elf.relocations_of(section)
    }

    /// The sections that have relocations, in the order in which the file lists those.
    pub fn relocated_sections(&self) -> impl Iterator<Item = &Section> {
        self.elf
            .sections
            .iter()
            .filter(|section| section.is_relocations())
            .filter_map(|section| {
                self.elf.section(SectionIndex(usize::try_from(section.info).ok()?))
            })
            .filter(|section| !self.relocations(section.index).is_empty())
    }

    /// What the object uses and does not define: names and what they are.
    pub fn externs(&self) -> impl Iterator<Item = (&str, ExternKind)> {
        let undefined =
            |symbol: &&Symbol| symbol.place == Place::Undefined && !symbol.name.is_empty();
        self.elf
            .symbols
            .iter()
            .filter(undefined)
            .map(|symbol| (symbol.name.as_str(), ExternKind::of(self, &symbol.name)))
    }

    /// The code of a function as it stands in the file.
    pub fn code(&self, function: &Function) -> &[u8] {
        let bytes = self.elf.section(function.section).map_or(&[][..], |s| self.elf.bytes_of(s));
        let start = usize::try_from(function.offset).unwrap_or(usize::MAX);
        let len = usize::try_from(function.size).unwrap_or(usize::MAX);
        bytes.get(start..start.saturating_add(len)).unwrap_or(&[])
    }

    /// The BTF function records of a section of code, by offset.
    pub fn func_records(&self, section_name: &str) -> &[FuncInfo] {
        self.funcs.get(section_name).map_or(&[], Vec::as_slice)
    }

    /// The source lines of a section of code, by offset.
    pub fn line_records(&self, section_name: &str) -> &[LineInfo] {
        self.lines.get(section_name).map_or(&[], Vec::as_slice)
    }

    /// The source lines of a function, by offset.
    pub fn lines(&self, function: &Function) -> &[LineInfo] {
        within(self.line_records(&function.section_name), function, |record| record.insn_offset)
    }

    /// The CO-RE relocations of a section of code, by offset.
    pub fn core_records(&self, section_name: &str) -> &[CoreRelocation] {
        self.core_relocations.get(section_name).map_or(&[], Vec::as_slice)
    }

    /// The CO-RE relocations of a function, by offset.
    pub fn core_relocations(&self, function: &Function) -> &[CoreRelocation] {
        let records = self.core_relocations.get(&function.section_name);
        let records = records.map_or(&[][..], Vec::as_slice);
        within(records, function, |record| record.insn_offset)
    }

    /// The source file and line of the instruction at an offset of its section.
    pub fn line_at(&self, function: &Function, offset: u64) -> Option<(&str, u32)> {
        let lines = self.lines(function);
        let after = lines.partition_point(|line| u64::from(line.insn_offset) <= offset);
        let line = lines.get(after.checked_sub(1)?)?;
        Some((self.btf.as_ref()?.str(line.file), line.line))
    }

    pub(crate) fn elf(&self) -> &Elf {
        &self.elf
    }

    pub(crate) fn function_around(&self, section: SectionIndex, offset: u64) -> Option<&Function> {
        function_around(&self.functions, section, offset)
    }

    /// The map that a section of global data is.
    pub(crate) fn global_data(&self, section: SectionIndex) -> Option<MapIndex> {
        let index = self.map_at.get(&(section, 0)).copied()?;
        self.map(index).filter(|map| map.is_global_data()).map(|_| index)
    }

    /// The map that is declared at an offset of a section.
    pub(crate) fn map_declared_at(&self, section: SectionIndex, offset: u64) -> Option<MapIndex> {
        let index = self.map_at.get(&(section, offset)).copied()?;
        self.map(index).filter(|map| !map.is_global_data()).map(|_| index)
    }
}

/// Where maps are declared; the first if there are several at one place.
fn places(maps: &[MapDef]) -> BTreeMap<(SectionIndex, u64), MapIndex> {
    let numbered = maps.iter().enumerate().rev();
    numbered.map(|(index, map)| ((map.section, map.offset), MapIndex(index))).collect()
}

fn read_btf(elf: &Elf, found: &mut Vec<Diagnostic>) -> Option<Btf> {
    let section = elf.section_named(".BTF")?;
    Btf::parse(&elf.relocated(section)).map_err(|error| found.push(Diagnostic::Btf(error))).ok()
}

fn read_btf_ext(elf: &Elf, has_btf: bool, found: &mut Vec<Diagnostic>) -> BtfExt {
    // Its records are numbers of BTF: without, they mean nothing.
    let Some(section) = elf.section_named(".BTF.ext").filter(|_| has_btf) else {
        return BtfExt::default();
    };
    BtfExt::parse(&elf.relocated(section)).unwrap_or_else(|error| {
        found.push(Diagnostic::BtfExt(error));
        BtfExt::default()
    })
}

fn read_version(elf: &Elf, found: &mut Vec<Diagnostic>) -> Option<u32> {
    let bytes = elf.bytes_of(elf.section_named("version")?);
    match <[u8; 4]>::try_from(bytes) {
        Ok(bytes) => Some(u32::from_le_bytes(bytes)),
        Err(_) => {
            found.push(Diagnostic::Version { found: bytes.len() });
            None
        }
    }
}

fn sort<R>(
    btf: Option<&Btf>,
    sections: Vec<ExtSection<R>>,
    offset: impl Fn(&R) -> u32,
) -> BySection<R> {
    let mut sorted: BySection<R> = BTreeMap::new();
    let Some(btf) = btf else { return sorted };
    for section in sections {
        sorted.entry(btf.str(section.section).to_owned()).or_default().extend(section.records);
    }
    for records in sorted.values_mut() {
        records.sort_by_key(&offset);
    }
    sorted
}

/// The records that lie in a function.
fn within<'a, R>(records: &'a [R], function: &Function, offset: impl Fn(&R) -> u32) -> &'a [R] {
    let end = function.offset.saturating_add(function.size);
    let from = records.partition_point(|record| u64::from(offset(record)) < function.offset);
    let to = records.partition_point(|record| u64::from(offset(record)) < end);
    records.get(from..to).unwrap_or(&[])
}
