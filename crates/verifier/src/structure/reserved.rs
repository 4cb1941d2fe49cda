//! What the kernel says, once the walk reaches it, of a slot that is not an instruction.

use crate::rejection::{Check, Rule, fault};
use skep_bpf::codec::{DecodeErrorKind, Slot};
use skep_bpf::op::{AluOp, CODE_BITS, SOURCE_X, class, code, mode};

/// Refuses a slot that does not decode.
pub(crate) fn refuse<T>(slot: Slot, kind: DecodeErrorKind) -> Check<T> {
    if let DecodeErrorKind::NoSuchRegister { number, .. } = kind
        && !has_reserved_fields(slot)
    {
        return fault(Rule::Structure, format!("R{number} is invalid"));
    }
    let operation = slot.opcode & CODE_BITS;
    let memory_mode = slot.opcode & mode::BITS;
    let what = match slot.class() {
        class::ALU | class::ALU64 => match operation {
            code::NEG => "BPF_NEG",
            code::END => "BPF_END",
            other if other == AluOp::Mov.row().code => "BPF_MOV",
            _ => "BPF_ALU",
        },
        class::JMP | class::JMP32 => match operation {
            code::CALL => "BPF_CALL",
            code::JA => "BPF_JA",
            code::EXIT => "BPF_EXIT",
            code::JCOND => {
                return fault(
                    Rule::Structure,
                    format!("invalid may_goto off {} imm {}", slot.offset, slot.imm),
                );
            }
            _ => "BPF_JMP/JMP32",
        },
        class::LD if slot.is_wide() => "BPF_LD_IMM64",
        class::LD => "BPF_LD_[ABS|IND]",
        class::LDX => "BPF_LDX",
        class::ST => "BPF_ST",
        _ if memory_mode == mode::ATOMIC => {
            return match kind {
                DecodeErrorKind::UnknownOpcode(_) => {
                    fault(Rule::Atomic, "invalid atomic operand size")
                }
                _ => fault(
                    Rule::Atomic,
                    format!("BPF_ATOMIC uses invalid atomic opcode {:02x}", slot.imm),
                ),
            };
        }
        _ => "BPF_STX",
    };
    fault(Rule::Structure, format!("{what} uses reserved fields"))
}

/// Arithmetic's fields are looked at before its registers.
fn has_reserved_fields(slot: Slot) -> bool {
    let is_x = slot.opcode & SOURCE_X != 0;
    matches!(slot.class(), class::ALU | class::ALU64)
        && if is_x { slot.imm != 0 } else { slot.src() != 0 }
}
