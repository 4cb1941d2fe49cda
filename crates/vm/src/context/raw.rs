//! Raw memory: `r1` is its address, `r2` its length. For code without a program type.

use skep_bpf::platform::ProgType;

use super::{Context, ContextError, CpuState, Kind, Machine};

/// Bytes that a program can read and write; after a run they are as the program left them.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct RawMemory {
    /// The bytes. Without any, `r1` and `r2` are 0.
    pub bytes: Vec<u8>,
}

impl Context for RawMemory {
    /// It suits all programs: a program of a type reads its context where it lies in the bytes.
    fn suits(&self, _prog_type: ProgType) -> bool {
        true
    }

    fn enter(&mut self, machine: &Machine, cpu: &mut CpuState) -> Result<[u64; 2], ContextError> {
        let memory = machine.memory();
        let len = u32::try_from(self.bytes.len()).map_err(|_| {
            let (len, max) = (self.bytes.len(), u32::MAX as usize);
            ContextError::PacketLength { kind: "raw memory", len, min: 0, max }
        })?;
        if len == 0 {
            cpu.input.begin(Kind::Nothing, 0);
            return Ok([0, 0]);
        }
        let start = cpu.input.memory_area(memory, len)?;
        cpu.input.begin(Kind::Memory, start);
        memory.window().write(start, &self.bytes).map_err(ContextError::fault)?;
        Ok([start.into(), len.into()])
    }

    fn leave(&mut self, machine: &Machine, cpu: &mut CpuState) -> Result<(), ContextError> {
        let Some(region) = cpu.input.regions().next() else { return Ok(()) };
        machine.memory().window().read(region.start, &mut self.bytes).map_err(ContextError::fault)
    }
}
