//! Maps of `maps` sections: a record of 32-bit numbers per symbol, as before BTF.
//!
//! The length of a record tells who wrote it: libbpf 20 bytes, the kernel's samples and
//! ir-keytable 28, iproute2 36 (`struct bpf_elf_map`), gobpf more (with a path to pin to). All
//! begin alike. Where symbols have no size, a record ends where the next begins.

use std::collections::BTreeMap;

use skep_bpf::platform::{MapFlags, MapType, SectionKind};

use super::{MapDef, MapIndex, MapOrigin, MapValue, Source, problem};
use crate::elf::{Section, SectionIndex};
use crate::error::{Diagnostic, MapProblem};
use crate::functions::next_values;

/// Whether a section has such records: `maps`, `maps/NAME` (gobpf, one each), or `TYPE/maps`.
pub(super) fn is_section(section: &Section) -> bool {
    let name = &section.name;
    let named = name == "maps" || name.starts_with("maps/") || name.ends_with("/maps");
    named && section.is_program_bits() && !section.is_code()
}

/// The length of the records of the kernel's samples: they end with the index of the inner map
/// and the NUMA node.
const SAMPLES_LEN: u64 = 28;

/// The length of the records of iproute2: they end with id, pinning, id of the inner map and
/// index in the outer one.
const IPROUTE2_LEN: u64 = 36;

/// gobpf's records are longer than any other: after the flags, pinning and a path.
const GOBPF_MIN_LEN: u64 = 256;

/// What a record says about other maps and programs; resolved when all records are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Links {
    /// The number by which others refer to this map.
    id: Option<u32>,
    /// For a map of maps, the one they are like.
    inner: Option<Inner>,
    /// Where this map is put in the map that holds it.
    index_in_outer: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Inner {
    /// The position of the inner map among the maps of the section.
    At(u32),
    /// The id of the inner map.
    Id(u32),
}

pub(super) fn read(
    source: &Source<'_>,
    section: &Section,
    maps: &mut Vec<MapDef>,
    found: &mut Vec<Diagnostic>,
) {
    let bytes = source.elf.bytes_of(section);
    for (name, offset, len) in records(source, section, bytes.len() as u64) {
        let record = usize::try_from(offset)
            .ok()
            .zip(usize::try_from(len).ok())
            .and_then(|(at, len)| bytes.get(at..at.checked_add(len)?));
        let Some(record) = record else {
            let available = (bytes.len() as u64).saturating_sub(offset);
            found.push(problem(&name, MapProblem::RecordTooShort { found: available }));
            continue;
        };
        let mut map = MapDef::empty(name, section.index, offset, len, MapOrigin::Legacy);
        match read_record(record, &mut map) {
            Ok(None) => maps.push(map),
            Ok(Some(tail)) => {
                found.push(problem(&map.name, tail));
                maps.push(map);
            }
            Err(error) => found.push(problem(&map.name, error)),
        }
    }
}

/// Name, offset and length of every record of a section.
fn records(source: &Source<'_>, section: &Section, end: u64) -> Vec<(String, u64, u64)> {
    let symbols = source.symbols_in(section.index);
    if symbols.is_empty() {
        // A section of one map names it.
        let name = section.name.strip_prefix("maps/").map(str::to_owned);
        return name.map(|name| (name, 0, end)).into_iter().collect();
    }
    let mut records: Vec<(String, u64, u64)> = Vec::with_capacity(symbols.len());
    for (symbol, next) in symbols.iter().zip(next_values(symbols, end)) {
        if records.last().is_some_and(|(_, offset, _)| *offset == symbol.value) {
            continue;
        }
        let len = match symbol.size {
            0 => next.saturating_sub(symbol.value),
            size => size,
        };
        records.push((symbol.name.clone(), symbol.value, len));
    }
    records
}

/// Reads the numbers that all records have, and those that its length implies. What is left over
/// and not zero is a problem, but none that keeps the map from being used.
fn read_record(bytes: &[u8], map: &mut MapDef) -> Result<Option<MapProblem>, MapProblem> {
    let len = bytes.len() as u64;
    let (words, _) = bytes.as_chunks::<4>();
    let word = |index: usize| words.get(index).copied().map_or(0, u32::from_le_bytes);
    if words.len() < 4 {
        return Err(MapProblem::RecordTooShort { found: len });
    }
    map.map_type = MapType(word(0));
    map.key_size = word(1);
    map.value_size = word(2);
    map.max_entries = word(3);
    map.flags = MapFlags(word(4));
    let known: usize = match len {
        SAMPLES_LEN => {
            map.numa_node = map.flags.contains(MapFlags::NUMA_NODE).then(|| word(6));
            map.links.inner = map.holds_maps().then(|| Inner::At(word(5)));
            28
        }
        IPROUTE2_LEN => {
            map.pinning = word(6);
            map.links.id = Some(word(5)).filter(|&id| id != 0);
            map.links.inner = Some(word(7)).filter(|&id| id != 0).map(Inner::Id);
            map.links.index_in_outer = word(8);
            36
        }
        GOBPF_MIN_LEN.. => {
            map.pinning = word(5);
            return Ok(None);
        }
        _ => 20,
    };
    let tail = bytes.get(known..).unwrap_or(&[]);
    let is_used = tail.iter().any(|&byte| byte != 0);
    Ok(is_used.then_some(MapProblem::RecordTail { len, from: known as u64 }))
}

/// Gives maps of maps the declaration of what they hold.
pub(super) fn resolve_inner(maps: &mut [MapDef], found: &mut Vec<Diagnostic>) {
    let mut by_id: BTreeMap<u32, usize> = BTreeMap::new();
    let mut by_section: BTreeMap<SectionIndex, Vec<(u64, usize)>> = BTreeMap::new();
    for (index, map) in maps.iter().enumerate().filter(|(_, m)| m.origin == MapOrigin::Legacy) {
        if let Some(id) = map.links.id {
            by_id.entry(id).or_insert(index);
        }
        by_section.entry(map.section).or_default().push((map.offset, index));
    }
    by_section.values_mut().for_each(|list| list.sort_unstable());
    for outer in 0..maps.len() {
        let Some(map) = maps.get(outer).filter(|map| map.holds_maps()) else { continue };
        let Some(reference) = map.links.inner else { continue };
        let at = match reference {
            Inner::At(position) => by_section
                .get(&map.section)
                .zip(usize::try_from(position).ok())
                .and_then(|(list, position)| Some(list.get(position)?.1)),
            Inner::Id(id) => by_id.get(&id).copied(),
        };
        let inner = at.and_then(|at| Some((at, maps.get(at)?.clone())));
        let Some(map) = maps.get_mut(outer) else { continue };
        let Some((at, mut inner)) = inner.filter(|(at, inner)| *at != outer && !inner.holds_maps())
        else {
            let reference = describe(reference);
            found.push(problem(&map.name, MapProblem::NoInnerMap { reference }));
            continue;
        };
        if let Inner::Id(_) = reference {
            let index = inner.links.index_in_outer;
            map.values.push((index, MapValue::Map(MapIndex(at))));
        }
        inner.name = format!("{}.inner", map.name);
        inner.values.clear();
        map.inner = Some(Box::new(inner));
    }
}

fn describe(reference: Inner) -> String {
    match reference {
        Inner::At(position) => format!("at index {position}"),
        Inner::Id(id) => format!("with id {id}"),
    }
}

/// Programs in sections named `ID/SLOT` belong into the program array with that id.
pub(super) fn read_tail_calls(source: &Source<'_>, maps: &mut [MapDef]) {
    let by_id: BTreeMap<u32, usize> = (0..)
        .zip(maps.iter())
        .filter(|(_, map)| map.map_type == MapType::PROG_ARRAY)
        .filter_map(|(index, map)| Some((map.links.id?, index)))
        .collect();
    for function in source.functions.iter().filter(|function| function.is_program) {
        let Some(SectionKind::TailCall { map_id, slot }) =
            function.section_rule().map(|rule| rule.kind)
        else {
            continue;
        };
        if let Some(map) = by_id.get(&map_id).and_then(|&index| maps.get_mut(index)) {
            map.values.push((slot, MapValue::Program(function.index)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(name: &str, offset: u64) -> MapDef {
        MapDef::empty(name.to_owned(), SectionIndex(1), offset, 0, MapOrigin::Legacy)
    }

    fn read(words: &[u32], name: &str, offset: u64) -> (MapDef, Option<MapProblem>) {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        let mut map = map(name, offset);
        let tail = read_record(&bytes, &mut map).expect("the record is long enough");
        (map, tail)
    }

    #[test]
    fn the_length_tells_the_fields() {
        let numa = MapFlags::NUMA_NODE.0;
        let (samples, tail) = read(&[1, 4, 8, 16, numa, 0, 3], "m", 0);
        assert_eq!((samples.numa_node, tail), (Some(3), None));
        let (samples, _) = read(&[1, 4, 8, 16, 0, 0, 3], "m", 0);
        assert_eq!(samples.numa_node, None);
        let (iproute2, tail) = read(&[3, 4, 4, 8, 0, 9, 2, 0, 0], "m", 0);
        assert_eq!((iproute2.pinning, iproute2.links.id, tail), (2, Some(9), None));
        let mut gobpf = [0; 70];
        gobpf[..6].copy_from_slice(&[1, 4, 8, 16, 0, 1]);
        gobpf[6] = u32::from_le_bytes(*b"path");
        let (gobpf, tail) = read(&gobpf, "m", 0);
        assert_eq!((gobpf.pinning, gobpf.max_entries, tail), (1, 16, None));
        let (short, tail) = read(&[1, 4, 8, 16], "m", 0);
        assert_eq!((short.flags.0, tail), (0, None));
    }

    #[test]
    fn what_is_not_understood_is_named() {
        let (map, tail) = read(&[1, 4, 8, 16, 0, 0, 0, 5], "m", 0);
        assert_eq!(map.max_entries, 16);
        assert_eq!(tail, Some(MapProblem::RecordTail { len: 32, from: 20 }));
        let too_short = read_record(&[1; 12], &mut map.clone());
        assert_eq!(too_short, Err(MapProblem::RecordTooShort { found: 12 }));
    }

    #[test]
    fn samples_name_inner_maps_by_position() {
        let (inner, _) = read(&[2, 4, 8, 1, 0, 0, 0], "inner", 0);
        let (outer, _) = read(&[12, 4, 4, 2, 0, 0, 0], "outer", 28);
        let (lost, _) = read(&[12, 4, 4, 2, 0, 7, 0], "lost", 56);
        let mut maps = [outer, lost, inner];
        let mut found = Vec::new();
        resolve_inner(&mut maps, &mut found);
        assert_eq!(maps[0].inner.as_ref().map(|m| m.name.as_str()), Some("outer.inner"));
        let reference = "at index 7".to_owned();
        assert_eq!(found, [problem("lost", MapProblem::NoInnerMap { reference })]);
    }
}
