//! The maps of an object: made, filled with what the object says, and described to the verifier.

use skep_bpf::platform::{MapFlags, MapType};
use skep_object::{MapDef, MapOrigin, MapValue, Object};

use std::sync::Arc;

use super::{MapFailure, PreparedMap, PreparedProgram, ProgramFailure};
use crate::machine::{Machine, MapId};
use crate::maps::MapSpec;

/// Makes a map and fills it if it is global data.
pub(super) fn create(
    machine: &Machine,
    object: &Object,
    def: &MapDef,
) -> Result<MapId, MapFailure> {
    let id = machine.create_map(spec(machine.host().cpus, def))?;
    let MapOrigin::Global(_) = def.origin else { return Ok(id) };
    let Some(map) = machine.map(id) else { return Ok(id) };
    if let Some(bytes) = initial_bytes(object, def) {
        map.write(&0_u32.to_le_bytes(), &bytes, 0).map_err(MapFailure::Fill)?;
    }
    if def.flags.contains(MapFlags::RDONLY_PROG) {
        map.freeze().map_err(MapFailure::Fill)?;
    }
    Ok(id)
}

/// What is asked of the machine, which has that many processors.
pub(super) fn spec(cpus: u32, def: &MapDef) -> MapSpec {
    // libbpf sizes these by the number of processors where the object does not say.
    let by_cpu = def.map_type == MapType::PERF_EVENT_ARRAY && def.max_entries == 0;
    MapSpec {
        name: def.name.as_str().into(),
        map_type: def.map_type,
        key_bytes: def.key_size,
        value_bytes: def.value_size,
        max_entries: if by_cpu { cpus } else { def.max_entries },
        flags: def.flags,
        extra: def.map_extra,
        inner: def.inner.as_deref().map(|inner| Box::new(spec(cpus, inner))),
    }
}

/// What global data starts with, up to its end; none if there is nothing to write.
pub(super) fn initial_bytes(object: &Object, def: &MapDef) -> Option<Vec<u8>> {
    let initial = object.initial_bytes(def);
    // A new map is zero. Writing zeros would commit memory for a .bss of any size that a file
    // cares to declare.
    if initial.is_empty() {
        return None;
    }
    let mut bytes = initial.to_vec();
    bytes.resize(def.value_size as usize, 0);
    Some(bytes)
}

/// Puts maps where the declarations of maps of maps want them. A map that cannot hold one of them
/// counts as not made.
pub(super) fn fill_maps_of_maps(machine: &Machine, object: &Object, maps: &mut [PreparedMap]) {
    for (index, def) in object.maps().iter().enumerate() {
        for (key, value) in &def.values {
            let MapValue::Map(inner) = value else { continue };
            let id =
                |map: Option<&PreparedMap>| map.and_then(|map| map.result.as_ref().ok().copied());
            let (outer, inner) = (id(maps.get(index)), id(maps.get(inner.0)));
            // An inner map that is not there leaves its slot empty.
            let (Some(outer), Some(inner)) = (outer, inner) else { continue };
            if let Err(errno) = machine.set_inner_map(outer, &key.to_le_bytes(), inner, 0)
                && let Some(map) = maps.get_mut(index)
            {
                map.result = Err(MapFailure::Inner { key: *key, errno });
            }
        }
    }
}

/// Puts programs where the declarations of maps of programs want them.
pub(super) fn fill_program_maps(
    machine: &Machine,
    object: &Object,
    maps: &[PreparedMap],
    programs: &mut [PreparedProgram],
) {
    for (def, prepared) in object.maps().iter().zip(maps) {
        let Ok(id) = prepared.result else { continue };
        let Some(map) = machine.map(id) else { continue };
        for (key, value) in &def.values {
            let MapValue::Program(function) = value else { continue };
            let Some(program) = programs.iter_mut().find(|p| p.function == *function) else {
                continue;
            };
            let Ok(loaded) = &program.result else { continue };
            let linked = Arc::clone(loaded.linked());
            if let Err(errno) = map.set_program(&key.to_le_bytes(), linked) {
                let map = def.name.clone();
                program.result = Err(ProgramFailure::InitialValue { map, key: *key, errno });
            }
        }
    }
}
