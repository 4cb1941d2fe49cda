//! What a function does with its frame.

use skep_bpf::insn::{Insn, Mem, Reg};
use skep_bpf::program::Pc;

use super::effects;
use crate::abi::FRAME_BYTES;

/// What a function does with its frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct StackUse {
    /// How many bytes below `r10` the function can touch through `r10`: those of its accesses, or
    /// the whole frame if the address escapes.
    pub bytes: u32,
    /// Whether `r10` is used other than as the base of an access.
    pub escapes: bool,
    /// Whether the function reads through `r10`, or the address escapes.
    pub reads: bool,
}

impl StackUse {
    pub(super) fn see(&mut self, insn: &Insn<Pc>) {
        let access = match *insn {
            Insn::Load { mem, .. } | Insn::LoadAcquire { mem, .. } | Insn::Atomic { mem, .. } => {
                self.reads |= mem.base == Reg::R10;
                Some(mem)
            }
            Insn::Store { mem, .. } | Insn::StoreRelease { mem, .. } => Some(mem),
            _ => None,
        };
        if let Some(Mem { base: Reg::R10, offset }) = access {
            let below = u32::try_from(-i32::from(offset)).unwrap_or(0);
            self.bytes = self.bytes.max(below.next_multiple_of(8));
        }
        if effects::takes_frame_address(insn) {
            self.escapes = true;
            self.reads = true;
            self.bytes = self.bytes.max(FRAME_BYTES);
        }
    }
}
