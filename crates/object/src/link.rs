//! From a function of an object to code that stands on its own.
//!
//! The function is copied, then every function it calls or takes the address of, depth first,
//! each once, as libbpf appends them. Afterwards calls and function addresses are distances
//! within the copy, and references to maps and global data are numbers in [`Linked::maps`].
//! Slots that are no instructions are copied as they are: whether code is valid is not asked.

mod error;
mod lines;
mod reference;
mod type_ids;

use std::collections::BTreeMap;

use skep_bpf::codec::{SLOT_BYTES, Slot, SlotIndex};
use skep_bpf::platform::ProgType;
use skep_bpf::program::{Bytecode, Program, ProgramError};

use crate::elf::{Relocation, SectionIndex};
use crate::functions::{Function, FunctionIndex};
use crate::maps::MapIndex;
use crate::object::Object;

pub use error::{CodePlace, CoreKind, ExternKind, LinkError, LinkProblem};

/// The largest number of slots that are linked: the kernel's limit on the instructions of a
/// program (`BPF_COMPLEXITY_LIMIT_INSNS`).
pub const MAX_LINKED_SLOTS: usize = 1_000_000;

/// How to link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct LinkOptions {
    /// What to do with instructions that want CO-RE relocation.
    pub core_relocations: CoreRelocations,
    /// What to do with calls of kernel functions.
    pub kernel_functions: KernelFunctions,
}

/// What to do with calls of functions that the kernel must provide (kfuncs).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum KernelFunctions {
    /// Linking fails: nobody provides them.
    #[default]
    Refuse,
    /// Calls refer to [`Bytecode::kernel_functions`].
    ByName,
}

/// What to do with instructions that depend on the layout of the kernel's types.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum CoreRelocations {
    /// Linking fails: the layout of the target is not known.
    #[default]
    Refuse,
    /// The instructions stay as compiled: the target's types are laid out as those that the
    /// program was compiled with.
    AsCompiled,
}

/// Code that stands on its own, and where it came from.
#[derive(Clone, Debug, PartialEq)]
pub struct Linked {
    /// The function that runs; the others are called by it.
    pub function: FunctionIndex,
    /// The code and its source lines.
    pub bytecode: Bytecode,
    /// The maps that the code refers to: `MapByIdx` and `MapValueByIdx` count in this list.
    pub maps: Vec<MapIndex>,
    /// The functions in the code, in order; the first is [`Linked::function`].
    pub parts: Vec<Part>,
}

/// A function within linked code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// The function of the object.
    pub function: FunctionIndex,
    /// Its first slot.
    pub start: SlotIndex,
    /// How many slots it has.
    pub len: usize,
    /// The section it was copied from.
    pub section: SectionIndex,
    /// Where it started there, in bytes from the start of the section.
    pub offset: u64,
}

/// Where a slot of linked code came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The function.
    pub function: FunctionIndex,
    /// The section.
    pub section: SectionIndex,
    /// The slot's place, in bytes from the start of the section.
    pub offset: u64,
}

impl Linked {
    /// Decodes the code and checks its control flow.
    ///
    /// # Errors
    ///
    /// If a slot is not an instruction, or control flow leaves the code or a function.
    pub fn program(&self) -> Result<Program, ProgramError> {
        Program::new(&self.bytecode)
    }

    /// Where a slot came from.
    pub fn origin(&self, slot: SlotIndex) -> Option<Origin> {
        let after = self.parts.partition_point(|part| part.start <= slot);
        let part = self.parts.get(after.checked_sub(1)?)?;
        let distance = slot.0.checked_sub(part.start.0).filter(|&distance| distance < part.len)?;
        let (function, section) = (part.function, part.section);
        let offset = part.offset + (distance * SLOT_BYTES) as u64;
        Some(Origin { function, section, offset })
    }
}

impl Object {
    /// Links a function with all it calls.
    ///
    /// # Errors
    ///
    /// If the function, or one that it calls, needs something that the object does not have:
    /// something of the kernel, a map whose declaration is malformed, a function that is not
    /// there. Other programs of the object are not concerned.
    pub fn link(&self, index: FunctionIndex, options: LinkOptions) -> Result<Linked, LinkError> {
        let Some(function) = self.function(index) else {
            return Err(LinkError {
                function: String::new(),
                problem: LinkProblem::NoSuchFunction,
            });
        };
        let mut linker = Linker::new(self, options);
        linker.is_infrared = function.prog_type() == ProgType::LIRC_MODE2;
        linker
            .run(function)
            .map_err(|problem| LinkError { function: function.name.clone(), problem })?;
        let debug = lines::debug_info(self, &linker.parts);
        let kernel_functions = linker.kernel_functions;
        let bytecode = Bytecode { slots: linker.slots, debug, kernel_functions };
        Ok(Linked { function: index, bytecode, maps: linker.maps, parts: linker.parts })
    }
}

/// A call or function address whose distance is known when all functions have their place.
struct Pending {
    /// The slot with the distance.
    at: usize,
    /// The function it leads to.
    to: FunctionIndex,
    /// How far into that function, in slots.
    into: usize,
}

struct Linker<'a> {
    object: &'a Object,
    options: LinkOptions,
    /// Whether the program is an infrared decoder. Those are ir-keytable's, which has a rule of its
    /// own: the address of a variable stands for its value, a parameter of the remote control.
    is_infrared: bool,
    slots: Vec<Slot>,
    maps: Vec<MapIndex>,
    kernel_functions: Vec<String>,
    /// The number of each map in `maps`.
    numbers: BTreeMap<MapIndex, i32>,
    parts: Vec<Part>,
    /// The part of each function that has one, by number of the function.
    part_of: Vec<Option<usize>>,
    pending: Vec<Pending>,
}

/// What remains to be read of a function.
struct Frame<'a> {
    function: &'a Function,
    /// The slot of the copy where it starts.
    start: usize,
    /// The next slot, from the start of the function.
    next: usize,
    /// Its relocations that were not reached yet.
    relocations: &'a [Relocation],
}

/// An instruction and what is said about it.
struct Site<'a> {
    function: &'a Function,
    /// Its first slot in the copy.
    at: usize,
    slot: Slot,
    /// Whether it is wide and its second slot is there.
    is_pair: bool,
    /// Its place, in bytes from the start of the section.
    offset: u64,
    relocation: Option<Relocation>,
}

impl<'a> Linker<'a> {
    fn new(object: &'a Object, options: LinkOptions) -> Self {
        Linker {
            object,
            options,
            is_infrared: false,
            slots: Vec::new(),
            maps: Vec::new(),
            kernel_functions: Vec::new(),
            numbers: BTreeMap::new(),
            parts: Vec::new(),
            part_of: vec![None; object.functions().len()],
            pending: Vec::new(),
        }
    }

    fn run(&mut self, main: &'a Function) -> Result<(), LinkProblem> {
        // A stack of its own: the depth of calls in a hostile object is not that of a program.
        let mut frames = vec![self.place(main)?];
        while let Some(mut frame) = frames.pop() {
            match self.read_on(&mut frame)? {
                None => {}
                Some(callee) => {
                    frames.push(frame);
                    let called = self.object.function(callee);
                    frames.push(self.place(called.ok_or(LinkProblem::NoSuchFunction)?)?);
                }
            }
        }
        self.fill_distances()
    }

    /// Appends the code of a function.
    fn place(&mut self, function: &'a Function) -> Result<Frame<'a>, LinkProblem> {
        lines::check_core(self.object, function, self.options)?;
        let code = self.object.code(function);
        let start = self.slots.len();
        let (chunks, _) = code.as_chunks::<SLOT_BYTES>();
        if start.saturating_add(chunks.len()) > MAX_LINKED_SLOTS {
            return Err(LinkProblem::TooLong { limit: MAX_LINKED_SLOTS });
        }
        self.slots.extend(chunks.iter().map(|bytes| Slot::from_bytes(*bytes)));
        if let Some(part) = self.part_of.get_mut(function.index.0) {
            *part = Some(self.parts.len());
        }
        self.parts.push(Part {
            function: function.index,
            start: SlotIndex(start),
            len: chunks.len(),
            section: function.section,
            offset: function.offset,
        });
        let relocations = self.object.relocations(function.section);
        let end = function.offset.saturating_add(function.size);
        let from = relocations.partition_point(|relocation| relocation.offset < function.offset);
        let to = relocations.partition_point(|relocation| relocation.offset < end);
        let relocations = relocations.get(from..to).unwrap_or(&[]);
        Ok(Frame { function, start, next: 0, relocations })
    }

    /// Reads a function up to its end, or up to a reference to a function that has no place yet,
    /// which is the result.
    fn read_on(&mut self, frame: &mut Frame<'a>) -> Result<Option<FunctionIndex>, LinkProblem> {
        let len = self.slots.len().saturating_sub(frame.start).min(frame.function.len_slots());
        while frame.next < len {
            let at = frame.start + frame.next;
            let Some(&slot) = self.slots.get(at) else { break };
            let is_pair = slot.is_wide() && frame.next + 1 < len;
            let offset = frame.function.offset + (frame.next * SLOT_BYTES) as u64;
            frame.next += if is_pair { 2 } else { 1 };
            let end = frame.function.offset + (frame.next * SLOT_BYTES) as u64;
            let relocation = self.take_relocation(frame, offset, end)?;
            let site = Site { function: frame.function, at, slot, is_pair, offset, relocation };
            let Some((to, into)) = self.resolve(&site)? else { continue };
            self.pending.push(Pending { at, to, into });
            if self.part_of.get(to.0).copied().flatten().is_none() {
                return Ok(Some(to));
            }
        }
        Ok(None)
    }

    /// Writes the distances of calls and function addresses.
    fn fill_distances(&mut self) -> Result<(), LinkProblem> {
        for pending in &self.pending {
            let part = self.part_of.get(pending.to.0).copied().flatten();
            let start = part.and_then(|part| self.parts.get(part)).map(|part| part.start.0);
            let start = start.ok_or(LinkProblem::NoSuchFunction)?;
            // Both positions are below the limit of a million slots.
            let distance = (start + pending.into) as i64 - pending.at as i64 - 1;
            if let Some(slot) = self.slots.get_mut(pending.at) {
                slot.imm = i32::try_from(distance).unwrap_or(i32::MAX);
            }
        }
        Ok(())
    }

    /// The number of a map in the list of the linked code.
    fn map_number(&mut self, map: MapIndex) -> i32 {
        let Linker { maps, numbers, .. } = self;
        *numbers.entry(map).or_insert_with(|| {
            maps.push(map);
            i32::try_from(maps.len() - 1).unwrap_or(i32::MAX)
        })
    }
}
