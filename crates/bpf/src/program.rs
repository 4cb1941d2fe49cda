//! Code whose control flow was checked once, so that nobody after has to.
//!
//! [`Bytecode`] is what a loader or assembler hands over: slots of any content. [`Program::new`]
//! makes of it instructions whose targets are [`Pc`]s, or says why it cannot. Reachability and
//! everything that depends on values are the verifier's.

use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use crate::codec::{DecodeError, Slot, SlotIndex, decode};
use crate::debug_info::DebugInfo;
use crate::insn::{Callee, Imm64, Insn, Offset, Reg};

/// Linked code before it was decoded, with what is known of its source.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Bytecode {
    /// The code: the main function first.
    pub slots: Vec<Slot>,
    /// Lines and function names.
    pub debug: DebugInfo,
    /// The names of the kernel functions that calls refer to: the `imm` of such a call counts in
    /// this list. Empty if they are numbered as the kernel does it.
    pub kernel_functions: Vec<String>,
}

impl From<Vec<Slot>> for Bytecode {
    fn from(slots: Vec<Slot>) -> Self {
        Bytecode { slots, ..Bytecode::default() }
    }
}

/// The position of an instruction in a [`Program`]. Not a slot: a wide instruction counts once.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Pc(u32);

impl Pc {
    /// The first instruction.
    pub const START: Pc = Pc(0);

    /// The position as an index into [`Program::insns`].
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// The position of the instruction with an index, which the caller took from
    /// [`Program::insns`].
    #[must_use]
    pub const fn from_index(index: usize) -> Pc {
        Pc(index as u32)
    }
}

impl fmt::Display for Pc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A function: a run of instructions that jumps do not leave.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Function {
    /// The name, if the debug information has one.
    pub name: Option<String>,
    /// The first instruction.
    pub entry: Pc,
    /// The instruction after the last.
    pub end: Pc,
}

/// Decoded code: jumps, calls and function addresses lead to instructions, no jump leaves its
/// function, no function runs off its end, and nothing writes to `r10`.
#[derive(Clone, PartialEq, Debug)]
pub struct Program {
    insns: Vec<Insn<Pc>>,
    slot_of: Vec<u32>,
    functions: Vec<Function>,
    debug: DebugInfo,
    kernel_functions: Vec<String>,
}

/// The largest number of slots a program may have: more than Linux's limit of a million
/// instructions, and small enough that positions fit in 32 bits.
pub const MAX_SLOTS: usize = 1 << 24;

/// Why code is not a program. The slot is the instruction's first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ProgramError {
    /// There is no code.
    Empty,
    /// There is more code than [`MAX_SLOTS`].
    TooLong {
        /// The number of slots.
        slots: usize,
    },
    /// A slot is not an instruction.
    Decode(DecodeError),
    /// A jump, call or function address leads outside the code.
    TargetOutside {
        /// The instruction.
        at: SlotIndex,
        /// The slot it leads to.
        target: i64,
    },
    /// A jump, call or function address leads into the middle of a wide instruction.
    TargetInsideWide {
        /// The instruction.
        at: SlotIndex,
        /// The slot it leads to.
        target: SlotIndex,
    },
    /// A jump leads into another function.
    JumpOutOfFunction {
        /// The instruction.
        at: SlotIndex,
        /// The slot it leads to.
        target: SlotIndex,
    },
    /// The last instruction of a function is neither `exit` nor an unconditional jump.
    RunsOffEnd {
        /// The function's last instruction.
        at: SlotIndex,
    },
    /// An instruction writes to the frame pointer.
    WritesFramePointer {
        /// The instruction.
        at: SlotIndex,
    },
    /// A map or variable is named by file descriptor, which means nothing outside the kernel.
    Unresolved {
        /// The instruction.
        at: SlotIndex,
    },
}

impl fmt::Display for ProgramError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ProgramError::Empty => f.write_str("there is no code"),
            ProgramError::TooLong { slots } => {
                write!(f, "{slots} slots of code, but a program has at most {MAX_SLOTS}")
            }
            ProgramError::Decode(error) => error.fmt(f),
            ProgramError::TargetOutside { at, target } => {
                write!(f, "slot {at}: leads to slot {target}, which is outside the code")
            }
            ProgramError::TargetInsideWide { at, target } => {
                write!(
                    f,
                    "slot {at}: leads to slot {target}, the second half of a wide instruction"
                )
            }
            ProgramError::JumpOutOfFunction { at, target } => {
                write!(f, "slot {at}: jumps to slot {target}, which is in another function")
            }
            ProgramError::RunsOffEnd { at } => {
                write!(f, "slot {at}: a function must end with exit or an unconditional jump")
            }
            ProgramError::WritesFramePointer { at } => {
                write!(f, "slot {at}: writes to r10, which is read-only")
            }
            ProgramError::Unresolved { at } => {
                write!(f, "slot {at}: names a map or variable by a kernel's number; link it first")
            }
        }
    }
}

impl core::error::Error for ProgramError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        if let ProgramError::Decode(error) = self { Some(error) } else { None }
    }
}

impl Program {
    /// Decodes code and checks its control flow.
    ///
    /// ```
    /// use skep_bpf::{codec::Slot, program::{Bytecode, Program}};
    /// // r0 = 2; exit
    /// let code = [0xb7, 0, 0, 0, 2, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0];
    /// let slots = Slot::from_code(&code).expect("two slots");
    /// let program = Program::new(&Bytecode::from(slots))?;
    /// assert_eq!(program.insns().len(), 2);
    /// # Ok::<(), skep_bpf::program::ProgramError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// The first thing that keeps the code from being a program.
    pub fn new(bytecode: &Bytecode) -> Result<Program, ProgramError> {
        let slots = &bytecode.slots;
        if slots.is_empty() {
            return Err(ProgramError::Empty);
        }
        if slots.len() > MAX_SLOTS {
            return Err(ProgramError::TooLong { slots: slots.len() });
        }
        let (decoded, slot_of, pc_of) = decode_program(slots)?;
        let mut insns = Vec::with_capacity(decoded.len());
        for (insn, &slot) in decoded.into_iter().zip(&slot_of) {
            insns.push(resolve(insn, SlotIndex(slot as usize), &pc_of)?);
        }
        let functions = functions(&insns, &slot_of, &bytecode.debug);
        let (debug, kernel_functions) = (bytecode.debug.clone(), bytecode.kernel_functions.clone());
        let program = Program { insns, slot_of, functions, debug, kernel_functions };
        program.check()?;
        Ok(program)
    }

    /// The instructions.
    #[must_use]
    pub fn insns(&self) -> &[Insn<Pc>] {
        &self.insns
    }

    /// The first slot of an instruction.
    #[must_use]
    pub fn slot(&self, pc: Pc) -> SlotIndex {
        SlotIndex(self.slot_of[pc.index()] as usize)
    }

    /// The instruction that starts at a slot.
    #[must_use]
    pub fn pc_at(&self, slot: SlotIndex) -> Option<Pc> {
        let slot = u32::try_from(slot.0).ok()?;
        self.slot_of.binary_search(&slot).ok().map(Pc::from_index)
    }

    /// The functions by entry; the first is the one that runs.
    #[must_use]
    pub fn functions(&self) -> &[Function] {
        &self.functions
    }

    /// The function that an instruction belongs to.
    #[must_use]
    pub fn function_of(&self, pc: Pc) -> &Function {
        let after = self.functions.partition_point(|function| function.entry <= pc);
        &self.functions[after - 1]
    }

    /// Lines and names.
    #[must_use]
    pub fn debug(&self) -> &DebugInfo {
        &self.debug
    }

    /// The names of the kernel functions that calls refer to, as
    /// [`Bytecode::kernel_functions`].
    #[must_use]
    pub fn kernel_functions(&self) -> &[String] {
        &self.kernel_functions
    }

    /// The code again, with distances for targets.
    #[must_use]
    pub fn offsets(&self, pc: Pc) -> Insn<Offset> {
        let from = i64::from(self.slot_of[pc.index()]);
        let distance = |target: Pc| {
            let to = i64::from(self.slot_of[target.index()]);
            Ok::<_, core::convert::Infallible>(Offset((to - from - 1) as i32))
        };
        match self.insns[pc.index()].try_map(distance) {
            Ok(insn) => insn,
            Err(never) => match never {},
        }
    }

    fn check(&self) -> Result<(), ProgramError> {
        for function in &self.functions {
            let last = Pc(function.end.0 - 1);
            if self.insns[last.index()].falls_through() {
                return Err(ProgramError::RunsOffEnd { at: self.slot(last) });
            }
            for pc in (function.entry.0..function.end.0).map(Pc) {
                let insn = &self.insns[pc.index()];
                let at = self.slot(pc);
                if insn.written() == Some(Reg::R10) {
                    return Err(ProgramError::WritesFramePointer { at });
                }
                if let Some(&target) = insn.jump_target()
                    && !(function.entry..function.end).contains(&target)
                {
                    return Err(ProgramError::JumpOutOfFunction { at, target: self.slot(target) });
                }
            }
        }
        Ok(())
    }
}

/// Marks the second slot of a wide instruction in the map from slots to instructions.
const INSIDE_WIDE: u32 = u32::MAX;

type DecodedProgram = (Vec<Insn<Offset>>, Vec<u32>, Vec<u32>);

fn decode_program(slots: &[Slot]) -> Result<DecodedProgram, ProgramError> {
    let mut decoded = Vec::with_capacity(slots.len());
    let mut slot_of = Vec::with_capacity(slots.len());
    let mut pc_of = Vec::with_capacity(slots.len());
    while pc_of.len() < slots.len() {
        let at = pc_of.len();
        let insn = decode(slots, SlotIndex(at)).map_err(ProgramError::Decode)?;
        pc_of.push(decoded.len() as u32);
        if insn.len_slots() == 2 {
            pc_of.push(INSIDE_WIDE);
        }
        slot_of.push(at as u32);
        decoded.push(insn);
    }
    Ok((decoded, slot_of, pc_of))
}

/// The one place where a distance becomes a position.
fn resolve(insn: Insn<Offset>, at: SlotIndex, pc_of: &[u32]) -> Result<Insn<Pc>, ProgramError> {
    if let Insn::LoadImm64 {
        imm: Imm64::MapByFd(_) | Imm64::MapValueByFd { .. } | Imm64::Variable { .. },
        ..
    } = insn
    {
        return Err(ProgramError::Unresolved { at });
    }
    insn.try_map(|Offset(offset)| {
        let target = at.0 as i64 + 1 + i64::from(offset);
        let slot = usize::try_from(target)
            .ok()
            .filter(|slot| *slot < pc_of.len())
            .ok_or(ProgramError::TargetOutside { at, target })?;
        match pc_of[slot] {
            INSIDE_WIDE => Err(ProgramError::TargetInsideWide { at, target: SlotIndex(slot) }),
            pc => Ok(Pc(pc)),
        }
    })
}

/// A function starts at the first instruction and wherever a call or function address leads.
fn functions(insns: &[Insn<Pc>], slot_of: &[u32], debug: &DebugInfo) -> Vec<Function> {
    let mut entries = BTreeSet::from([Pc::START]);
    entries.extend(insns.iter().filter_map(|insn| insn.function_target().copied()));
    let ends = entries.iter().copied().skip(1).chain([Pc(insns.len() as u32)]);
    entries
        .iter()
        .zip(ends)
        .map(|(&entry, end)| {
            let slot = SlotIndex(slot_of[entry.index()] as usize);
            let name = debug
                .function_at(slot)
                .filter(|(start, _)| *start == slot)
                .map(|(_, name)| String::from(name));
            Function { name, entry, end }
        })
        .collect()
}

impl Insn<Pc> {
    /// The program-local function that the instruction calls.
    #[must_use]
    pub fn local_callee(&self) -> Option<Pc> {
        match self {
            Insn::Call { callee: Callee::Local(target) } => Some(*target),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(slots: &[Slot]) -> Result<Program, ProgramError> {
        Program::new(&Bytecode::from(slots.to_vec()))
    }

    const EXIT: Slot = Slot::new(0x95, 0, 0, 0, 0);

    #[test]
    fn targets_are_instructions() {
        // if r1 == 0 goto the second half of the wide load
        let code =
            [Slot::new(0x15, 1, 0, 1, 0), Slot::new(0x18, 0, 0, 0, 1), Slot::default(), EXIT];
        let error = program(&code).unwrap_err();
        assert_eq!(
            error,
            ProgramError::TargetInsideWide { at: SlotIndex(0), target: SlotIndex(2) }
        );
        let error = program(&[Slot::new(0x05, 0, 0, 5, 0), EXIT]).unwrap_err();
        assert_eq!(error, ProgramError::TargetOutside { at: SlotIndex(0), target: 6 });
        let error = program(&[Slot::new(0x05, 0, 0, -2, 0), EXIT]).unwrap_err();
        assert_eq!(error, ProgramError::TargetOutside { at: SlotIndex(0), target: -1 });
    }

    #[test]
    fn functions_are_found_and_kept_apart() {
        let call = Slot::new(0x85, 0, 1, 0, 1);
        let good = program(&[call, EXIT, EXIT]).unwrap();
        assert_eq!(good.functions().len(), 2);
        let jump_across = [call, Slot::new(0x05, 0, 0, 1, 0), EXIT, EXIT];
        let error = program(&jump_across).unwrap_err();
        assert_eq!(
            error,
            ProgramError::JumpOutOfFunction { at: SlotIndex(1), target: SlotIndex(3) }
        );
        let error = program(&[call, Slot::new(0xb7, 0, 0, 0, 0), EXIT]).unwrap_err();
        assert_eq!(error, ProgramError::RunsOffEnd { at: SlotIndex(1) });
    }

    #[test]
    fn r10_is_read_only() {
        let error = program(&[Slot::new(0xb7, 10, 0, 0, 0), EXIT]).unwrap_err();
        assert_eq!(error, ProgramError::WritesFramePointer { at: SlotIndex(0) });
    }
}
