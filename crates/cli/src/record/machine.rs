//! The machine that a line asks for: its maps, and what is put into them before the runs.

use std::sync::Arc;

use skep::host::Host;
use skep::machine::{Loaded, Machine, MapId};
use skep_verifier::verify;

use super::{Case, Record, Surroundings, Update, hex};

impl Surroundings {
    /// A machine with the maps, which are empty.
    ///
    /// # Errors
    ///
    /// What keeps the machine or a map from being made.
    pub fn machine(&self, host: Host) -> Result<(Arc<Machine>, Vec<MapId>), String> {
        let machine = Arc::new(Machine::new(host).map_err(|error| error.to_string())?);
        let maps = self.maps_in(&machine)?;
        Ok((machine, maps))
    }

    /// Makes the maps in a machine.
    ///
    /// # Errors
    ///
    /// What keeps a map from being made.
    pub fn maps_in(&self, machine: &Machine) -> Result<Vec<MapId>, String> {
        let maps = self.specs.iter().map(|spec| machine.create_map(spec.clone()));
        maps.collect::<Result<_, _>>().map_err(|error| error.to_string())
    }
}

impl Record {
    /// Puts values, and programs that are verified for it, into the maps.
    ///
    /// # Errors
    ///
    /// Which member is wrong, or what cannot be done.
    pub fn fill_maps(
        &self,
        machine: &Arc<Machine>,
        maps: &[MapId],
        around: &Surroundings,
    ) -> Result<(), String> {
        let load = |case: &Case| {
            let verified = verify(&case.input(around)).map_err(|error| error.to_string())?;
            let loaded = machine.load_verified("aux", Arc::new(verified), maps);
            loaded.map_err(|error| error.to_string())
        };
        let auxiliary: Vec<Result<Loaded, String>> = self.auxiliary()?.iter().map(load).collect();
        for (index, update) in self.map_updates.iter().enumerate() {
            fill(machine, maps, &auxiliary, update)
                .map_err(|why| format!("map_updates[{index}]: {why}"))?;
        }
        Ok(())
    }
}

/// Puts a value or a program into a map.
fn fill(
    machine: &Machine,
    maps: &[MapId],
    auxiliary: &[Result<Loaded, String>],
    update: &Update,
) -> Result<(), String> {
    let map = maps.get(update.map).and_then(|id| machine.map(*id));
    let map = map.ok_or_else(|| format!("there is no maps[{}]", update.map))?;
    let key = hex("key", &update.key)?;
    let done = match (&update.value, update.aux_prog) {
        (Some(value), None) => map.write(&key, &hex("value", value)?, 0),
        (None, Some(program)) => {
            let found = auxiliary.get(program);
            let found = found.ok_or_else(|| format!("there is no aux_progs[{program}]"))?;
            let loaded =
                found.as_ref().map_err(|why| format!("aux_progs[{program}] is rejected: {why}"))?;
            map.set_program(&key, Arc::clone(loaded.linked()))
        }
        _ => return Err("one of value and aux_prog is needed".to_owned()),
    };
    done.map_err(|errno| errno.to_string())
}
