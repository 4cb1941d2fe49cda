//! A program in the live kernel, run by `BPF_PROG_TEST_RUN`, which repeats a run as often as asked
//! within one system call. Maps are made anew, with the object's global data in them.

use skep_bpf::codec::Slot;
use skep_bpf::platform::{AttachType, ProgType};
use skep_kernel::{Map, MapSpec, ProgSpec, Program, TestRun, available, relocate, uapi};
use skep_object::{Linked, Object};

use super::subject::Made;
use crate::live;
use crate::measure::Outcome;

/// What the engine is called.
pub(super) const NAME: &str = "kernel";

/// A program of an object.
pub(super) fn object(
    object: &Object,
    linked: &Linked,
    (prog_type, attach_type): (ProgType, AttachType),
    packet: &[u8],
) -> Result<Made, String> {
    available().map_err(|reason| reason.to_string())?;
    let map = |index| object.map(index).ok_or("a map of the program is missing".to_owned());
    let create = |def| live::map(object, def).map_err(|error| format!("map {}: {error}", def.name));
    let maps = linked.maps.iter().map(|index| create(map(*index)?));
    let maps = maps.collect::<Result<Vec<Map>, String>>()?;
    let insns = linked.bytecode.slots.iter().map(|slot| slot.to_bytes()).collect();
    let licence = object.license().unwrap_or("");
    subject(insns, maps, licence, (prog_type.0, attach_type.0), packet.to_vec())
}

/// Raw code on memory, which is the value of an array; `r1` is set to its address before.
pub(super) fn raw(slots: &[Slot], memory: &[u8]) -> Result<Made, String> {
    available().map_err(|reason| reason.to_string())?;
    let mut insns: Vec<[u8; 8]> = Vec::with_capacity(slots.len() + 3);
    let mut maps = Vec::new();
    if !memory.is_empty() {
        let value_size = u32::try_from(memory.len()).map_err(|_| "too much memory".to_owned())?;
        let spec = MapSpec {
            map_type: uapi::map_type::ARRAY,
            key_size: 4,
            value_size,
            max_entries: 1,
            ..MapSpec::default()
        };
        let map = Map::create(&spec).map_err(|error| error.to_string())?;
        map.update(&[0; 4], memory, uapi::update_flag::ANY).map_err(|error| error.to_string())?;
        maps.push(map);
        // r1 = the address of the value of map 0 (RFC 9669, section 5.4); r2 = its length
        insns.extend([Slot::new(0x18, 1, 6, 0, 0).to_bytes(), [0; 8]]);
        insns.push(Slot::new(0xb7, 2, 0, 0, value_size as i32).to_bytes());
    }
    insns.extend(slots.iter().map(|slot| slot.to_bytes()));
    subject(insns, maps, "GPL", (uapi::prog_type::SCHED_CLS, 0), vec![0; 64])
}

fn subject(
    mut insns: Vec<[u8; 8]>,
    maps: Vec<Map>,
    licence: &str,
    (prog_type, expected_attach_type): (u32, u32),
    packet: Vec<u8>,
) -> Result<Made, String> {
    relocate(&mut insns, &maps).map_err(|error| error.to_string())?;
    let spec =
        ProgSpec { prog_type, expected_attach_type, insns: &insns, licence, ..ProgSpec::default() };
    let load = |level| Program::load(&ProgSpec { log_level: level, ..spec });
    // Once more for the reason: writing the log takes time that counts as compilation.
    let start = std::time::Instant::now();
    let program = load(uapi::log_level::NONE).map_err(|error| {
        let reason = load(uapi::log_level::REASON).err();
        let reason = reason.as_ref().and_then(|error| error.reason()).map(str::to_owned);
        reason.map_or(error.to_string(), |reason| format!("{error}: {reason}"))
    })?;
    let compile = Some(start.elapsed());
    let run = move |runs: u64| {
        // A call repeats as often as an int counts; the maps live as long as the program.
        let _ = &maps;
        let repeat = i32::try_from(runs).map_err(|_| "too many runs for one call".to_owned())?;
        let run = TestRun { data_in: &packet, repeat: repeat as u32, ..TestRun::default() };
        let result = program.test_run(&run).map_err(|error| error.to_string())?;
        Ok(Outcome { r0: result.retval.into(), insns: None })
    };
    Ok(Made { subject: Box::new(run), compile })
}
