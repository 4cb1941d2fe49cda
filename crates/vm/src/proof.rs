//! Whether a machine is what a proof assumes.
//!
//! A proof holds for the maps and the number of processors that the verifier was told. A machine
//! that differs does not load the program.

use std::fmt;

use skep_bpf::codec::{SlotIndex, encode};
use skep_bpf::insn::{Insn, Offset};
use skep_bpf::program::{Bytecode, Program, ProgramError};
use skep_verifier::{MapFacts, Verified};

use crate::machine::{LoadError, Machine, MapId};
use crate::maps::{Map, MapSpec};

/// What about a map differs from what a proof assumes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Difference {
    /// The type.
    MapType,
    /// The size of keys.
    KeySize,
    /// The size of values.
    ValueSize,
    /// The number of elements.
    MaxEntries,
    /// The flags.
    Flags,
    /// What the maps in it are like.
    Inner,
    /// It is not frozen, or cannot be read.
    NotFrozen,
    /// What it holds for good.
    Bytes,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Difference::MapType => "it is of another type",
            Difference::KeySize => "its keys have another size",
            Difference::ValueSize => "its values have another size",
            Difference::MaxEntries => "it has another number of elements",
            Difference::Flags => "it has other flags",
            Difference::Inner => "the maps in it are different",
            Difference::NotFrozen => "its content can still change",
            Difference::Bytes => "it has other content",
        })
    }
}

/// Compares what a proof assumes with a machine. `maps` are the maps that the proof's indices mean.
pub(crate) fn check(
    machine: &Machine,
    verified: &Verified,
    maps: &[MapId],
) -> Result<(), LoadError> {
    let (proved, cpus) = (verified.profile().cpus, machine.host().cpus);
    if proved != cpus {
        return Err(LoadError::OtherCpus { proved, cpus });
    }
    let facts = verified.maps();
    if facts.len() != maps.len() {
        return Err(LoadError::OtherMapCount { proved: facts.len(), maps: maps.len() });
    }
    for (index, (facts, id)) in facts.iter().zip(maps).enumerate() {
        // A map that is not there is found when the program is linked.
        let Some(map) = machine.map(*id) else { continue };
        let spec = map.spec();
        if let Some(what) = difference(facts, spec).or_else(|| content(facts, map.as_ref())) {
            let name = spec.name.to_string();
            return Err(LoadError::OtherMap { index: index as u32, name, what });
        }
    }
    Ok(())
}

/// The program of a proof. What no path reaches may be anything, and is replaced by jumps to
/// themselves, as the kernel does, if it keeps the code from being a program.
pub(crate) fn program(verified: &Verified) -> Result<Program, ProgramError> {
    let bytecode = verified.bytecode();
    Program::new(bytecode).or_else(|_| {
        let stay = Insn::Jump { wide: false, target: Offset(-1) };
        let stay = encode(&stay).expect("the distance fits").slots().next();
        let stay = stay.expect("an instruction has a slot");
        let mut slots = bytecode.slots.clone();
        let mut at = 0;
        while let Some(slot) = slots.get_mut(at) {
            let is_reached = verified.is_reachable(SlotIndex(at));
            at += if is_reached && slot.is_wide() { 2 } else { 1 };
            if !is_reached {
                *slot = stay;
            }
        }
        let (debug, kernel_functions) = (bytecode.debug.clone(), bytecode.kernel_functions.clone());
        Program::new(&Bytecode { slots, debug, kernel_functions })
    })
}

fn difference(facts: &MapFacts, spec: &MapSpec) -> Option<Difference> {
    let inner = match (&facts.inner, &spec.inner) {
        (None, None) => false,
        (Some(facts), Some(spec)) => difference(facts, spec).is_some(),
        _ => true,
    };
    [
        (facts.map_type != spec.map_type, Difference::MapType),
        (facts.key_size != spec.key_bytes, Difference::KeySize),
        (facts.value_size != spec.value_bytes, Difference::ValueSize),
        (facts.max_entries != spec.max_entries, Difference::MaxEntries),
        (facts.flags != spec.flags, Difference::Flags),
        (inner, Difference::Inner),
    ]
    .into_iter()
    .find_map(|(differs, what)| differs.then_some(what))
}

/// Whether the map holds for good what the proof assumes of it.
fn content(facts: &MapFacts, map: &dyn Map) -> Option<Difference> {
    let bytes = facts.frozen.as_ref()?;
    if !map.is_frozen() {
        return Some(Difference::NotFrozen);
    }
    match map.read(&0_u32.to_le_bytes()) {
        Ok(content) => (!content.starts_with(bytes)).then_some(Difference::Bytes),
        Err(_) => Some(Difference::NotFrozen),
    }
}
