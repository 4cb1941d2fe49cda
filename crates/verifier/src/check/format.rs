//! The format of `bpf_snprintf`, which is constant and so can be checked here.

use crate::explore::Walk;
use crate::rejection::{Check, Rule, fault};
use crate::state::value::{Kind, Value};
use skep_bpf::insn::Reg;
use skep_bpf::platform::format::Conversions;

/// The size of an argument in bytes.
const ARGUMENT_BYTES: u64 = 8;

impl Walk<'_> {
    /// The format in r3 has conversions that the kernel knows, and no more than arguments: r5 bytes
    /// of them.
    pub(crate) fn check_format(&self) -> Check {
        let (format, size) = (self.state.reg(Reg::R3), self.state.reg(Reg::R5));
        let bytes = size.scalar.tnum().value();
        if !bytes.is_multiple_of(ARGUMENT_BYTES) {
            return fault(
                Rule::HelperArgument,
                format!("R5 is {bytes}, which is no multiple of {ARGUMENT_BYTES}"),
            );
        }
        let found: Result<Vec<_>, _> = Conversions::new(self.constant_string(&format)?).collect();
        if found.is_ok_and(|found| found.len() as u64 <= bytes / ARGUMENT_BYTES) {
            return Ok(());
        }
        fault(Rule::HelperArgument, "Invalid format string")
    }

    /// The string that a pointer to a constant leads to, without its NUL.
    fn constant_string(&self, pointer: &Value) -> Check<&[u8]> {
        let Kind::MapValue(map) = pointer.kind else { return Ok(&[]) };
        let bytes = self.map(map)?.constant_bytes().unwrap_or(&[]);
        let start = pointer.fixed_offset().and_then(|off| usize::try_from(off).ok());
        let string = start.and_then(|start| bytes.get(start..)).unwrap_or(&[]);
        Ok(string.split(|byte| *byte == 0).next().unwrap_or(&[]))
    }
}
