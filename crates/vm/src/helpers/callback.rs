//! Helpers that call functions of the program: `bpf_loop` and `bpf_for_each_map_elem`.
//!
//! What they do is stated here once. Entering the function is the engine's: it is a call in a frame
//! of its own, whose instructions count as those of the program.

use std::sync::Arc;

use skep_bpf::platform::{HelperId, MapType};

use crate::errno::Errno;
use crate::machine::Machine;
use crate::maps::Map;
use crate::memory::Perm;
use crate::region::Purpose;
use crate::trap::TrapKind;

/// The most turns of `bpf_loop` (Linux, `BPF_MAX_LOOPS`).
pub(super) const MAX_LOOPS: u32 = 8 * 1024 * 1024;

/// Whether a helper calls functions back.
pub(crate) fn calls_back(id: HelperId) -> bool {
    CALLING_BACK.contains(&id)
}

/// The helpers that are implemented here.
pub(super) const CALLING_BACK: [HelperId; 2] = [HelperId::LOOP, HelperId::FOR_EACH_MAP_ELEM];

/// What a function that is called back gets in a register.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Passed {
    /// An argument of the helper, counted from 0.
    Argument(usize),
    /// A number.
    Number(u64),
    /// The address of an object.
    Object(u32),
}

/// An engine that stands at a call of such a helper.
pub(crate) trait Caller {
    /// The machine.
    fn machine(&self) -> &Machine;

    /// The number of the processor.
    fn cpu(&self) -> u32;

    /// The arguments of the helper.
    fn args(&self) -> [u64; 5];

    /// Calls the function that a reference means, and gives what it returns.
    ///
    /// # Errors
    ///
    /// A trap in the function, or if the reference means none.
    fn enter(&mut self, function: u64, args: &[Passed]) -> Result<u64, TrapKind>;
}

/// Carries out such a helper; gives what `r0` will hold.
pub(crate) fn call_back(helper: HelperId, caller: &mut dyn Caller) -> Result<u64, TrapKind> {
    match helper {
        HelperId::LOOP => repeat(caller),
        HelperId::FOR_EACH_MAP_ELEM => for_each(helper, caller),
        other => Err(TrapKind::NoSuchHelper(other)),
    }
}

/// `bpf_loop(turns, function, context, flags)`: the number of turns that were made.
fn repeat(caller: &mut dyn Caller) -> Result<u64, TrapKind> {
    let [turns, function, _, flags, _] = caller.args();
    let turns = turns as u32;
    if flags != 0 {
        return Ok(Errno::EINVAL.to_return());
    }
    if turns > MAX_LOOPS {
        return Ok(Errno::E2BIG.to_return());
    }
    for turn in 0..u64::from(turns) {
        if caller.enter(function, &[Passed::Number(turn), Passed::Argument(2)])? != 0 {
            return Ok(turn + 1);
        }
    }
    Ok(turns.into())
}

/// `bpf_for_each_map_elem(map, function, context, flags)`: the number of elements that were
/// visited.
fn for_each(helper: HelperId, caller: &mut dyn Caller) -> Result<u64, TrapKind> {
    let [value, function, _, flags, _] = caller.args();
    let found =
        caller.machine().map_at(value).ok_or(TrapKind::NotAMap { helper, arg: 1, value })?;
    let map = Arc::clone(found.1);
    let Some(keys) = keys(&*map) else {
        let needed = "a map whose elements can be walked";
        return Err(TrapKind::HelperContext { helper, needed });
    };
    if flags != 0 {
        return Ok(Errno::EINVAL.to_return());
    }
    let len = map.spec().key_bytes;
    let key_at = caller.machine().memory().alloc(len, Perm::ReadWrite, Purpose::MapKey);
    let Ok(key_at) = key_at else { return Ok(Errno::ENOMEM.to_return()) };
    let visited = visit(caller, function, &*map, keys, key_at);
    caller.machine().memory().free(key_at);
    visited
}

fn visit(
    caller: &mut dyn Caller,
    function: u64,
    map: &dyn Map,
    keys: impl Iterator<Item = Vec<u8>>,
    key_at: u32,
) -> Result<u64, TrapKind> {
    let mut visited = 0;
    for key in keys {
        // The function may have deleted it.
        let Some(value) = map.lookup(caller.cpu(), &key) else { continue };
        caller.machine().memory().window().write(key_at, &key)?;
        visited += 1;
        let args = [
            Passed::Argument(0),
            Passed::Object(key_at),
            Passed::Object(value),
            Passed::Argument(2),
        ];
        if caller.enter(function, &args)? != 0 {
            break;
        }
    }
    Ok(visited)
}

/// The keys of a map as they are now, if its elements can be walked. An array's are counted.
fn keys(map: &dyn Map) -> Option<Box<dyn Iterator<Item = Vec<u8>>>> {
    match map.spec().map_type {
        MapType::ARRAY | MapType::PERCPU_ARRAY => {
            let indices = 0..map.spec().max_entries;
            Some(Box::new(indices.map(|index| index.to_le_bytes().to_vec())))
        }
        MapType::HASH | MapType::PERCPU_HASH | MapType::LRU_HASH | MapType::LRU_PERCPU_HASH => {
            let mut keys: Vec<Vec<u8>> = Vec::new();
            // Others may add elements meanwhile, but no more than there can be.
            for _ in 0..map.spec().max_entries {
                match map.next_key(keys.last().map(Vec::as_slice)) {
                    Ok(Some(key)) => keys.push(key),
                    Ok(None) | Err(_) => break,
                }
            }
            Some(Box::new(keys.into_iter()))
        }
        _ => None,
    }
}
