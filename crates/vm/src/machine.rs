//! The machine: guest memory, the maps and helpers in it, and the programs loaded into it.

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use skep_bpf::codec::SlotIndex;
use skep_bpf::platform::{HelperId, ProgType};
use skep_bpf::program::{Program, ProgramError};
use skep_jit::CompileOptions;
use skep_jit::ssa::Passes;
use skep_verifier::Verified;

use crate::epoch::Epochs;
use crate::errno::Errno;
use crate::helpers::Implementation;
use crate::host::Host;
use crate::linked::Linked;
use crate::maps::{self, Inner, Map, MapSpec, RingBuffer};
use crate::memory::Perm;
use crate::proof;
use crate::region::{AllocError, Memory, Purpose};

/// The most maps a machine can have.
pub const MAX_MAPS: usize = 4096;

/// The distance of map handles in guest memory: room for the fields of `struct bpf_map`.
const HANDLE_BYTES: u32 = 256;

/// A map of a machine.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct MapId(u32);

impl MapId {
    /// The number of the map in its machine, counted from 0 in the order of creation.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// Guest memory, maps, helpers and the host, shared by all threads that run programs.
#[derive(Debug)]
pub struct Machine {
    memory: Arc<Memory>,
    epochs: Arc<Epochs>,
    host: Host,
    maps: Box<[OnceLock<Arc<dyn Map>>]>,
    map_count: Mutex<u32>,
    handles: u32,
    helpers: HashMap<HelperId, Arc<Implementation>>,
    cpus: Mutex<Vec<bool>>,
    /// The guest addresses of the locks that processors hold.
    pub(crate) locks: Mutex<HashSet<u32>>,
    compiling: Mutex<CompileOptions>,
}

/// Why a machine, a map or a processor could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MachineError {
    /// The host does not give the address space.
    #[error("guest memory could not be reserved")]
    Reserve(#[source] io::Error),
    /// Guest memory is full.
    #[error("guest memory")]
    Alloc(#[from] AllocError),
    /// All processors are taken.
    #[error("all {cpus} processors of the machine are in use")]
    NoCpu {
        /// How many there are.
        cpus: u32,
    },
    /// The machine has as many maps as it can have.
    #[error("a machine has at most {MAX_MAPS} maps")]
    TooManyMaps,
    /// A map of a kind or shape that cannot be made.
    #[error("map {name}: {source}")]
    Map {
        /// The map's name.
        name: Arc<str>,
        /// Why.
        source: MapError,
    },
}

/// Why a map could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MapError {
    /// The type is not implemented.
    #[error("maps of type {0} are not implemented")]
    Unsupported(skep_bpf::platform::MapType),
    /// Sizes or flags that the kernel refuses for the type.
    #[error("{what}: {errno}")]
    Invalid {
        /// What is wrong.
        what: String,
        /// The kernel's error number.
        errno: Errno,
    },
    /// Guest memory is full.
    #[error("its values need guest memory: {0}")]
    Alloc(#[from] AllocError),
}

/// Why a program could not be loaded.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The program has more functions than references can tell apart.
    #[error("{functions} functions, but a program has at most {limit}")]
    TooManyFunctions {
        /// How many there are.
        functions: usize,
        /// How many there may be.
        limit: usize,
    },
    /// The program names a map that it was not given.
    #[error("slot {at}: names map {index}, but the program has {maps}")]
    NoSuchMap {
        /// The instruction.
        at: SlotIndex,
        /// The map's index.
        index: u32,
        /// How many there are.
        maps: usize,
    },
    /// The program takes the address of a value in a map that has none to give.
    #[error("slot {at}: map {index} is of a type whose values have no fixed address")]
    NoDirectValue {
        /// The instruction.
        at: SlotIndex,
        /// The map's index.
        index: u32,
    },
    /// The program uses a map of programs that belongs to programs of another type.
    #[error("map {index} ({name}) holds programs of another type than {prog_type}: {errno}")]
    OtherType {
        /// The map's index.
        index: u32,
        /// Its name.
        name: String,
        /// The program's type.
        prog_type: ProgType,
        /// The kernel's error number.
        errno: Errno,
    },
    /// The code is malformed.
    #[error(transparent)]
    Code(#[from] ProgramError),
    /// A proof was made for a machine with another number of processors.
    #[error("the proof assumes {proved} processors, the machine has {cpus}")]
    OtherCpus {
        /// The number that the proof assumes.
        proved: u32,
        /// The machine's.
        cpus: u32,
    },
    /// A proof was made for another number of maps than were given.
    #[error("the proof assumes {proved} maps, {maps} were given")]
    OtherMapCount {
        /// The number that the proof assumes.
        proved: usize,
        /// How many were given.
        maps: usize,
    },
    /// A proof assumes something of a map that does not hold.
    #[error("map {index} ({name}) is not as the proof assumes: {what}")]
    OtherMap {
        /// The map's index.
        index: u32,
        /// Its name.
        name: String,
        /// What differs.
        what: proof::Difference,
    },
    /// The program calls functions of the kernel that are not implemented.
    #[error("it calls {}: not implemented", .names.join(", "))]
    NoKernelFunctions {
        /// Their names.
        names: Vec<String>,
    },
    /// The program names something by a kernel's number.
    #[error("slot {at}: names a map or variable by a kernel's number; link it first")]
    Unresolved {
        /// The instruction.
        at: SlotIndex,
    },
}

impl Machine {
    /// A machine without maps, with the standard helpers.
    ///
    /// # Errors
    ///
    /// If the host does not give the memory.
    pub fn new(host: Host) -> Result<Machine, MachineError> {
        Machine::with_helpers(host, Vec::new())
    }

    /// A machine whose programs can call further helpers, or others in place of the standard
    /// ones.
    ///
    /// # Errors
    ///
    /// If the host does not give the memory.
    pub fn with_helpers(
        host: Host,
        own: Vec<(HelperId, Implementation)>,
    ) -> Result<Machine, MachineError> {
        let memory = Memory::new().map_err(MachineError::Reserve)?;
        let handles_bytes = MAX_MAPS as u32 * HANDLE_BYTES;
        let handles = memory.alloc(handles_bytes, Perm::Read, Purpose::MapHandles)?;
        let mut helpers: HashMap<_, _> = crate::helpers::standard()
            .chain(crate::helpers::numbered_kfuncs())
            .map(|(id, implementation)| (id, Arc::new(implementation)))
            .collect();
        helpers.extend(own.into_iter().map(|(id, helper)| (id, Arc::new(helper))));
        Ok(Machine {
            memory: Arc::new(memory),
            epochs: Arc::new(Epochs::new(host.cpus)),
            cpus: Mutex::new(vec![false; host.cpus as usize]),
            host,
            maps: (0..MAX_MAPS).map(|_| OnceLock::new()).collect(),
            map_count: Mutex::new(0),
            handles,
            helpers,
            locks: Mutex::default(),
            compiling: Mutex::default(),
        })
    }

    /// Guest memory.
    #[must_use]
    pub fn memory(&self) -> &Arc<Memory> {
        &self.memory
    }

    /// Which runs are under way.
    #[must_use]
    pub fn epochs(&self) -> &Arc<Epochs> {
        &self.epochs
    }

    /// The world outside.
    #[must_use]
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// Says which passes the optimising compiler makes over programs that it compiles from now on,
    /// for tests and measurements. What was compiled stays as it is.
    pub fn set_passes(&self, passes: Passes) {
        self.compiling.lock().passes = passes;
    }

    /// The passes that the optimising compiler makes.
    #[must_use]
    pub fn passes(&self) -> Passes {
        self.compiling.lock().passes
    }

    /// Lets machine code made from now on, of programs with a proof, use addresses as they are
    /// instead of confining each to the window: to measure what containment costs.
    ///
    /// # Safety
    ///
    /// A fault of a proof is then a fault of the host. The caller vouches for every program that
    /// runs in this machine.
    #[allow(unsafe_code, reason = "what the caller vouches for is memory safety")]
    pub unsafe fn leave_uncontained(&self) {
        self.compiling.lock().contained = false;
    }

    /// How a program, with a proof or without, is to be compiled.
    pub(crate) fn compile_options(&self, proved: bool) -> CompileOptions {
        let options = *self.compiling.lock();
        CompileOptions { contained: options.contained || !proved, ..options }
    }

    /// Makes a map.
    ///
    /// # Errors
    ///
    /// If the kernel would refuse it, its type is not implemented or memory is full.
    pub fn create_map(&self, spec: MapSpec) -> Result<MapId, MachineError> {
        let mut count = self.map_count.lock();
        let slot = self.maps.get(*count as usize).ok_or(MachineError::TooManyMaps)?;
        let name = Arc::clone(&spec.name);
        let map = maps::create(self, spec).map_err(|source| MachineError::Map { name, source })?;
        let id = MapId(*count);
        *count += 1;
        slot.get_or_init(|| map);
        Ok(id)
    }

    /// A map by its number.
    #[must_use]
    pub fn map(&self, id: MapId) -> Option<&Arc<dyn Map>> {
        self.maps.get(id.index())?.get()
    }

    /// The number of every map, in the order of creation.
    pub fn map_ids(&self) -> impl Iterator<Item = MapId> + use<> {
        (0..*self.map_count.lock()).map(MapId)
    }

    /// The guest address that stands for a map in registers.
    #[must_use]
    pub fn handle(&self, id: MapId) -> u32 {
        self.handles + id.0 * HANDLE_BYTES
    }

    /// The map that a value in a register stands for.
    #[must_use]
    pub fn map_at(&self, handle: u64) -> Option<(MapId, &Arc<dyn Map>)> {
        let offset = u32::try_from(handle).ok()?.checked_sub(self.handles)?;
        if !offset.is_multiple_of(HANDLE_BYTES) {
            return None;
        }
        let id = MapId(offset / HANDLE_BYTES);
        Some((id, self.map(id)?))
    }

    /// Puts a map into a map of maps, as `BPF_MAP_UPDATE_ELEM` does.
    ///
    /// # Errors
    ///
    /// `EBADF` if there is no such map, `EINVAL` if the outer map is no map of maps or the inner
    /// one is not like those it is for, else the kernel's error numbers.
    pub fn set_inner_map(
        &self,
        outer: MapId,
        key: &[u8],
        inner: MapId,
        flags: u64,
    ) -> Result<(), Errno> {
        let outer = self.map(outer).ok_or(Errno::EBADF)?;
        let map = self.map(inner).ok_or(Errno::EBADF)?;
        let inner = Inner { id: inner, handle: self.handle(inner), map: map.as_ref() };
        outer.set_map(key, inner, flags)
    }

    /// The ring buffer that an address lies in.
    #[must_use]
    pub(crate) fn ring_buffer_at(&self, addr: u32) -> Option<&RingBuffer> {
        let maps = self.maps.iter().map_while(OnceLock::get);
        maps.filter_map(|map| map.ring_buffer()).find(|ring| ring.contains(addr))
    }

    /// What a call of a helper leads to.
    #[must_use]
    pub fn helper(&self, id: HelperId) -> Option<Arc<Implementation>> {
        self.helpers.get(&id).cloned()
    }

    /// Links a program to the machine. `maps` are the maps that its indices mean, in order.
    ///
    /// # Errors
    ///
    /// If it refers to what is not there.
    pub fn load(
        self: &Arc<Self>,
        name: &str,
        prog_type: ProgType,
        program: Program,
        maps: &[MapId],
    ) -> Result<Loaded, LoadError> {
        let linked = Linked::new(self, name.to_owned(), prog_type, program, maps)?;
        Ok(Loaded { machine: Arc::clone(self), linked: Arc::new(linked) })
    }

    /// Links the code of a proof to the machine. `maps` are the maps that its indices mean.
    ///
    /// # Errors
    ///
    /// If the machine or a map is not as the proof assumes; as for [`Machine::load`].
    pub fn load_verified(
        self: &Arc<Self>,
        name: &str,
        verified: Arc<Verified>,
        maps: &[MapId],
    ) -> Result<Loaded, LoadError> {
        proof::check(self, &verified, maps)?;
        let program = proof::program(&verified)?;
        let prog_type = verified.prog_type();
        let mut linked = Linked::new(self, name.to_owned(), prog_type, program, maps)?;
        linked.set_proof(verified);
        Ok(Loaded { machine: Arc::clone(self), linked: Arc::new(linked) })
    }

    pub(crate) fn take_cpu(&self) -> Result<u32, MachineError> {
        let mut cpus = self.cpus.lock();
        let free = cpus.iter().position(|taken| !taken);
        let index = free.ok_or(MachineError::NoCpu { cpus: self.host.cpus })?;
        cpus[index] = true;
        Ok(index as u32)
    }

    pub(crate) fn give_cpu(&self, index: u32) {
        if let Some(taken) = self.cpus.lock().get_mut(index as usize) {
            *taken = false;
        }
    }
}

/// A program that can run on its machine.
#[derive(Clone, Debug)]
pub struct Loaded {
    machine: Arc<Machine>,
    linked: Arc<Linked>,
}

impl Loaded {
    /// The machine.
    #[must_use]
    pub fn machine(&self) -> &Arc<Machine> {
        &self.machine
    }

    /// The program, for maps of programs.
    #[must_use]
    pub fn linked(&self) -> &Arc<Linked> {
        &self.linked
    }

    /// The proof that the program is safe; none if it was loaded without.
    #[must_use]
    pub fn verified(&self) -> Option<&Arc<Verified>> {
        self.linked.verified()
    }
}
