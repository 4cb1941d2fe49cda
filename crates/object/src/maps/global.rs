//! Global data: a section of variables is an array of one element, as libbpf makes it.
//!
//! Variables come from BTF where it knows them and from symbols otherwise; offsets from symbols
//! where they exist, as tools that rewrite objects may drop the relocations of BTF.

use std::collections::{BTreeMap, BTreeSet};

use skep_bpf::platform::{MapFlags, MapType};
use skep_btf::{Kind, Linkage, TypeId};

use super::{GlobalData, MapDef, MapOrigin, Source, Variable, problem};
use crate::elf::{Binding, RelocationKind, Section, Symbol};
use crate::error::{Diagnostic, MapProblem};

/// The longest name of a map in the kernel (`BPF_OBJ_NAME_LEN`), its NUL included.
const NAME_LEN: usize = 16;

/// The part of the name that libbpf keeps for the section: `.rodata` fits.
const SUFFIX_LEN: usize = 7;

/// What a section is for, if it holds global data.
pub(super) fn kind_of(section: &Section) -> Option<GlobalData> {
    let is = |name: &str| {
        let rest = section.name.strip_prefix(name);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    if section.size == 0 || section.is_code() {
        return None;
    }
    match section.is_zeros() {
        true if is(".bss") => Some(GlobalData::Zero),
        false if section.is_program_bits() && is(".data") => Some(GlobalData::Data),
        false if section.is_program_bits() && is(".rodata") => Some(GlobalData::ReadOnly),
        _ => None,
    }
}

pub(super) fn read(
    source: &Source<'_>,
    section: &Section,
    kind: GlobalData,
    found: &mut Vec<Diagnostic>,
) -> MapDef {
    let name = map_name(source.name, &section.name, kind);
    let origin = MapOrigin::Global(kind);
    let mut map = MapDef::empty(name, section.index, 0, section.size, origin);
    map.map_type = MapType::ARRAY;
    map.key_size = 4;
    map.max_entries = 1;
    map.value_size = u32::try_from(section.size).unwrap_or_else(|_| {
        let too_large = MapProblem::TooLarge { member: "value", found: section.size };
        found.push(problem(&map.name, too_large));
        u32::MAX
    });
    if kind == GlobalData::ReadOnly {
        map.flags |= MapFlags::RDONLY_PROG;
    }
    map.value_type = source
        .btf
        .and_then(|btf| btf.find(&section.name, |kind| matches!(kind, Kind::Datasec { .. })));
    map.variables = read_variables(source, section);
    let is_global = |variable: &Variable| variable.linkage != Linkage::Static;
    if map.value_type.is_some() && map.variables.iter().any(is_global) {
        map.flags |= MapFlags::MMAPABLE;
    }
    report_addresses(source, section, found);
    map
}

/// The name that libbpf gives the map: `hello.bss` of at most 15 bytes, or the plain name of a
/// section with a name of its own such as `.data.stats`, which only `.bss.stats` has cut.
fn map_name(object: &str, section: &str, kind: GlobalData) -> String {
    let has_own_name = section.get(1..).is_some_and(|rest| rest.contains('.'));
    let name: String = match (has_own_name, kind) {
        (true, GlobalData::Zero) => section.chars().take(NAME_LEN - 1).collect(),
        (true, GlobalData::Data | GlobalData::ReadOnly) => section.to_owned(),
        (false, _) => {
            let suffix = section.len().clamp(SUFFIX_LEN, NAME_LEN - 1);
            let prefix: String = object.chars().take(NAME_LEN - 1 - suffix).collect();
            format!("{prefix}{section}")
        }
    };
    let allowed = |c: char| if c.is_ascii_alphanumeric() || c == '.' { c } else { '_' };
    name.chars().map(allowed).collect()
}

fn read_variables(source: &Source<'_>, section: &Section) -> Vec<Variable> {
    let mut variables = Vec::new();
    let mut known = BTreeSet::new();
    let symbols = source.symbols_in(section.index);
    if let Some(btf) = source.btf {
        let by_name: BTreeMap<&str, &Symbol> =
            symbols.iter().rev().map(|symbol| (symbol.name.as_str(), *symbol)).collect();
        for entry in btf.find_datasec(&section.name).unwrap_or(&[]) {
            let Kind::Var { linkage, .. } = *btf.kind(entry.ty) else { continue };
            let name = btf.name(entry.ty);
            // The variables of different functions may be static and share a name.
            let symbol = match linkage {
                Linkage::Static => None,
                _ => by_name.get(name).copied(),
            };
            let offset = symbol.map_or(u64::from(entry.offset), |symbol| symbol.value);
            // libbpf takes hidden variables for static ones.
            let is_hidden = symbol.is_some_and(|symbol| symbol.hidden);
            let linkage = if is_hidden { Linkage::Static } else { linkage };
            known.insert(offset);
            variables.push(Variable {
                name: name.to_owned(),
                offset,
                size: u64::from(entry.size),
                var: Some(entry.ty).filter(|&ty| ty != TypeId::VOID),
                linkage,
            });
        }
    }
    for symbol in symbols.iter().filter(|symbol| !known.contains(&symbol.value)) {
        variables.push(Variable {
            name: symbol.name.clone(),
            offset: symbol.value,
            size: symbol.size,
            var: None,
            linkage: match symbol.binding {
                Binding::Local => Linkage::Static,
                _ => Linkage::Global,
            },
        });
    }
    variables.retain(|variable| variable.offset < section.size);
    variables.sort_by_key(|variable| variable.offset);
    variables
}

/// Reports addresses that the compiler wants in the data: there is nobody to put them there.
fn report_addresses(source: &Source<'_>, section: &Section, found: &mut Vec<Diagnostic>) {
    for relocation in source.elf.relocations_of(section.index) {
        if relocation.kind == RelocationKind::NONE {
            continue;
        }
        if let Some(symbol) = source.elf.symbol(relocation.symbol) {
            found.push(Diagnostic::AddressInData {
                section: section.name.clone(),
                offset: relocation.offset,
                target: source.elf.symbol_label(symbol),
            });
        }
    }
}
