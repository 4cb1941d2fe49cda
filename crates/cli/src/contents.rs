//! What is in the maps of a prepared object, and what a run changed there.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use skep::maps::Map;
use skep::prepare::Prepared;
use skep_bpf::platform::MapType;
use skep_object::MapDef;

use crate::value::{Typed, hex};

/// The most elements of a map that are looked at.
const MAX_ELEMENTS: usize = 1 << 20;

/// The most bytes of keys and values of a map that are looked at.
const MAX_BYTES: usize = 32 << 20;

/// The elements of all maps by key; of per-CPU maps the values of all processors in a row. An
/// element of an array that is not there is zero.
#[derive(Debug, Default)]
pub struct Contents {
    maps: Vec<BTreeMap<Vec<u8>, Vec<u8>>>,
    /// The names of maps with more elements than are looked at.
    pub too_large: Vec<String>,
}

/// An element that is not what it was.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Change {
    /// The map, by its place in the object.
    pub map: usize,
    /// The key.
    pub key: Vec<u8>,
    /// The value before; none if there was no element.
    pub before: Option<Vec<u8>>,
    /// The value after; none if there is no element.
    pub after: Option<Vec<u8>>,
}

impl Contents {
    /// Reads the maps. Maps of programs have no values to read.
    #[must_use]
    pub fn read(prepared: &Prepared) -> Contents {
        let mut contents = Contents::default();
        for map in &prepared.maps {
            let found = map.result.as_ref().ok().and_then(|id| prepared.machine.map(*id));
            let found = found.filter(|found| found.spec().map_type != MapType::PROG_ARRAY);
            let mut elements = BTreeMap::new();
            if let Some(found) = found
                && !read_map(found.as_ref(), &mut elements)
            {
                contents.too_large.push(map.name.clone());
            }
            contents.maps.push(elements);
        }
        contents
    }

    /// What is different afterwards, by map and key.
    #[must_use]
    pub fn changes(&self, prepared: &Prepared, after: &Contents) -> Vec<Change> {
        let mut changes = Vec::new();
        for (map, (old, new)) in self.maps.iter().zip(&after.maps).enumerate() {
            let mut keys: Vec<&Vec<u8>> = old.keys().chain(new.keys()).collect();
            keys.sort();
            keys.dedup();
            for key in keys {
                let (mut before, mut after) = (old.get(key).cloned(), new.get(key).cloned());
                if before != after {
                    if prepared.object.maps().get(map).is_some_and(is_array) {
                        let other = before.as_ref().or(after.as_ref()).map_or(0, Vec::len);
                        before.get_or_insert_with(|| vec![0; other]);
                        after.get_or_insert_with(|| vec![0; other]);
                    }
                    changes.push(Change { map, key: key.clone(), before, after });
                }
            }
        }
        changes
    }

    /// All elements, as if they had been nothing before; elements of arrays that are zero are
    /// left out.
    #[must_use]
    pub fn everything(&self) -> Vec<Change> {
        let mut changes = Vec::new();
        for (map, elements) in self.maps.iter().enumerate() {
            for (key, value) in elements {
                let (key, after) = (key.clone(), Some(value.clone()));
                changes.push(Change { map, key, before: None, after });
            }
        }
        changes
    }
}

/// Reads the elements of a map; false if there is too much to read.
fn read_map(map: &dyn Map, elements: &mut BTreeMap<Vec<u8>, Vec<u8>>) -> bool {
    let mut key: Option<Vec<u8>> = None;
    let is_array = matches!(map.spec().map_type, MapType::ARRAY | MapType::PERCPU_ARRAY);
    let (mut seen, mut bytes) = (0, 0);
    // A program cannot run meanwhile, so that every key comes once.
    while let Ok(Some(next)) = map.next_key(key.as_deref()) {
        seen += 1;
        bytes += next.len() + map.host_value_bytes();
        if seen > MAX_ELEMENTS || bytes > MAX_BYTES {
            return false;
        }
        if let Ok(value) = map.read(&next)
            && !(is_array && value.iter().all(|byte| *byte == 0))
        {
            elements.insert(next.clone(), value);
        }
        key = Some(next);
    }
    true
}

fn is_array(def: &MapDef) -> bool {
    matches!(def.map_type, MapType::ARRAY | MapType::PERCPU_ARRAY)
}

fn is_per_cpu(def: &MapDef) -> bool {
    matches!(
        def.map_type,
        MapType::PERCPU_ARRAY
            | MapType::PERCPU_HASH
            | MapType::LRU_PERCPU_HASH
            | MapType::PERCPU_CGROUP_STORAGE
    )
}

/// The values of the processors in what a per-CPU map gives: each padded to eight bytes.
fn per_cpu<'a>(def: &MapDef, bytes: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
    let size = def.value_size as usize;
    let stride = size.next_multiple_of(8).max(8);
    bytes.chunks_exact(stride).map(move |chunk| chunk.get(..size).unwrap_or(chunk))
}

/// What a key is called: its index in an array, its C value elsewhere.
fn key_text(prepared: &Prepared, def: &MapDef, key: &[u8]) -> String {
    match def.key_type {
        _ if is_array(def) => Typed { of: None }.text(key),
        ty => Typed::new(prepared.object.btf(), ty).text(key),
    }
}

/// A change as lines of text: `counter = 3 (was 0)`, `ports[22] = 1 (new)`.
#[must_use]
pub fn describe(prepared: &Prepared, change: &Change) -> Vec<String> {
    let Some(def) = prepared.object.maps().get(change.map) else { return Vec::new() };
    if def.is_global_data() {
        return describe_globals(prepared, def, change);
    }
    let typed = Typed::new(prepared.object.btf(), def.value_type);
    let name = format!("{}[{}]", def.name, key_text(prepared, def, &change.key));
    let line = |name: &str, before: Option<&[u8]>, after: Option<&[u8]>| match (before, after) {
        (Some(before), Some(after)) => {
            format!("{name} = {} (was {})", typed.text(after), typed.text(before))
        }
        (None, Some(after)) => format!("{name} = {}", typed.text(after)),
        (Some(before), None) => format!("{name} deleted (was {})", typed.text(before)),
        (None, None) => name.to_owned(),
    };
    if !is_per_cpu(def) {
        return vec![line(&name, change.before.as_deref(), change.after.as_deref())];
    }
    let before: Vec<_> = per_cpu(def, change.before.as_deref().unwrap_or(&[])).collect();
    let after: Vec<_> = per_cpu(def, change.after.as_deref().unwrap_or(&[])).collect();
    (0..before.len().max(after.len()))
        .map(|cpu| (cpu, before.get(cpu).copied(), after.get(cpu).copied()))
        .filter(|(_, before, after)| before != after)
        .filter(|(_, before, after)| {
            before.is_some() || after.is_some_and(|v| v.iter().any(|b| *b != 0))
        })
        .map(|(cpu, before, after)| line(&format!("{name} on cpu {cpu}"), before, after))
        .collect()
}

/// The variables that changed; bytes that belong to none as such.
fn describe_globals(prepared: &Prepared, def: &MapDef, change: &Change) -> Vec<String> {
    let after = change.after.as_deref().unwrap_or(&[]);
    let before = change.before.as_deref();
    let mut lines = Vec::new();
    let mut known = vec![false; after.len()];
    for variable in &def.variables {
        let start = usize::try_from(variable.offset).unwrap_or(usize::MAX);
        let end = start.saturating_add(usize::try_from(variable.size).unwrap_or(usize::MAX));
        let Some(new) = after.get(start..end) else { continue };
        known.get_mut(start..end).into_iter().flatten().for_each(|byte| *byte = true);
        let typed = Typed::new(prepared.object.btf(), variable.var);
        match before.map(|before| before.get(start..end).unwrap_or(&[])) {
            Some(old) if old == new => {}
            Some(old) => {
                let (new, old) = (typed.text(new), typed.text(old));
                lines.push(format!("{} = {new} (was {old})", variable.name));
            }
            None => lines.push(format!("{} = {}", variable.name, typed.text(new))),
        }
    }
    let differs = |at: usize| match before {
        Some(before) => before.get(at) != after.get(at),
        None => after.get(at).is_some_and(|byte| *byte != 0),
    };
    let unnamed = known.iter().enumerate().filter(|(at, known)| !**known && differs(*at)).count();
    if unnamed != 0 {
        lines.push(format!("{}: {unnamed} bytes that belong to no variable", def.name));
    }
    lines
}

/// Changes as JSON, by map: keys of four bytes as numbers, others and all values as hexadecimal
/// digits; of per-CPU maps a list of values.
#[must_use]
pub fn to_json(prepared: &Prepared, changes: &[Change]) -> Value {
    let mut maps: BTreeMap<&str, Vec<Value>> = BTreeMap::new();
    for change in changes {
        let Some(def) = prepared.object.maps().get(change.map) else { continue };
        let key = match <[u8; 4]>::try_from(change.key.as_slice()) {
            Ok(bytes) if is_array(def) => json!(u32::from_le_bytes(bytes)),
            _ => json!(hex(&change.key)),
        };
        let element = match &change.after {
            Some(value) if is_per_cpu(def) => {
                json!({"key": key, "values": per_cpu(def, value).map(hex).collect::<Vec<_>>()})
            }
            value => json!({"key": key, "value": value.as_deref().map(hex)}),
        };
        maps.entry(&def.name).or_default().push(element);
    }
    json!(maps)
}

/// Writes elements given as JSON into a map: a list of `{"key": ..., "value": ...}`, for per-CPU
/// maps also `"values"` with one value for each processor.
///
/// # Errors
///
/// Which entry is wrong, and why.
pub fn write(
    prepared: &Prepared,
    def: &MapDef,
    map: &dyn Map,
    entries: &Value,
) -> Result<(), String> {
    let list = entries.as_array().or_else(|| entries.get("entries").and_then(Value::as_array));
    let list = list.ok_or("needed is a list of {\"key\": ..., \"value\": ...}")?;
    for (index, entry) in list.iter().enumerate() {
        write_entry(prepared, def, map, entry).map_err(|why| format!("entry {index}: {why}"))?;
    }
    Ok(())
}

fn write_entry(
    prepared: &Prepared,
    def: &MapDef,
    map: &dyn Map,
    entry: &Value,
) -> Result<(), String> {
    let btf = prepared.object.btf();
    let members = entry.as_object().ok_or("needed is an object with key and value")?;
    if let Some(name) = members.keys().find(|n| !matches!(n.as_str(), "key" | "value" | "values")) {
        return Err(format!("member {name} is not known; there are key, value and values"));
    }
    let key = members.get("key").ok_or("it has no key")?;
    let key = Typed::new(btf, def.key_type).bytes(key, def.key_size as usize);
    let key = key.map_err(|why| format!("key: {why}"))?;
    let typed = Typed::new(btf, def.value_type);
    let size = def.value_size as usize;
    let cpus = prepared.machine.host().cpus as usize;
    let padded = |value: &Value| {
        let mut bytes = typed.bytes(value, size).map_err(|why| format!("value: {why}"))?;
        bytes.resize(size.next_multiple_of(8).max(8), 0);
        Ok::<_, String>(bytes)
    };
    let value = match (members.get("value"), members.get("values").and_then(Value::as_array)) {
        (Some(value), None) if is_per_cpu(def) => padded(value)?.repeat(cpus),
        (Some(value), None) => typed.bytes(value, size).map_err(|why| format!("value: {why}"))?,
        (None, Some(values)) if is_per_cpu(def) && values.len() == cpus => {
            values.iter().map(padded).collect::<Result<Vec<_>, _>>()?.concat()
        }
        (None, Some(values)) if is_per_cpu(def) => {
            return Err(format!("{} values, but there are {cpus} processors", values.len()));
        }
        _ => return Err("needed is either value, or values for a per-CPU map".to_owned()),
    };
    map.write(&key, &value, 0).map_err(|errno| format!("map {} says: {errno}", def.name))
}
