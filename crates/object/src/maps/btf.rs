//! Maps of `.maps`: a variable is a map, and the BTF of its type is the declaration.
//!
//! The macros of libbpf's bpf_helpers.h put numbers into types: `__uint(type, 1)` is a pointer
//! to an array of 1 int, `__type(key, T)` a pointer to `T`, `__array(values, T)` an array of no
//! pointers to `T`, `__ulong(map_extra, 1)` an enumeration with the value 1. The variable itself
//! is zero, except that relocations in its `values` name what the map holds at first.

use std::collections::{BTreeMap, BTreeSet};

use skep_bpf::platform::MapType;
use skep_btf::{Btf, Composite, Kind, Member, TypeId};

use super::{MapDef, MapIndex, MapOrigin, MapValue, Source, problem};
use crate::elf::{Place, Section, Symbol};
use crate::error::{Diagnostic, MapProblem};
use crate::functions::function_around;

/// The section of these declarations.
pub(super) const SECTION: &str = ".maps";

/// The size of a pointer in `values`, in bytes.
const POINTER_SIZE: u64 = 8;

/// The size of what user space sees in a map of maps or programs, in bytes: a file descriptor.
const FD_SIZE: u32 = 4;

/// `BPF_PIN...` and other plain numbers come as array lengths.
const NUMBER: &str = "a number, as __uint() declares it";
const TYPE: &str = "a pointer to a type, as __type() declares it";
const VALUES: &str = "an array of pointers to maps or functions, as __array() declares it";

pub(super) fn read(
    source: &Source<'_>,
    section: &Section,
    maps: &mut Vec<MapDef>,
    found: &mut Vec<Diagnostic>,
) {
    let Some(btf) = source.btf else {
        for symbol in source.symbols_in(section.index) {
            found.push(problem(&symbol.name, MapProblem::NoBtf));
        }
        return;
    };
    let variables = btf.find_datasec(SECTION).unwrap_or(&[]);
    let symbols: BTreeMap<&str, u64> = source
        .symbols_in(section.index)
        .iter()
        .map(|symbol| (symbol.name.as_str(), symbol.value))
        .collect();
    let mut described = BTreeSet::new();
    for variable in variables {
        let Kind::Var { ty, .. } = *btf.kind(variable.ty) else { continue };
        let name = btf.name(variable.ty);
        // Relocation has put the offset into BTF; the symbol is more reliable, as some tools
        // drop the relocations of BTF.
        let offset = symbols.get(name).copied().unwrap_or(u64::from(variable.offset));
        described.insert(offset);
        let mut map = MapDef::empty(
            name.to_owned(),
            section.index,
            offset,
            u64::from(variable.size),
            MapOrigin::Btf,
        );
        match read_struct(btf, ty, &mut map, Depth::Outer, found) {
            Ok(()) => maps.push(map),
            Err(error) => found.push(problem(name, error)),
        }
    }
    for symbol in source.symbols_in(section.index) {
        if !described.contains(&symbol.value) {
            found.push(problem(&symbol.name, MapProblem::NotInBtf));
        }
    }
}

/// Whether a declaration is that of a variable or of the maps within one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Depth {
    Outer,
    Inner,
}

fn read_struct(
    btf: &Btf,
    ty: TypeId,
    map: &mut MapDef,
    depth: Depth,
    found: &mut Vec<Diagnostic>,
) -> Result<(), MapProblem> {
    let composite = struct_of(btf, ty)?;
    for member in btf.members(&composite) {
        read_member(btf, member, map, depth, found)?;
    }
    Ok(())
}

fn struct_of(btf: &Btf, ty: TypeId) -> Result<Composite, MapProblem> {
    let resolved = btf.resolve(ty).unwrap_or(TypeId::VOID);
    match btf.kind(resolved) {
        Kind::Struct(composite) => Ok(*composite),
        other => Err(MapProblem::NotStruct { found: other.name() }),
    }
}

fn read_member(
    btf: &Btf,
    member: &Member,
    map: &mut MapDef,
    depth: Depth,
    found: &mut Vec<Diagnostic>,
) -> Result<(), MapProblem> {
    let name = btf.str(member.name);
    let number = || {
        let needed = MapProblem::Member { member: name.to_owned(), needed: NUMBER };
        let number = number_of(btf, member.ty).ok_or_else(|| needed.clone())?;
        u32::try_from(number).map_err(|_| needed)
    };
    match name {
        "type" => map.map_type = MapType(number()?),
        "max_entries" => map.max_entries = number()?,
        "map_flags" => map.flags.0 = number()?,
        "numa_node" => map.numa_node = Some(number()?),
        "pinning" => map.pinning = number()?,
        "key_size" => map.key_size = declared("key", map.key_type, map.key_size, number()?)?,
        "value_size" => {
            map.value_size = declared("value", map.value_type, map.value_size, number()?)?;
        }
        "map_extra" => {
            let needed = MapProblem::Member { member: name.to_owned(), needed: NUMBER };
            map.map_extra = number_of(btf, member.ty).ok_or(needed)?;
        }
        "key" => {
            let ty = pointee(btf, member.ty, name)?;
            map.key_size = typed(btf, "key", ty, map.key_size)?;
            map.key_type = Some(ty);
        }
        "value" => {
            let ty = pointee(btf, member.ty, name)?;
            map.value_size = typed(btf, "value", ty, map.value_size)?;
            map.value_type = Some(ty);
        }
        "values" => read_values_member(btf, member, map, depth, found)?,
        _ => found.push(problem(&map.name, MapProblem::UnknownMember { member: name.to_owned() })),
    }
    Ok(())
}

/// A number as a type: the length of the array pointed to, or the only value of an enumeration.
fn number_of(btf: &Btf, ty: TypeId) -> Option<u64> {
    match *btf.kind(btf.resolve(ty).ok()?) {
        Kind::Ptr(to) => match btf.kind(btf.resolve(to).ok()?) {
            Kind::Array(array) => Some(u64::from(array.count)),
            _ => None,
        },
        Kind::Enum(enumeration) | Kind::Enum64(enumeration) => {
            match btf.enum_values(&enumeration) {
                [only] => Some(only.value),
                _ => None,
            }
        }
        _ => None,
    }
}

fn pointee(btf: &Btf, ty: TypeId, member: &str) -> Result<TypeId, MapProblem> {
    match btf.resolve(ty).map(|ty| btf.kind(ty)) {
        Ok(Kind::Ptr(to)) => Ok(*to),
        _ => Err(MapProblem::Member { member: member.to_owned(), needed: TYPE }),
    }
}

/// A size given as a number, after a type may have given another.
fn declared(
    member: &'static str,
    ty: Option<TypeId>,
    of_type: u32,
    declared: u32,
) -> Result<u32, MapProblem> {
    match ty.is_some() && of_type != declared {
        true => Err(MapProblem::SizeMismatch { member, found: of_type.into(), declared }),
        false => Ok(declared),
    }
}

/// A size given by a type, after a number may have given another.
fn typed(btf: &Btf, member: &'static str, ty: TypeId, declared: u32) -> Result<u32, MapProblem> {
    let found = btf.size_of(ty).map_err(|source| MapProblem::Size { member, source })?;
    let size = u32::try_from(found).map_err(|_| MapProblem::TooLarge { member, found })?;
    match declared != 0 && declared != size {
        true => Err(MapProblem::SizeMismatch { member, found, declared }),
        false => Ok(size),
    }
}

fn read_values_member(
    btf: &Btf,
    member: &Member,
    map: &mut MapDef,
    depth: Depth,
    found: &mut Vec<Diagnostic>,
) -> Result<(), MapProblem> {
    let needed = || MapProblem::Member { member: "values".to_owned(), needed: VALUES };
    if depth == Depth::Inner {
        return Err(MapProblem::Values { reason: "maps in maps hold no maps themselves" });
    }
    let element = match btf.resolve(member.ty).map(|ty| btf.kind(ty)) {
        Ok(Kind::Array(array)) => array.element,
        _ => return Err(needed()),
    };
    let held = pointee(btf, element, "values").map_err(|_| needed())?;
    let held = btf.resolve(held).map_err(|_| needed())?;
    match btf.kind(held) {
        Kind::FuncProto { .. } if map.map_type == MapType::PROG_ARRAY => {}
        Kind::Struct(_) if map.holds_maps() => {
            let name = format!("{}.inner", map.name);
            let mut inner = MapDef::empty(name, map.section, map.offset, 0, MapOrigin::Btf);
            read_struct(btf, held, &mut inner, Depth::Inner, found)?;
            map.inner = Some(Box::new(inner));
        }
        Kind::FuncProto { .. } => {
            return Err(MapProblem::Values { reason: "only a prog_array holds functions" });
        }
        Kind::Struct(_) => {
            let reason = "only an array_of_maps or hash_of_maps holds maps";
            return Err(MapProblem::Values { reason });
        }
        _ => return Err(needed()),
    }
    map.value_size = declared(
        "value",
        Some(held),
        FD_SIZE,
        match map.value_size {
            0 => FD_SIZE,
            size => size,
        },
    )?;
    Ok(())
}

/// The relocations in `.maps`: which map or program stands at which index of `values`.
pub(super) fn read_values(source: &Source<'_>, maps: &mut [MapDef], found: &mut Vec<Diagnostic>) {
    let (Some(btf), Some(section)) = (source.btf, source.elf.section_named(SECTION)) else {
        return;
    };
    let by_offset: BTreeMap<u64, usize> = (0..)
        .zip(maps.iter())
        .filter(|(_, map)| map.section == section.index)
        .map(|(index, map)| (map.offset, index))
        .collect();
    for relocation in source.elf.relocations_of(section.index) {
        let Some(symbol) = source.elf.symbol(relocation.symbol) else { continue };
        let at = relocation.offset;
        let outer = by_offset.range(..=at).next_back().map(|(_, &index)| index);
        let is_inside = |index: &usize| maps.get(*index).is_some_and(|map| contains(map, at));
        let Some(outer) = outer.filter(is_inside) else {
            let map = source.elf.symbol_label(symbol);
            found.push(problem(&map, MapProblem::ValueOffset { offset: at }));
            continue;
        };
        let target = target_of(source, section, &by_offset, symbol);
        let Some(map) = maps.get_mut(outer) else { continue };
        let index = values_offset(btf, &map.name)
            .and_then(|values| (at - map.offset).checked_sub(values))
            .filter(|distance| distance.is_multiple_of(POINTER_SIZE))
            .map(|distance| distance / POINTER_SIZE);
        let (Some(index), Some(slot)) = (index, index.and_then(|index| u32::try_from(index).ok()))
        else {
            found.push(problem(&map.name, MapProblem::ValueOffset { offset: at }));
            continue;
        };
        match (target, map.holds_maps()) {
            (Some(value @ MapValue::Map(_)), true)
            | (Some(value @ MapValue::Program(_)), false) => map.values.push((slot, value)),
            _ => {
                let target = source.elf.symbol_label(symbol);
                found.push(problem(&map.name, MapProblem::Value { index, target }));
            }
        }
    }
}

fn contains(map: &MapDef, at: u64) -> bool {
    at.checked_sub(map.offset).is_some_and(|distance| distance < map.len.max(1))
}

/// Where `values` lies in the declaration of a map, in bytes.
fn values_offset(btf: &Btf, map: &str) -> Option<u64> {
    let variable = btf.find(map, |kind| matches!(kind, Kind::Var { .. }))?;
    let Kind::Var { ty, .. } = *btf.kind(variable) else { return None };
    let composite = struct_of(btf, ty).ok()?;
    let member = btf.members(&composite).iter().find(|m| btf.str(m.name) == "values")?;
    Some(u64::from(member.bit_offset) / 8)
}

/// The map or program that a symbol stands for.
fn target_of(
    source: &Source<'_>,
    maps_section: &Section,
    maps: &BTreeMap<u64, usize>,
    symbol: &Symbol,
) -> Option<MapValue> {
    let Place::Section(section) = symbol.place else { return None };
    if section == maps_section.index {
        return maps.get(&symbol.value).map(|&index| MapValue::Map(MapIndex(index)));
    }
    let function = function_around(source.functions, section, symbol.value)?;
    (function.offset == symbol.value).then_some(MapValue::Program(function.index))
}
