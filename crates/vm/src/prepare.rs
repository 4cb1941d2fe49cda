//! From the bytes of an object to programs that can run: the one way there.
//!
//! Parses, makes the maps and fills the global data, links, verifies and loads every program, and
//! fills maps of programs. What goes wrong with one map or program does not keep the others from
//! running; it stands beside its name.

mod facts;
mod maps;
mod programs;
mod verification;

pub use facts::{Facts, function_facts, map_facts};

use std::sync::Arc;
use std::time::Duration;

use skep_bpf::platform::{AttachType, ProgType};
use skep_bpf::program::ProgramError;
use skep_object::{
    ChangeError, FunctionIndex, LinkError, LinkOptions, Linked, MapIndex, Object, ParseError,
};
use skep_verifier::report::Report;
use skep_verifier::{KernelTypes, Profile, Rejection, Verified};

use crate::errno::Errno;
use crate::helpers::Implementation;
use crate::host::Host;
use crate::machine::{LoadError, Loaded, Machine, MachineError, MapId};
use crate::maps::Map;
use facts::{Surroundings, Task};
use skep_bpf::platform::HelperId;

/// How an object is prepared.
#[derive(Debug, Default)]
pub struct PrepareOptions {
    /// The world that programs see.
    pub host: Host,
    /// The type of all programs, in place of what section names say.
    pub prog_type: Option<ProgType>,
    /// What all programs would be attached to, in place of what section names say. With another
    /// type and without this, it is left open.
    pub attach_type: Option<AttachType>,
    /// Whether programs are verified, and how.
    pub verification: Verification,
    /// Bytes of global data to replace before anything is loaded.
    pub globals: Vec<GlobalBytes>,
    /// Maps to make in another size than declared.
    pub map_sizes: Vec<MapSize>,
    /// Helpers beside the standard ones, or in their place.
    pub helpers: Vec<(HelperId, Implementation)>,
    /// How programs are linked.
    pub link: LinkOptions,
    /// The types of the kernel that programs are verified for; without them, those that need them
    /// are refused.
    pub kernel_types: Option<Arc<KernelTypes>>,
}

/// Whether programs are verified before they are loaded.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Verification {
    /// As by Linux 6.18 for a privileged loader, with as many processors as the host has.
    #[default]
    Linux,
    /// By a profile. What is proved loads only if its number of processors is the host's.
    By(Profile),
    /// They are not. The machine contains them all the same.
    Off,
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

/// The size of a map, in place of the declared one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MapSize {
    /// The map.
    pub map: MapIndex,
    /// The size of a value in bytes, if it is to be another.
    pub value_bytes: Option<u32>,
    /// How many elements it may have, if that is to be another number.
    pub max_entries: Option<u32>,
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
    kernel_types: Option<Arc<KernelTypes>>,
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
    /// The proof that it is safe, if there is one. What the verifier accepts need not load: the
    /// machine may lack one of its maps.
    pub verified: Option<Arc<Verified>>,
    /// Why the verifier refuses it, if it does, as people and tools read it.
    pub report: Option<Box<Report>>,
    /// The processor time that the verifier took, if it was asked.
    pub verify_time: Option<Duration>,
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
    /// It cannot be changed as asked for.
    #[error(transparent)]
    Change(#[from] ChangeError),
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
    /// It does not take one of the maps that it is declared with.
    #[error("it does not take the map that is to be under key {key}: {errno}")]
    Inner {
        /// The key.
        key: u32,
        /// The kernel's error number.
        errno: Errno,
    },
}

/// Why a program is not in the machine.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProgramFailure {
    /// It needs something that the object does not have.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// Nothing says of what type it is, and without a type there are no rules.
    #[error("the name of its section, {section}, does not say its program type")]
    NoType {
        /// The section.
        section: String,
    },
    /// The verifier refuses it.
    #[error(transparent)]
    Rejected(#[from] Box<Rejection>),
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
/// If the bytes are not an object, it cannot be changed as asked for or there is no memory.
pub fn prepare(
    bytes: &[u8],
    file_name: &str,
    options: PrepareOptions,
) -> Result<Prepared, PrepareError> {
    let mut object = Object::parse_named(bytes, file_name)?;
    for GlobalBytes { map, offset, bytes } in &options.globals {
        object.replace_initial_bytes(*map, *offset, bytes)?;
    }
    for MapSize { map, value_bytes, max_entries } in &options.map_sizes {
        object.resize_map(*map, *value_bytes, *max_entries)?;
    }
    let mut programs = programs::link_all(&object, &options);
    let machine = Arc::new(Machine::with_helpers(options.host, options.helpers)?);
    let mut maps: Vec<PreparedMap> = object
        .maps()
        .iter()
        .enumerate()
        .map(|(index, def)| {
            let index = MapIndex(index);
            let result = maps::create(&machine, &object, def);
            PreparedMap { index, name: def.name.clone(), result }
        })
        .collect();
    maps::fill_maps_of_maps(&machine, &object, &mut maps);
    let cpus = machine.host().cpus;
    let profile = match options.verification {
        Verification::Linux => Some(Profile::linux(cpus)),
        Verification::By(profile) => Some(profile),
        Verification::Off => None,
    };
    if let Some(profile) = profile {
        let kernel = options.kernel_types.as_ref();
        let around = Surroundings { object: &object, cpus, profile, kernel };
        programs::verify(&around, &maps, &mut programs);
    }
    let mut programs: Vec<PreparedProgram> =
        programs.into_iter().map(|program| program.load(&machine, &maps)).collect();
    maps::fill_program_maps(&machine, &object, &maps, &mut programs);
    let kernel_types = options.kernel_types;
    Ok(Prepared { machine, object, maps, programs, kernel_types })
}

/// What became of a program.
#[derive(Clone, Copy, Debug)]
pub enum Verdict<'a> {
    /// The verifier accepts it.
    Accepted(&'a Verified),
    /// The verifier rejects it.
    Rejected(&'a Rejection),
    /// It could not be prepared far enough to be verified.
    NotLoaded(&'a ProgramFailure),
    /// It was not asked whether it is safe.
    Unverified,
}

impl PreparedProgram {
    /// What the verifier says of the program.
    #[must_use]
    pub fn verdict(&self) -> Verdict<'_> {
        match (&self.verified, &self.result) {
            (Some(verified), _) => Verdict::Accepted(verified),
            (None, Err(ProgramFailure::Rejected(rejection))) => Verdict::Rejected(rejection),
            (None, Err(failure)) => Verdict::NotLoaded(failure),
            (None, Ok(_)) => Verdict::Unverified,
        }
    }
}

impl Prepared {
    /// What the verifier is told of a program of the object; none if it has no code.
    #[must_use]
    pub fn facts<'a>(
        &'a self,
        program: &'a PreparedProgram,
        profile: Profile,
    ) -> Option<Facts<'a>> {
        let function = self.object.function(program.function)?;
        let task = Task {
            name: &program.name,
            linked: program.linked.as_ref()?,
            prog_type: program.prog_type,
            attach_type: program.attach_type,
            sleepable: programs::is_sleepable(function),
            attach_target: programs::attach_target(function),
        };
        let (object, cpus) = (&self.object, self.machine.host().cpus);
        let kernel = self.kernel_types.as_ref();
        Some(Facts::new(&Surroundings { object, cpus, profile, kernel }, task))
    }

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
