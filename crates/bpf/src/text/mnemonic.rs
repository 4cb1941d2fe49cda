//! The mnemonic dialect of ubpf's assembler and of the public bpf_conformance suite.
//!
//! `mov %r2, 15`, `jne %r0, 15, +3`, `lock cmpxchg [%r10-8], %r1`. The suite's spellings are
//! printed where it has one; [`crate::text::parse`] reads the others as well. Instructions that
//! the suite lacks have names in its manner, so that every instruction has a text of its own.

use core::fmt;

use super::c_like::{address_spaces, write_imm64_form};
use super::words;
use crate::insn::{Callee, Extend, HelperId, Imm64, Insn, Mem, Offset, PacketIndex, Src};
use crate::op::Width;

/// An instruction in the mnemonic dialect.
///
/// ```
/// use skep_bpf::insn::{Insn, Mem, Reg};
/// use skep_bpf::op::{AtomicOp, Width};
/// use skep_bpf::text::mnemonic::Mnemonic;
/// let mem = Mem { base: Reg::R10, offset: -8 };
/// let insn =
///     Insn::Atomic { op: AtomicOp::Cmpxchg, width: Width::W64, mem, src: Reg::R1 };
/// assert_eq!(Mnemonic(&insn).to_string(), "lock cmpxchg [%r10-8], %r1");
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Mnemonic<'a>(pub &'a Insn<Offset>);

/// A memory operand in brackets.
struct Brackets(Mem);

impl fmt::Display for Brackets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Mem { base, offset } = self.0;
        if offset == 0 { write!(f, "[%{base}]") } else { write!(f, "[%{base}{offset:+}]") }
    }
}

struct Operand(Src);

impl fmt::Display for Operand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Src::Imm(imm) => imm.fmt(f),
            Src::Reg(reg) => write!(f, "%{reg}"),
        }
    }
}

/// What follows the name of an operation of a width.
fn suffix(width: Width) -> &'static str {
    match width {
        Width::W32 => words::WIDTH_32,
        Width::W64 => "",
    }
}

impl fmt::Display for Mnemonic<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self.0 {
            Insn::Alu { op, width, dst, src } => {
                write!(f, "{}{} %{dst}, {}", op.row().mnemonic, suffix(width), Operand(src))
            }
            Insn::Neg { width, dst } => write!(f, "{}{} %{dst}", words::NEG, suffix(width)),
            Insn::Movsx { op, dst, src } => write!(f, "{} %{dst}, %{src}", op.row().mnemonic),
            Insn::Endian { op, bits, dst } => {
                write!(f, "{}{} %{dst}", op.row().mnemonic, bits.row().bits)
            }
            Insn::AddrSpaceCast { op, dst, src } => {
                let (to, from) = address_spaces(op);
                write!(f, "{} %{dst}, %{src}, {to}, {from}", words::ADDR_SPACE_CAST)
            }
            Insn::LoadImm64 { dst, imm } => {
                write!(f, "{} %{dst}, ", words::LDDW)?;
                match imm {
                    Imm64::Value(value) => write!(f, "{value:#x}"),
                    _ => write_imm64_form(f, &imm),
                }
            }
            Insn::Load { size, extend, dst, mem } => {
                let word = match extend {
                    Extend::Zero => words::LDX,
                    Extend::Sign => words::LDXS,
                };
                write!(f, "{word}{} %{dst}, {}", size.row().suffix, Brackets(mem))
            }
            Insn::Store { size, mem, src } => {
                let word = match src {
                    Src::Imm(_) => words::ST,
                    Src::Reg(_) => words::STX,
                };
                write!(f, "{word}{} {}, {}", size.row().suffix, Brackets(mem), Operand(src))
            }
            Insn::Atomic { op, width, mem, src } => {
                let name = op.row().mnemonic;
                write!(f, "{} {name}{} {}, %{src}", words::LOCK, suffix(width), Brackets(mem))
            }
            Insn::LoadAcquire { size, dst, mem } => {
                let (word, size) = (words::LOAD_ACQUIRE, size.row().suffix);
                write!(f, "{word}_{size} %{dst}, {}", Brackets(mem))
            }
            Insn::StoreRelease { size, mem, src } => {
                let (word, size) = (words::STORE_RELEASE, size.row().suffix);
                write!(f, "{word}_{size} {}, %{src}", Brackets(mem))
            }
            Insn::LoadPacket { size, index, imm } => {
                let size = size.size().row().suffix;
                match index {
                    PacketIndex::Absolute => write!(f, "{}{size} {imm}", words::LDABS),
                    PacketIndex::Indirect(reg) => {
                        write!(f, "{}{size} %{reg}, {imm}", words::LDIND)
                    }
                }
            }
            Insn::Jump { wide, target } => {
                let width = if wide { words::WIDTH_32 } else { "" };
                write!(f, "{}{width} {:+}", words::JA, target.0)
            }
            Insn::Branch { cond, width, dst, src, target } => {
                let (name, src) = (cond.row().mnemonic, Operand(src));
                write!(f, "{name}{} %{dst}, {src}, {:+}", suffix(width), target.0)
            }
            Insn::MayGoto { target } => write!(f, "{} {:+}", words::MAY_GOTO, target.0),
            Insn::Call { callee } => write_call(f, &callee),
            Insn::Exit => f.write_str(words::EXIT),
        }
    }
}

fn write_call(f: &mut fmt::Formatter<'_>, callee: &Callee<Offset>) -> fmt::Result {
    let call = words::CALL;
    match callee {
        Callee::Helper(HelperId(id)) => write!(f, "{call} {id}"),
        Callee::Local(target) => write!(f, "{call} {} {:+}", words::LOCAL, target.0),
        Callee::Kfunc { btf_id, btf_index: 0 } => write!(f, "{call} {} {btf_id}", words::RUNTIME),
        Callee::Kfunc { btf_id, btf_index } => {
            write!(f, "{call} {} {btf_id}, {btf_index}", words::RUNTIME)
        }
        Callee::Reg(reg) => write!(f, "{} %{reg}", words::CALLX),
    }
}
