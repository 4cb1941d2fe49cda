//! Comparing the memory of two machines, and the maps that keep something elsewhere.

use skep::machine::Machine;
use skep::maps::Map;
use skep::memory::PAGE_BYTES;
use skep::region::{Area, FIRST_ADDR, Memory, Purpose};

/// After so many pages that are not mapped there is nothing more.
const MOST_GAP: u32 = 64;
/// How many bytes are compared at a time.
const CHUNK_BYTES: u32 = 1 << 16;
/// The bytes of the table of maps that are looked at: those of the first 16 maps.
const TABLE_BYTES: u32 = PAGE_BYTES;
/// The most elements of a map that are compared.
const MOST_ELEMENTS: usize = 512;

/// Compares all of guest memory but, unless asked for, stacks; and the elements of maps by key.
pub(super) fn compare(one: &Machine, other: &Machine, stacks: bool) -> Result<(), String> {
    let (ours, theirs) = (areas(one.memory()), areas(other.memory()));
    if ours != theirs {
        return Err(format!("areas of memory are {theirs:x?}, expected {ours:x?}"));
    }
    for area in ours.iter().filter(|area| stacks || area.purpose != Purpose::Stack) {
        compare_area(one.memory(), other.memory(), area)?;
    }
    for id in one.map_ids() {
        let (Some(one), Some(other)) = (one.map(id), other.map(id)) else {
            return Err(format!("map {} is not there", id.index()));
        };
        compare_map(one.as_ref(), other.as_ref())?;
    }
    Ok(())
}

/// What is mapped.
fn areas(memory: &Memory) -> Vec<Area> {
    let mut areas = Vec::new();
    let (mut addr, mut gap) = (FIRST_ADDR, 0);
    while gap < MOST_GAP {
        match memory.area_at(addr) {
            Some(area) => {
                addr = area.start + area.len.next_multiple_of(PAGE_BYTES);
                gap = 0;
                areas.push(area);
            }
            None => {
                addr += PAGE_BYTES;
                gap += 1;
            }
        }
    }
    areas
}

fn compare_area(one: &Memory, other: &Memory, area: &Area) -> Result<(), String> {
    let len = match area.purpose {
        Purpose::MapHandles => area.len.min(TABLE_BYTES),
        _ => area.len,
    };
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for at in (0..len).step_by(CHUNK_BYTES as usize) {
        let chunk = CHUNK_BYTES.min(len - at) as usize;
        let read = |memory: &Memory, to: &mut Vec<u8>| {
            to.resize(chunk, 0);
            memory.window().read(area.start + at, to).map_err(|fault| fault.to_string())
        };
        read(one, &mut ours)?;
        read(other, &mut theirs)?;
        if ours != theirs {
            let place = (0..chunk).find(|place| ours[*place] != theirs[*place]).unwrap_or(0);
            let until = (place + 8).min(chunk);
            return Err(format!(
                "{:?} at {:#x}, byte {}: {:02x?}, expected {:02x?}",
                area.purpose,
                area.start,
                at as usize + place,
                &theirs[place..until],
                &ours[place..until]
            ));
        }
    }
    Ok(())
}

fn compare_map(one: &dyn Map, other: &dyn Map) -> Result<(), String> {
    let name = &one.spec().name;
    // An array's elements lie in guest memory, all of them.
    if one.data_addr().is_some() {
        return Ok(());
    }
    let mut last: Option<Vec<u8>> = None;
    for _ in 0..MOST_ELEMENTS {
        let (ours, theirs) = (one.next_key(last.as_deref()), other.next_key(last.as_deref()));
        if ours != theirs {
            return Err(format!(
                "map {name}: after {last:02x?}: {theirs:02x?}, expected {ours:02x?}"
            ));
        }
        let Ok(Some(key)) = ours else { return Ok(()) };
        let (ours, theirs) = (one.read(&key), other.read(&key));
        if ours != theirs {
            return Err(format!("map {name}[{key:02x?}]: {theirs:02x?}, expected {ours:02x?}"));
        }
        last = Some(key);
    }
    Ok(())
}
