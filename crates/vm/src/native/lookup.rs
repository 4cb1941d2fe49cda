//! What the compilers make of lookups in maps that they know.

use skep_bpf::platform::HelperId;
use skep_jit::abi::{HelperFn, RunState};
use skep_jit::source::{Array, Lookup};

use super::runtime::run_of;
use crate::maps::{Direct, Hash, Way};
use crate::trap::TrapKind;

/// What the compilers make of lookups in a map.
pub(super) fn lookup_in(direct: Direct<'_>) -> Option<Lookup> {
    match direct.0 {
        Way::Array { entries, start, stride, per_cpu } => {
            Some(Lookup::Array(Array { entries, start, stride, per_cpu }))
        }
        Way::Hash(hash) => {
            let run: HelperFn = match hash.key_bytes() {
                4 => lookup_hash::<1>,
                8 => lookup_hash::<2>,
                12 => lookup_hash::<3>,
                16 => lookup_hash::<4>,
                _ => return None,
            };
            let object = std::ptr::from_ref(hash).expose_provenance() as u64;
            Some(Lookup::Call { address: run as usize as u64, object })
        }
    }
}

/// What a lookup gives for a trap.
const LOOKUP_TRAPPED: u64 = u64::MAX;

/// Looks up an element of a hash whose keys have so many words.
unsafe extern "C" fn lookup_hash<const WORDS: usize>(
    hash: u64,
    key: u64,
    _: u64,
    _: u64,
    _: u64,
    state: *mut RunState,
) -> u64 {
    // SAFETY: called by generated code.
    let (state, owner) = unsafe { run_of(state) };
    // SAFETY: the code keeps the map, which is this hash.
    let hash = unsafe { &*std::ptr::with_exposed_provenance::<Hash>(hash as usize) };
    let window = owner.machine.memory().window();
    match hash.lookup_words::<WORDS>(window, owner.cpu.index, key as u32) {
        Ok(found) => found.map_or(0, u64::from),
        Err(fault) => {
            let helper = HelperId::MAP_LOOKUP_ELEM;
            owner.stop(state, TrapKind::HelperMemory { helper, arg: 2, fault });
            LOOKUP_TRAPPED
        }
    }
}
