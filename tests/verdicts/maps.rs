//! The maps that all programs work on: for the kernel, for the verifier and for the machine.

use crate::random::Random;
use skep::machine::{Machine, MapId};
use skep_bpf::platform::{MapFlags, MapType};
use skep_btf::{Btf, TypeId};
use skep_kernel::uapi::update_flag;
use skep_kernel::{Map, MapBtf};
use skep_verifier::MapFacts;
use skep_verifier::input::special_fields;

/// A map.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Its type.
    pub map_type: MapType,
    /// The size of a key in bytes.
    pub key_bytes: u32,
    /// The size of a value in bytes.
    pub value_bytes: u32,
    /// The largest number of elements.
    pub max_entries: u32,
    /// The flags.
    pub flags: MapFlags,
    /// Whether a value begins with a lock.
    pub has_lock: bool,
}

const NONE: MapFlags = MapFlags(0);

const fn row(map_type: MapType, key_bytes: u32, value_bytes: u32, max_entries: u32) -> Row {
    Row { map_type, key_bytes, value_bytes, max_entries, flags: NONE, has_lock: false }
}

/// The places of maps with a role of their own.
pub mod place {
    /// The array whose value a direct address leads to.
    pub const ARRAY: usize = 0;
    /// An array whose one value is large.
    pub const LARGE: usize = 5;
    /// The array whose values begin with a lock.
    pub const LOCKED: usize = 6;
    /// Programs to go on with.
    pub const PROGRAMS: usize = 7;
    /// The ring buffer.
    pub const RING: usize = 8;
}

/// The bytes of the large value.
pub const LARGE_BYTES: u32 = 1 << 20;

/// All maps.
pub const MAPS: [Row; 14] = [
    row(MapType::ARRAY, 4, 64, 1),
    row(MapType::HASH, 8, 48, 8),
    row(MapType::PERCPU_ARRAY, 4, 24, 4),
    row(MapType::PERCPU_HASH, 4, 16, 8),
    row(MapType::ARRAY, 4, 12, 5),
    row(MapType::ARRAY, 4, LARGE_BYTES, 1),
    Row { has_lock: true, ..row(MapType::ARRAY, 4, 16, 1) },
    row(MapType::PROG_ARRAY, 4, 4, 4),
    row(MapType::RINGBUF, 0, 0, 4096),
    Row { flags: MapFlags::RDONLY_PROG, ..row(MapType::ARRAY, 4, 32, 1) },
    Row { flags: MapFlags::WRONLY_PROG, ..row(MapType::ARRAY, 4, 32, 1) },
    row(MapType::QUEUE, 0, 8, 8),
    row(MapType::LRU_HASH, 4, 40, 8),
    row(MapType::PERF_EVENT_ARRAY, 4, 4, 1),
];

/// The contents of the frozen map.
fn constants() -> Vec<u8> {
    (0..32_u8).map(|index| index.wrapping_mul(37)).collect()
}

impl Row {
    fn is_frozen(&self) -> bool {
        self.flags == MapFlags::RDONLY_PROG
    }
}

/// What the verifier is told of them.
///
/// # Errors
///
/// If the types cannot be read, which only a bug could cause.
pub fn facts() -> Result<Vec<MapFacts>, String> {
    let btf = Btf::parse(&locked_types()).map_err(|error| error.to_string())?;
    let facts = |row: &Row| MapFacts {
        flags: row.flags,
        frozen: row.is_frozen().then(constants),
        has_types: row.has_lock,
        fields: if row.has_lock { special_fields(&btf, TypeId(LOCKED_TYPE)) } else { Vec::new() },
        ..MapFacts::new(row.map_type, row.key_bytes, row.value_bytes, row.max_entries)
    };
    Ok(MAPS.iter().map(facts).collect())
}

/// Makes them in the kernel.
///
/// # Errors
///
/// The kernel's refusal.
pub fn in_kernel() -> Result<Vec<Map>, String> {
    let btf = skep_kernel::Btf::load(&locked_types()).map_err(|error| error.to_string())?;
    let types = MapBtf { btf: &btf, key_type_id: INT_TYPE, value_type_id: LOCKED_TYPE };
    let create = |row: &Row| -> Result<Map, String> {
        let map = create(row, row.has_lock.then_some(types))?;
        if row.is_frozen() {
            let error = |error: skep_kernel::Error| error.to_string();
            map.update(&[0; 4], &constants(), update_flag::ANY).map_err(error)?;
            map.freeze().map_err(error)?;
        }
        Ok(map)
    };
    MAPS.iter().map(create).collect()
}

/// A further map of programs.
///
/// # Errors
///
/// The kernel's refusal.
pub fn programs_in_kernel() -> Result<Map, String> {
    create(&MAPS[place::PROGRAMS], None)
}

fn create(row: &Row, btf: Option<MapBtf<'_>>) -> Result<Map, String> {
    let spec = skep_kernel::MapSpec {
        map_type: row.map_type.0,
        key_size: row.key_bytes,
        value_size: row.value_bytes,
        max_entries: row.max_entries,
        flags: row.flags.0,
        btf,
        ..skep_kernel::MapSpec::default()
    };
    Map::create(&spec).map_err(|error| format!("{row:?}: {error}"))
}

/// Makes them in a machine; those that it does not have are `None`.
///
/// # Errors
///
/// If a value cannot be written.
pub fn in_machine(machine: &Machine) -> Result<Vec<Option<MapId>>, String> {
    let create = |row: &Row| {
        let spec = skep::maps::MapSpec {
            name: "map".into(),
            map_type: row.map_type,
            key_bytes: row.key_bytes,
            value_bytes: row.value_bytes,
            max_entries: row.max_entries,
            flags: row.flags,
            extra: 0,
            inner: None,
        };
        let Ok(id) = machine.create_map(spec) else { return Ok(None) };
        if row.is_frozen() {
            let map = machine.map(id).ok_or("the map is gone")?;
            map.write(&[0; 4], &constants(), 0).map_err(|errno| errno.to_string())?;
            map.freeze().map_err(|errno| errno.to_string())?;
        }
        Ok(Some(id))
    };
    MAPS.iter().map(create).collect()
}

/// Gives the elements of the small maps random values.
///
/// # Errors
///
/// If a value cannot be written.
pub fn fill(machine: &Machine, ids: &[Option<MapId>], random: &mut Random) -> Result<(), String> {
    for (row, id) in MAPS.iter().zip(ids) {
        let Some(map) = id.and_then(|id| machine.map(id)) else { continue };
        let plain = row.flags == NONE && row.value_bytes <= 64 && row.key_bytes > 0;
        if !plain || [MapType::PROG_ARRAY, MapType::PERF_EVENT_ARRAY].contains(&row.map_type) {
            continue;
        }
        for key in 0..u64::from(row.max_entries.min(2)) {
            let key = &key.to_ne_bytes()[..row.key_bytes as usize];
            // Of a per-CPU map, the values of all processors.
            let len = map.host_value_bytes();
            let words = (0..len.div_ceil(8)).flat_map(|_| random.word().to_ne_bytes());
            let value: Vec<u8> = words.take(len).collect();
            map.write(key, &value, 0).map_err(|errno| format!("{row:?}: {errno}"))?;
        }
    }
    Ok(())
}

const INT_TYPE: u32 = 1;
const LOCKED_TYPE: u32 = 3;

/// `struct value { struct bpf_spin_lock lock; unsigned a; unsigned b; unsigned c; }`
fn locked_types() -> Vec<u8> {
    const STRINGS: &[u8] = b"\0unsigned int\0bpf_spin_lock\0val\0value\0lock\0a\0b\0c\0";
    let name = |word: &str| {
        let text = [b"\0", word.as_bytes(), b"\0"].concat();
        let found = STRINGS.windows(text.len()).position(|window| window == text);
        found.expect("the word is among the strings") as u32 + 1
    };
    const INT: u32 = 1 << 24;
    const STRUCT: u32 = 4 << 24;
    let types = [
        &[name("unsigned int"), INT, 4, 32][..],
        &[name("bpf_spin_lock"), STRUCT | 1, 4, name("val"), INT_TYPE, 0],
        &[name("value"), STRUCT | 4, 16],
        &[name("lock"), 2, 0, name("a"), INT_TYPE, 32],
        &[name("b"), INT_TYPE, 64, name("c"), INT_TYPE, 96],
    ]
    .concat();
    let type_bytes = 4 * types.len() as u32;
    let mut btf = 0xeb9f_u16.to_ne_bytes().to_vec();
    btf.extend_from_slice(&[1, 0]);
    let header = [24, 0, type_bytes, type_bytes, STRINGS.len() as u32];
    for word in header.iter().chain(&types) {
        btf.extend_from_slice(&word.to_ne_bytes());
    }
    btf.extend_from_slice(STRINGS);
    btf
}
