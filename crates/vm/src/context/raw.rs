//! Raw memory: `r1` is its address, `r2` its length. For code without a program type.

use super::{Context, ContextError, CpuState, Machine};
use crate::memory::Perm;
use crate::region::Purpose;

/// Bytes that a program can read and write; after a run they are as the program left them.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct RawMemory {
    /// The bytes. Without any, `r1` and `r2` are 0.
    pub bytes: Vec<u8>,
}

impl Context for RawMemory {
    fn enter(&mut self, machine: &Machine, cpu: &mut CpuState) -> Result<[u64; 2], ContextError> {
        let memory = machine.memory();
        let len = u32::try_from(self.bytes.len()).map_err(|_| {
            let (len, max) = (self.bytes.len(), u32::MAX as usize);
            ContextError::PacketLength { kind: "raw memory", len, min: 0, max }
        })?;
        if cpu.input.memory.is_none_or(|(_, have)| have != len) {
            cpu.input.free(memory);
            if len != 0 {
                let start = memory.alloc(len, Perm::ReadWrite, Purpose::Memory);
                let start = start.map_err(|error| ContextError::Memory(error.to_string()))?;
                cpu.input.memory = Some((start, len));
            }
        }
        let Some((start, len)) = cpu.input.memory else { return Ok([0, 0]) };
        memory.window().write(start, &self.bytes).map_err(ContextError::fault)?;
        Ok([start.into(), len.into()])
    }

    fn leave(&mut self, machine: &Machine, cpu: &mut CpuState) -> Result<(), ContextError> {
        let Some((start, _)) = cpu.input.memory else { return Ok(()) };
        machine.memory().window().read(start, &mut self.bytes).map_err(ContextError::fault)
    }
}
