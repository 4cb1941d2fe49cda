//! Helpers on maps: look up, update, delete; push, pop, peek.

use skep_bpf::platform::{HelperId, MapFlags, MapType};

use super::{Call, Implementation, Standard};
use crate::errno::Errno;
use crate::maps::{Map, Value};
use crate::memory::Access;
use crate::trap::TrapKind;

pub(super) const HELPERS: &[Standard] = &[
    (HelperId::MAP_LOOKUP_ELEM, lookup),
    (HelperId::MAP_UPDATE_ELEM, update),
    (HelperId::MAP_DELETE_ELEM, delete),
    (HelperId::MAP_PUSH_ELEM, push),
    (HelperId::MAP_POP_ELEM, pop),
    (HelperId::MAP_PEEK_ELEM, peek),
    (HelperId::MAP_LOOKUP_PERCPU_ELEM, lookup_percpu),
];

/// Keys up to this size take the short way.
const SHORT_KEY_BYTES: usize = 64;
/// A key lies on the stack of a program, so none is longer than a frame.
const LONGEST_KEY_BYTES: usize = 512;

fn lookup(call: &mut Call<'_>) -> Result<u64, TrapKind> {
    let key = call.scalar(1) as u32;
    let window = call.machine.memory().window();
    let found = call.map(0)?.lookup_at(window, call.cpu.index, key);
    let fault = |fault| TrapKind::HelperMemory { helper: call.helper, arg: 2, fault };
    Ok(found.map_err(fault)?.map_or(0, u64::from))
}

/// Whether a helper is the one above, and no embedder's.
pub(crate) fn is_lookup(helper: &Implementation) -> bool {
    let own: fn(&mut Call<'_>) -> Result<u64, TrapKind> = lookup;
    matches!(helper, Implementation::Standard(run) if std::ptr::fn_addr_eq(*run, own))
}

fn update(call: &mut Call<'_>) -> Result<u64, TrapKind> {
    with_key(call, |call, map, key| {
        writable(call, map)?;
        let value = call.guest(2, map.spec().value_bytes, Access::Read)?;
        let flags = call.scalar(3);
        Ok(code(map.update(call.cpu.index, key, Value::Guest(value), flags)))
    })
}

fn delete(call: &mut Call<'_>) -> Result<u64, TrapKind> {
    with_key(call, |call, map, key| {
        writable(call, map)?;
        Ok(code(map.delete(key)))
    })
}

/// As a look-up, of the value that a given processor sees.
fn lookup_percpu(call: &mut Call<'_>) -> Result<u64, TrapKind> {
    with_key(call, |call, map, key| {
        let cpu = call.scalar(2) as u32;
        // The verifier refuses maps that have one value for all processors.
        if !matches!(
            map.spec().map_type,
            MapType::PERCPU_ARRAY | MapType::PERCPU_HASH | MapType::LRU_PERCPU_HASH
        ) {
            return Err(call.needs("a map with a value for every processor"));
        }
        Ok(map.lookup(cpu, key).map_or(0, u64::from))
    })
}

fn push(call: &mut Call<'_>) -> Result<u64, TrapKind> {
    let map = call.map(0)?;
    let value = call.guest(1, map.spec().value_bytes, Access::Read)?;
    Ok(code(map.push(Value::Guest(value), call.scalar(2))))
}

fn pop(call: &mut Call<'_>) -> Result<u64, TrapKind> {
    let map = call.map(0)?;
    let to = call.guest(1, map.spec().value_bytes, Access::Write)?;
    Ok(code(map.pop(to)))
}

fn peek(call: &mut Call<'_>) -> Result<u64, TrapKind> {
    let map = call.map(0)?;
    let access = match map.spec().map_type {
        MapType::BLOOM_FILTER => Access::Read,
        _ => Access::Write,
    };
    let at = call.guest(1, map.spec().value_bytes, access)?;
    Ok(code(map.peek(at)))
}

/// Calls `run` with the map of the first argument and the key that the second leads to.
#[inline]
fn with_key(
    call: &Call<'_>,
    run: impl FnOnce(&Call<'_>, &dyn Map, &[u8]) -> Result<u64, TrapKind>,
) -> Result<u64, TrapKind> {
    let map = &**call.map(0)?;
    let len = map.spec().key_bytes as usize;
    let mut short = [0; SHORT_KEY_BYTES];
    match short.get_mut(..len) {
        Some(key) => {
            call.read(1, key)?;
            run(call, map, key)
        }
        None => with_long_key(call, map, len, run),
    }
}

#[cold]
fn with_long_key(
    call: &Call<'_>,
    map: &dyn Map,
    len: usize,
    run: impl FnOnce(&Call<'_>, &dyn Map, &[u8]) -> Result<u64, TrapKind>,
) -> Result<u64, TrapKind> {
    let mut key = [0; LONGEST_KEY_BYTES];
    let key = key.get_mut(..len).ok_or_else(|| call.needs("keys of at most 512 bytes"))?;
    call.read(1, key)?;
    run(call, map, key)
}

/// The verifier refuses writes to a map that is read-only for programs.
fn writable(call: &Call<'_>, map: &dyn Map) -> Result<(), TrapKind> {
    if map.spec().flags.contains(MapFlags::RDONLY_PROG) {
        return Err(call.needs("a map that programs may write"));
    }
    Ok(())
}

fn code(result: Result<(), Errno>) -> u64 {
    match result {
        Ok(()) => 0,
        Err(error) => error.to_return(),
    }
}
