//! From the bytes of an object to programs that can run: the one way there.
//!
//! Parses, makes the maps and fills the global data, links and loads every program, and fills
//! maps of programs. What goes wrong with one map or program does not keep the others from
//! running; it stands beside its name.

use std::sync::Arc;

use skep_bpf::platform::{AttachType, MapType, ProgType};
use skep_bpf::program::ProgramError;
use skep_object::{
    FunctionIndex, LinkError, LinkOptions, Linked, MapDef, MapIndex, MapOrigin, MapValue, Object,
    ParseError,
};

use crate::errno::Errno;
use crate::helpers::Implementation;
use crate::host::Host;
use crate::machine::{LoadError, Loaded, Machine, MachineError, MapId};
use crate::maps::{Map, MapSpec};
use skep_bpf::platform::HelperId;

/// How an object is prepared.
#[derive(Debug, Default)]
pub struct PrepareOptions {
    /// The world that programs see.
    pub host: Host,
    /// The type of all programs, in place of what section names say.
    pub prog_type: Option<ProgType>,
    /// Bytes of global data to replace before anything is loaded.
    pub globals: Vec<GlobalBytes>,
    /// Helpers beside the standard ones, or in their place.
    pub helpers: Vec<(HelperId, Implementation)>,
    /// How programs are linked.
    pub link: LinkOptions,
}

/// Bytes in a section of global data.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GlobalBytes {
    /// The map that the section becomes.
    pub map: MapIndex,
    /// Where, in bytes from the start of the section.
    pub offset: u32,
    /// What.
    pub bytes: Vec<u8>,
}

/// An object ready to run.
#[derive(Debug)]
pub struct Prepared {
    /// The machine that has the object's maps.
    pub machine: Arc<Machine>,
    /// The object.
    pub object: Object,
    /// The object's maps, in its order.
    pub maps: Vec<PreparedMap>,
    /// The object's programs, in its order.
    pub programs: Vec<PreparedProgram>,
}

/// A map of an object, in its machine or not.
#[derive(Debug)]
pub struct PreparedMap {
    /// The map in the object.
    pub index: MapIndex,
    /// Its name.
    pub name: String,
    /// The map in the machine, or why it is not there.
    pub result: Result<MapId, MapFailure>,
}

/// A program of an object, loaded or not.
#[derive(Debug)]
pub struct PreparedProgram {
    /// The program in the object.
    pub function: FunctionIndex,
    /// Its name.
    pub name: String,
    /// The section it is from.
    pub section: String,
    /// Its type.
    pub prog_type: ProgType,
    /// What it would be attached to.
    pub attach_type: AttachType,
    /// Its code, if it could be linked.
    pub linked: Option<Linked>,
    /// The program in the machine, or why it is not there.
    pub result: Result<Loaded, ProgramFailure>,
}

/// Why nothing of an object could be prepared.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PrepareError {
    /// The bytes are not an object.
    #[error(transparent)]
    Parse(#[from] ParseError),
    /// There is no memory for a machine.
    #[error(transparent)]
    Machine(#[from] MachineError),
    /// Bytes to be replaced lie outside global data.
    #[error("{len} bytes at offset {offset} of {map}, which is {size} bytes of global data")]
    Global {
        /// The map's name or number.
        map: String,
        /// Where the bytes should go.
        offset: u32,
        /// How many there are.
        len: usize,
        /// The size of the data.
        size: u32,
    },
}

/// Why a map is not in the machine.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MapFailure {
    /// It could not be made.
    #[error(transparent)]
    Create(#[from] MachineError),
    /// Its initial bytes could not be written.
    #[error("its initial bytes could not be written: {0}")]
    Fill(Errno),
}

/// Why a program is not in the machine.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProgramFailure {
    /// It needs something that the object does not have.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// Its code is malformed.
    #[error(transparent)]
    Code(#[from] ProgramError),
    /// A map that it uses is not in the machine.
    #[error("it uses map {map}: {why}")]
    Map {
        /// The map's name.
        map: String,
        /// Why it is not there.
        why: String,
    },
    /// The programs before it used up the room for code.
    #[error(
        "the programs before it have {before} slots of linked code, with it that is more than the \
         {MAX_TOTAL_SLOTS} that one object may have"
    )]
    TooMuchCode {
        /// The slots of the programs before it.
        before: usize,
    },
    /// It refers to what is not there.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// A map of programs that is to hold it does not take it.
    #[error("map {map} does not take it at index {key}: {errno}")]
    InitialValue {
        /// The map's name.
        map: String,
        /// The index.
        key: u32,
        /// The kernel's error number.
        errno: Errno,
    },
}

/// The most slots of linked code that the programs of an object may have together. Every program
/// is linked with all it calls, so a small file can ask for much more than its size.
pub const MAX_TOTAL_SLOTS: usize = 4_000_000;

/// Prepares an object whose file has a name; that of its global data starts with it.
///
/// # Errors
///
/// If the bytes are not an object, a replaced global does not exist or there is no memory.
pub fn prepare(
    bytes: &[u8],
    file_name: &str,
    options: PrepareOptions,
) -> Result<Prepared, PrepareError> {
    let object = Object::parse_named(bytes, file_name)?;
    let machine = Arc::new(Machine::with_helpers(options.host, options.helpers)?);
    check_globals(&object, &options.globals)?;
    let maps: Vec<PreparedMap> = object
        .maps()
        .iter()
        .enumerate()
        .map(|(index, def)| {
            let index = MapIndex(index);
            let result = create(&machine, &object, index, def, &options.globals);
            PreparedMap { index, name: def.name.clone(), result }
        })
        .collect();
    let mut total_slots = 0;
    let mut programs: Vec<PreparedProgram> = object
        .programs()
        .map(|function| {
            let prog_type = options.prog_type.unwrap_or_else(|| function.prog_type());
            let mut program = PreparedProgram {
                function: function.index,
                name: function.name.clone(),
                section: function.section_name.clone(),
                prog_type,
                attach_type: function.attach_type(),
                linked: None,
                result: Err(ProgramFailure::Code(ProgramError::Empty)),
            };
            program.result =
                object.link(function.index, options.link).map_err(Into::into).and_then(|linked| {
                    let before = total_slots;
                    let with_it = before + linked.bytecode.slots.len();
                    if with_it > MAX_TOTAL_SLOTS {
                        return Err(ProgramFailure::TooMuchCode { before });
                    }
                    total_slots = with_it;
                    let linked = program.linked.insert(linked);
                    load(&machine, &maps, &function.name, prog_type, linked)
                });
            program
        })
        .collect();
    fill_program_maps(&machine, &object, &maps, &mut programs);
    Ok(Prepared { machine, object, maps, programs })
}

impl Prepared {
    /// The map with a name.
    #[must_use]
    pub fn map(&self, name: &str) -> Option<&Arc<dyn Map>> {
        let found = self.maps.iter().find(|map| map.name == name)?;
        self.machine.map(*found.result.as_ref().ok()?)
    }

    /// The programs that a name means: a function's, or all of a section.
    #[must_use]
    pub fn programs_named(&self, name: &str) -> Vec<&PreparedProgram> {
        let by_function: Vec<_> = self.programs.iter().filter(|p| p.name == name).collect();
        if !by_function.is_empty() {
            return by_function;
        }
        self.programs.iter().filter(|p| p.section == name).collect()
    }
}

fn check_globals(object: &Object, globals: &[GlobalBytes]) -> Result<(), PrepareError> {
    for global in globals {
        let def = object.map(global.map).filter(|def| def.is_global_data());
        let size = def.map_or(0, |def| def.value_size);
        let (offset, len) = (global.offset, global.bytes.len());
        if u64::from(offset) + len as u64 > u64::from(size) {
            let map = def.map_or_else(|| format!("map {}", global.map.0), |def| def.name.clone());
            return Err(PrepareError::Global { map, offset, len, size });
        }
    }
    Ok(())
}

fn create(
    machine: &Machine,
    object: &Object,
    index: MapIndex,
    def: &MapDef,
    globals: &[GlobalBytes],
) -> Result<MapId, MapFailure> {
    let id = machine.create_map(spec(machine, def))?;
    let MapOrigin::Global(_) = def.origin else { return Ok(id) };
    let Some(map) = machine.map(id) else { return Ok(id) };
    let mut replaced = globals.iter().filter(|global| global.map == index).peekable();
    let initial = object.initial_bytes(def);
    // A new map is zero. Writing zeros would commit memory for a .bss of any size that a file
    // cares to declare.
    if !initial.is_empty() || replaced.peek().is_some() {
        let mut bytes = initial.to_vec();
        bytes.resize(def.value_size as usize, 0);
        for global in replaced {
            let start = global.offset as usize;
            bytes[start..start + global.bytes.len()].copy_from_slice(&global.bytes);
        }
        map.write(&0_u32.to_le_bytes(), &bytes, 0).map_err(MapFailure::Fill)?;
    }
    if def.flags.contains(skep_bpf::platform::MapFlags::RDONLY_PROG) {
        map.freeze().map_err(MapFailure::Fill)?;
    }
    Ok(id)
}

fn spec(machine: &Machine, def: &MapDef) -> MapSpec {
    // libbpf sizes these by the number of processors where the object does not say.
    let by_cpu = def.map_type == MapType::PERF_EVENT_ARRAY && def.max_entries == 0;
    MapSpec {
        name: def.name.as_str().into(),
        map_type: def.map_type,
        key_bytes: def.key_size,
        value_bytes: def.value_size,
        max_entries: if by_cpu { machine.host().cpus } else { def.max_entries },
        flags: def.flags,
        inner: def.inner.as_deref().map(|inner| Box::new(spec(machine, inner))),
    }
}

fn load(
    machine: &Arc<Machine>,
    maps: &[PreparedMap],
    name: &str,
    prog_type: ProgType,
    linked: &Linked,
) -> Result<Loaded, ProgramFailure> {
    let program = linked.program()?;
    let mut ids = Vec::with_capacity(linked.maps.len());
    for index in &linked.maps {
        let map = maps.get(index.0);
        match map.map(|map| &map.result) {
            Some(Ok(id)) => ids.push(*id),
            Some(Err(why)) => {
                let map = map.map_or_else(String::new, |map| map.name.clone());
                // The message names the map already.
                let why = match why {
                    MapFailure::Create(MachineError::Map { source, .. }) => source.to_string(),
                    other => other.to_string(),
                };
                return Err(ProgramFailure::Map { map, why });
            }
            None => {
                let map = format!("number {}", index.0);
                return Err(ProgramFailure::Map { map, why: "it is not declared".to_owned() });
            }
        }
    }
    Ok(machine.load(name, prog_type, program, &ids)?)
}

/// Puts programs where the declarations of maps of programs want them.
fn fill_program_maps(
    machine: &Machine,
    object: &Object,
    maps: &[PreparedMap],
    programs: &mut [PreparedProgram],
) {
    for (def, prepared) in object.maps().iter().zip(maps) {
        let Ok(id) = prepared.result else { continue };
        let Some(map) = machine.map(id) else { continue };
        for (key, value) in &def.values {
            let MapValue::Program(function) = value else { continue };
            let Some(program) = programs.iter_mut().find(|p| p.function == *function) else {
                continue;
            };
            let Ok(loaded) = &program.result else { continue };
            let linked = Arc::clone(loaded.linked());
            if let Err(errno) = map.set_program(&key.to_le_bytes(), linked) {
                let map = def.name.clone();
                program.result = Err(ProgramFailure::InitialValue { map, key: *key, errno });
            }
        }
    }
}
