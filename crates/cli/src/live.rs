//! Maps of an object in the live kernel.

use skep_kernel::{Error, Map, MapSpec, uapi};
use skep_object::{GlobalData, MapDef, MapOrigin, Object};

/// The key of the only element of a map of global data.
const FIRST: [u8; 4] = [0; 4];

/// Makes a map as an object describes it, with the object's global data in it; constants are
/// frozen, as libbpf does.
///
/// # Errors
///
/// What the kernel says.
pub fn map(object: &Object, def: &MapDef) -> Result<Map, Error> {
    let map = Map::create(&MapSpec {
        map_type: def.map_type.0,
        key_size: def.key_size,
        value_size: def.value_size,
        max_entries: def.max_entries.max(1),
        flags: def.flags.0,
        ..MapSpec::default()
    })?;
    if let MapOrigin::Global(kind) = def.origin {
        let mut bytes = object.initial_bytes(def).to_vec();
        bytes.resize(def.value_size as usize, 0);
        map.update(&FIRST, &bytes, uapi::update_flag::ANY)?;
        if kind == GlobalData::ReadOnly {
            map.freeze()?;
        }
    }
    Ok(map)
}
