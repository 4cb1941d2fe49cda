//! Lanes with the maps that generated programs work on.

use std::sync::Arc;

use skep::host::Host;
use skep::machine::{Loaded, Machine, MapId};
use skep::maps::MapSpec;
use skep_bpf::platform::{AttachType, MapFlags, MapType, ProgType};
use skep_bpf::program::Bytecode;
use skep_verifier::{Input as Question, MapFacts, Profile, Verified};

use super::lane::CPUS;
use super::{Lanes, Outcome};
use crate::random::{Random, RandomProgram, layout};
use crate::verdicts::{Case, Input, Prover, maps};

/// Far more than verified programs of this kind need.
const FUEL: u64 = 50_000_000;

/// All lanes, each with the same maps.
#[derive(Debug)]
pub struct World {
    /// The lanes.
    pub lanes: Lanes,
    /// What accepts programs for them.
    pub prover: Prover,
    /// The maps of [`maps::MAPS`], the same in all lanes.
    maps: Vec<Option<MapId>>,
    /// A map of programs for each program type, to which it belongs.
    programs: Vec<(ProgType, MapId)>,
    /// The map of random programs.
    value: MapId,
}

/// The maps of a machine.
struct Made {
    maps: Vec<Option<MapId>>,
    programs: Vec<(ProgType, MapId)>,
    value: MapId,
}

impl World {
    /// Makes the lanes with their maps.
    ///
    /// # Errors
    ///
    /// If the host does not give the memory.
    pub fn new() -> Result<World, String> {
        let mut made = None;
        let lanes = Lanes::new(&mut |host| {
            let (machine, maps) = machine(host)?;
            made.get_or_insert(maps);
            Ok(machine)
        })?;
        let Made { maps, programs, value } = made.ok_or("there are no lanes")?;
        Ok(World { lanes, prover: Prover::new(CPUS)?, maps, programs, value })
    }

    /// Runs a program that the verifier accepts, in all lanes, with random inputs and contents of
    /// maps. A program that the machine does not load, such as one with fields that should be 0 and
    /// that the kernel does not look at, runs nowhere.
    ///
    /// # Errors
    ///
    /// How the lanes differ, or why it could not be run.
    pub fn agree(
        &mut self,
        case: &Case,
        proof: &Arc<Verified>,
        random: &mut Random,
        times: usize,
    ) -> Result<Vec<Outcome>, String> {
        let stand_in = self.maps.first().copied().flatten().ok_or("there is no map")?;
        let mut ids: Vec<MapId> = self.maps.iter().map(|id| id.unwrap_or(stand_in)).collect();
        if let Some((_, id)) = self.programs.iter().find(|entry| entry.0 == case.prog_type) {
            ids[maps::place::PROGRAMS] = *id;
        }
        let mut outcomes = Vec::new();
        let first = self.lanes.all().first().ok_or("there are no lanes")?;
        if first.machine.load_verified("program", Arc::clone(proof), &ids).is_err() {
            return Ok(outcomes);
        }
        let loaded = self.load(proof, &ids)?;
        for _ in 0..times {
            let contents = random.clone();
            for lane in self.lanes.all() {
                *random = contents.clone();
                maps::fill(&lane.machine, &self.maps, random)?;
            }
            let input = Input::random(case.prog_type, random);
            outcomes.push(self.lanes.run(&loaded, &input, FUEL)?);
        }
        Ok(outcomes)
    }

    /// Runs a random program in all lanes and compares its value.
    ///
    /// # Errors
    ///
    /// How the lanes differ, or why it could not be run.
    pub fn agree_random(
        &mut self,
        program: &RandomProgram,
        proof: &Arc<Verified>,
    ) -> Result<Outcome, String> {
        let loaded = self.load(proof, &[self.value])?;
        for lane in self.lanes.all() {
            let map = lane.machine.map(self.value).ok_or("the map is gone")?;
            map.write(&[0; 4], &program.value, 0).map_err(|errno| errno.to_string())?;
        }
        let input = Input::random(ProgType::XDP, &mut Random::new(program.seed));
        let outcome = self.lanes.run(&loaded, &input, FUEL)?;
        let mut expected = None;
        for lane in self.lanes.all() {
            let map = lane.machine.map(self.value).ok_or("the map is gone")?;
            let value = map.read(&[0; 4]).map_err(|errno| errno.to_string())?;
            let expected = expected.get_or_insert_with(|| value.clone());
            if *expected != value {
                let what = format!("the value is {value:02x?}, expected {expected:02x?}");
                return Err(format!("{}: {what}", lane.way));
            }
        }
        Ok(outcome)
    }

    /// The program of a proof in each lane, which is told the proof or not.
    fn load(&self, proof: &Arc<Verified>, maps: &[MapId]) -> Result<Vec<Loaded>, String> {
        let mut loaded = Vec::new();
        for lane in self.lanes.all() {
            let proved = lane.machine.load_verified("program", Arc::clone(proof), maps);
            let proved = proved.map_err(|error| error.to_string())?;
            loaded.push(if lane.way.proof {
                proved
            } else {
                let (linked, machine) = (proved.linked(), &lane.machine);
                let program = linked.program().clone();
                let plain = machine.load("program", linked.prog_type(), program, maps);
                plain.map_err(|error| error.to_string())?
            });
        }
        Ok(loaded)
    }
}

impl RandomProgram {
    /// The proof that the program is safe.
    ///
    /// # Errors
    ///
    /// If a jump is too far for its field or, which is a bug, the verifier rejects it.
    pub fn verify(&self, cpus: u32) -> Result<Verified, String> {
        let bytecode = Bytecode::from(self.slots()?);
        let proof = skep_verifier::verify(&Question {
            bytecode: &bytecode,
            prog_type: ProgType::XDP,
            attach_type: AttachType::UNSPECIFIED,
            attach_target: None,
            maps: &[MapFacts::new(MapType::ARRAY, 4, layout::VALUE_BYTES as u32, 1)],
            functions: &[],
            kernel: None,
            gpl_compatible: true,
            sleepable: false,
            types: None,
            profile: Profile::linux(cpus),
        });
        proof.map_err(|rejection| rejection.message)
    }
}

/// A machine with its maps.
fn machine(host: Host) -> Result<(Arc<Machine>, Made), String> {
    let machine = Machine::new(host).map_err(|error| error.to_string())?;
    let maps = maps::in_machine(&machine)?;
    let create = |map_type, value_bytes: u32, max_entries| {
        let spec = MapSpec {
            name: "own".into(),
            map_type,
            key_bytes: 4,
            value_bytes,
            max_entries,
            flags: MapFlags::default(),
            extra: 0,
            inner: None,
        };
        machine.create_map(spec).map_err(|error| error.to_string())
    };
    let row = maps::MAPS[maps::place::PROGRAMS];
    let mut programs = Vec::new();
    for prog_type in crate::verdicts::prog_types() {
        programs.push((prog_type, create(row.map_type, row.value_bytes, row.max_entries)?));
    }
    let value = create(MapType::ARRAY, layout::VALUE_BYTES as u32, 1)?;
    Ok((Arc::new(machine), Made { maps, programs, value }))
}
