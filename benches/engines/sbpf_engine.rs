//! solana-sbpf's interpreter and compiler, with instruction meter and address translation, as by
//! default.
//!
//! Version 3 and later of its instruction set take what clang writes for `-mcpu=v3`: 32-bit jumps,
//! calls by distance, memory instructions in their Linux classes. Its verifier is left out, which
//! costs nothing at run time. One difference remains: 32-bit additions, subtractions and
//! multiplications extend their result by its sign where Linux extends by zeros. Kernels whose
//! result depends on it get a 32-bit move after each; the engine is then charged per instruction
//! that it executed, so that the moves are not held against it.

#![allow(unsafe_code, reason = "solana-sbpf maps memory by raw pointers")]

use std::convert::Infallible;
use std::ptr::NonNull;
use std::sync::Arc;

use skep_bpf::codec::Slot;
use skep_cli::measure::{Outcome, Subject};
use solana_sbpf::aligned_memory::AlignedMemory;
use solana_sbpf::ebpf;
use solana_sbpf::elf::Executable;
use solana_sbpf::error::StableResult;
use solana_sbpf::memory_region::{MemoryMapping, MemoryRegion};
use solana_sbpf::program::{
    BuiltinFunctionDefinition, BuiltinProgram, FunctionRegistry, SBPFVersion,
};
use solana_sbpf::vm::{CallFrame, ContextObject, EbpfVm, ExecutionMode};

use crate::kernel::{HELPER, Kernel};

/// How a version of the instruction set reaches memory: by ranges (3) or by the upper half of an
/// address (4). Both are measured; the instruction sets are the same.
pub(crate) use solana_sbpf::program::SBPFVersion as Version;

/// The meter's limit: as much as our engine gets.
const LIMIT: u64 = skep::run::DEFAULT_FUEL;

const HELPER_NAME: &str = "helper";

struct Meter {
    remaining: u64,
    mapping: NonNull<MemoryMapping>,
}

impl ContextObject for Meter {
    fn consume(&mut self, amount: u64) {
        self.remaining = self.remaining.saturating_sub(amount);
    }

    fn get_remaining(&self) -> u64 {
        self.remaining
    }

    fn active_mapping_ptr(&mut self) -> NonNull<MemoryMapping> {
        self.mapping
    }
}

struct Zero;

impl BuiltinFunctionDefinition<Meter> for Zero {
    type Error = Infallible;

    fn rust(_: &mut Meter, _: u64, _: u64, _: u64, _: u64, _: u64) -> Result<u64, Infallible> {
        Ok(0)
    }
}

/// A kernel on solana-sbpf.
pub(crate) struct Sbpf {
    loader: Arc<BuiltinProgram<Meter>>,
    executable: Executable<Meter>,
    frames: Vec<CallFrame>,
    stack_bytes: usize,
    // The mapping leads into the memory and the stack; all live as long as this.
    mapping: Box<MemoryMapping>,
    compiled: bool,
    memory: AlignedMemory<{ ebpf::HOST_ALIGN }>,
    _stack: AlignedMemory<{ ebpf::HOST_ALIGN }>,
}

impl Sbpf {
    /// A kernel as clang wrote it or, if that gives another outcome, with zero extensions.
    pub(crate) fn new(
        kernel: &Kernel,
        version: Version,
        compiled: bool,
        outcome: Outcome,
        memory: &[u8],
    ) -> Result<Sbpf, String> {
        let slots = kernel.slots()?;
        let mut sbpf = Sbpf::load(kernel, version, compiled, &slots)?;
        // With wrong values a kernel may well run out of its memory.
        let same =
            sbpf.run().is_ok_and(|found| found == outcome) && sbpf.memory.as_slice() == memory;
        if same { Ok(sbpf) } else { Sbpf::load(kernel, version, compiled, &zero_extended(&slots)?) }
    }

    fn load(
        kernel: &Kernel,
        version: SBPFVersion,
        compiled: bool,
        slots: &[Slot],
    ) -> Result<Sbpf, String> {
        let mut loader = BuiltinProgram::<Meter>::new_mock();
        Zero::register(&mut loader, HELPER_NAME).map_err(|error| error.to_string())?;
        let loader = Arc::new(loader);
        let text: Vec<u8> = slots.iter().copied().map(by_name).flat_map(Slot::to_bytes).collect();
        let registry = FunctionRegistry::default();
        let executable = Executable::from_text_bytes(&text, Arc::clone(&loader), version, registry)
            .map_err(|error| error.to_string())?;
        if compiled {
            executable.jit_compile().map_err(|error| error.to_string())?;
        }
        let config = executable.get_config();
        let mut stack = AlignedMemory::zero_filled(config.stack_size());
        let mut memory = AlignedMemory::from_slice(&kernel.memory());
        let regions = vec![
            executable.get_ro_region(),
            MemoryRegion::new(&raw mut *stack.as_slice_mut(), ebpf::MM_STACK_START),
            MemoryRegion::new_empty(ebpf::MM_HEAP_START),
            MemoryRegion::new(&raw mut *memory.as_slice_mut(), ebpf::MM_INPUT_START),
        ];
        // SAFETY: code, stack and memory are kept beside the mapping and hold plain bytes.
        let mapping = unsafe { MemoryMapping::new(regions, config, version) };
        let mapping = Box::new(mapping.map_err(|error| error.to_string())?);
        let frames = vec![CallFrame::default(); config.max_call_depth];
        let stack_bytes = config.stack_size();
        Ok(Sbpf {
            loader,
            executable,
            frames,
            stack_bytes,
            mapping,
            compiled,
            memory,
            _stack: stack,
        })
    }
}

impl Subject for Sbpf {
    fn run(&mut self) -> Result<Outcome, String> {
        let mapping = NonNull::from(&mut *self.mapping);
        let mut meter = Meter { remaining: LIMIT, mapping };
        let version = self.executable.get_sbpf_version();
        let loader = Arc::clone(&self.loader);
        let mut vm = EbpfVm::new(loader, version, &mut meter, self.stack_bytes);
        vm.registers[1] = ebpf::MM_INPUT_START;
        let mut mode = if self.compiled { ExecutionMode::Jit } else { ExecutionMode::Interpreted };
        match vm.execute_program(&self.executable, &mut mode, &mut self.frames) {
            (insns, StableResult::Ok(r0)) => Ok(Outcome { r0, insns: Some(insns) }),
            (_, StableResult::Err(error)) => Err(error.to_string()),
        }
    }

    fn memory(&self) -> Result<Vec<u8>, String> {
        Ok(self.memory.as_slice().to_vec())
    }
}

const CALL: u8 = 0x85;
const MOV32_REG: u8 = 0xbc;

/// Helpers go by a hash of their name there.
fn by_name(slot: Slot) -> Slot {
    if slot.opcode == CALL && slot.src() == 0 && slot.imm as u32 == HELPER {
        let key = ebpf::hash_symbol_name(HELPER_NAME.as_bytes());
        return Slot::new(CALL, slot.dst(), 0, slot.offset, key as i32);
    }
    slot
}

/// Whether the engine extends the result by its sign.
fn extends_by_sign(slot: Slot) -> bool {
    // ADD, SUB and MUL of class ALU, with an immediate and with a register.
    matches!(slot.opcode, 0x04 | 0x0c | 0x14 | 0x1c | 0x24 | 0x2c)
}

/// The code with a zero extension after each instruction that extends by sign.
fn zero_extended(slots: &[Slot]) -> Result<Vec<Slot>, String> {
    // The second slot of a wide instruction has opcode 0, which is moved like any other.
    // Where each slot goes.
    let mut moved = Vec::with_capacity(slots.len());
    let mut next: i64 = 0;
    for &slot in slots {
        moved.push(next);
        next += if extends_by_sign(slot) { 2 } else { 1 };
    }
    let distance = |from: usize, distance: i64| {
        let target = usize::try_from(from as i64 + 1 + distance).ok();
        let target = target.and_then(|target| moved.get(target));
        target.map(|target| target - moved[from] - 1).ok_or("a jump out of the code")
    };
    let mut code = Vec::new();
    for (at, &slot) in slots.iter().enumerate() {
        let (mut offset, mut imm) = (slot.offset, slot.imm);
        let is_jump = matches!(slot.opcode & 7, 5 | 6) && !matches!(slot.opcode, 0x85 | 0x95);
        if is_jump {
            let far = distance(at, slot.offset.into())?;
            offset = i16::try_from(far).map_err(|_| "a jump became too long")?;
        } else if slot.opcode == CALL && slot.src() == 1 {
            let far = distance(at, slot.imm.into())?;
            imm = i32::try_from(far).map_err(|_| "a call became too long")?;
        }
        code.push(Slot::new(slot.opcode, slot.dst(), slot.src(), offset, imm));
        if extends_by_sign(slot) {
            code.push(Slot::new(MOV32_REG, slot.dst(), slot.dst(), 0, 0));
        }
    }
    Ok(code)
}
