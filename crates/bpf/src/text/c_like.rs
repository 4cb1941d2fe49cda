//! The C-like dialect in two styles: the kernel's and a decimal one.
//!
//! The kernel's style is that of the verifier's log and of bpftool (Linux, `kernel/bpf/disasm.c`
//! describes it). The decimal style is LLVM's with decimal numbers and without its losses: every
//! instruction has a text of its own that [`crate::text::parse`] reads back. LLVM's own style is
//! [`crate::text::llvm`]'s.

use alloc::borrow::Cow;
use core::fmt::{self, Display};

use super::words;
use crate::codec::encode;
use crate::insn::{Callee, Extend, HelperId, Imm64, Insn, Mem, Offset, PacketIndex, Reg, Src};
use crate::op::{AddrSpaceCast, AtomicOp, Size, Width};
use crate::platform;

/// Names for what instructions give only numbers of.
pub trait Names {
    /// The name of a called function.
    fn callee(&self, callee: &Callee<Offset>) -> Option<Cow<'_, str>> {
        let _ = callee;
        None
    }

    /// What to print for the value of a 64-bit immediate load.
    fn imm64(&self, imm: &Imm64<Offset>) -> Option<Cow<'_, str>> {
        let _ = imm;
        None
    }
}

/// No names at all.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoNames;

impl Names for NoNames {}

/// The names of Linux's helper functions.
#[derive(Clone, Copy, Debug, Default)]
pub struct LinuxNames;

impl Names for LinuxNames {
    fn callee(&self, callee: &Callee<Offset>) -> Option<Cow<'_, str>> {
        match callee {
            // The kernel's list of names starts with that of the number that is none.
            Callee::Helper(HelperId(0)) => Some(Cow::Borrowed("bpf_unspec")),
            Callee::Helper(HelperId(id)) => {
                platform::HelperId(*id).row().map(|row| Cow::Borrowed(row.name))
            }
            Callee::Local(_) | Callee::Kfunc { .. } | Callee::Reg(_) => None,
        }
    }
}

/// An instruction in the decimal style, such as `r2 = 15` and `if r1 s> 5 goto +3`.
///
/// ```
/// use skep_bpf::insn::{Insn, Reg, Src};
/// use skep_bpf::op::{AluOp, Width};
/// use skep_bpf::text::c_like::Decimal;
/// let insn = Insn::Alu { op: AluOp::Mov, width: Width::W64, dst: Reg::R2, src: Src::Imm(15) };
/// assert_eq!(Decimal(&insn).to_string(), "r2 = 15");
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Decimal<'a>(pub &'a Insn<Offset>);

impl fmt::Display for Decimal<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_insn(f, self.0, Style::Decimal)
    }
}

/// An instruction in the kernel's style, such as `r2 = 15` and `if r1 s> 0x5 goto pc+3`.
///
/// With the alternate flag (`{:#}`) the opcode stands before it, as the kernel always prints it:
/// `(b7) r2 = 15`.
#[derive(Clone, Copy)]
pub struct Kernel<'a> {
    /// The instruction.
    pub insn: &'a Insn<Offset>,
    /// Names of functions and values.
    pub names: &'a dyn Names,
}

impl fmt::Display for Kernel<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if f.alternate() {
            write!(f, "({:02x}) ", opcode(self.insn))?;
        }
        write_insn(f, self.insn, Style::Kernel(self.names))
    }
}

impl fmt::Debug for Kernel<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The opcode, which does not depend on the target.
fn opcode(insn: &Insn<Offset>) -> u8 {
    let near = insn.try_map(|_| Ok::<_, core::convert::Infallible>(Offset(0)));
    let Ok(near) = near;
    encode(&near).ok().and_then(|code| code.slots().next()).map_or(0, |slot| slot.opcode)
}

#[derive(Clone, Copy)]
enum Style<'a> {
    Decimal,
    Kernel(&'a dyn Names),
}

/// A register under the name that it has at a width.
pub(crate) struct Named(pub(crate) Width, pub(crate) Reg);

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bank = match self.0 {
            Width::W32 => 'w',
            Width::W64 => 'r',
        };
        write!(f, "{bank}{}", self.1.index())
    }
}

/// The second operand at a width.
struct Operand(Width, Src);

impl fmt::Display for Operand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.1 {
            Src::Imm(imm) => imm.fmt(f),
            Src::Reg(reg) => Named(self.0, reg).fmt(f),
        }
    }
}

/// A register plus an offset, without parentheses.
struct Address<'a>(Style<'a>, Mem);

impl fmt::Display for Address<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Mem { base, offset } = self.1;
        match self.0 {
            Style::Decimal if offset < 0 => write!(f, "{base} - {}", offset.unsigned_abs()),
            Style::Decimal => write!(f, "{base} + {offset}"),
            Style::Kernel(_) => write!(f, "{base} {offset:+}"),
        }
    }
}

/// The target of a jump.
struct To<'a>(Style<'a>, Offset);

impl fmt::Display for To<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Style::Kernel(_) = self.0 {
            f.write_str(words::PC)?;
        }
        write!(f, "{:+}", self.1.0)
    }
}

fn write_insn(f: &mut fmt::Formatter<'_>, insn: &Insn<Offset>, style: Style<'_>) -> fmt::Result {
    let address = |mem| Address(style, mem);
    let to = |offset| To(style, offset);
    match *insn {
        Insn::Alu { op, width, dst, src } => {
            write!(f, "{} {} {}", Named(width, dst), op.row().symbol, Operand(width, src))
        }
        Insn::Neg { width, dst } => write!(f, "{0} = -{0}", Named(width, dst)),
        Insn::Movsx { op, dst, src } => {
            let row = op.row();
            write!(f, "{} = {}{}", Named(row.width, dst), row.cast, Named(row.width, src))
        }
        Insn::Endian { op, bits, dst } => {
            write!(f, "{dst} = {}{} {dst}", op.row().mnemonic, bits.row().bits)
        }
        Insn::AddrSpaceCast { op, dst, src } => {
            let (to, from) = address_spaces(op);
            write!(f, "{dst} = {}({src}, {to}, {from})", words::ADDR_SPACE_CAST)
        }
        Insn::LoadImm64 { dst, imm } => {
            write!(f, "{dst} = ")?;
            write_imm64(f, &imm, style)
        }
        Insn::Load { size, extend, dst, mem } => {
            let c_type = match extend {
                Extend::Zero => size.row().unsigned,
                Extend::Sign => size.row().signed,
            };
            write!(f, "{dst} = *({c_type} *)({})", address(mem))
        }
        Insn::Store { size, mem, src } => {
            let src = Operand(Width::W64, src);
            write!(f, "*({} *)({}) = {src}", size.row().unsigned, address(mem))
        }
        Insn::Atomic { op, width, mem, src } => {
            write_atomic(f, op, width, &address(mem), src, style)
        }
        Insn::LoadAcquire { size, dst, mem } => {
            let (name, c_type) = (words::LOAD_ACQUIRE, size.row().unsigned);
            write!(f, "{dst} = {name}(({c_type} *)({}))", address(mem))
        }
        Insn::StoreRelease { size, mem, src } => {
            let (name, c_type) = (words::STORE_RELEASE, size.row().unsigned);
            write!(f, "{name}(({c_type} *)({}), {src})", address(mem))
        }
        Insn::LoadPacket { size, index, imm } => {
            write!(f, "r0 = *({} *){}[", size.size().row().unsigned, words::SKB)?;
            match index {
                PacketIndex::Absolute => write!(f, "{imm}]"),
                PacketIndex::Indirect(reg) => write!(f, "{reg} + {imm}]"),
            }
        }
        Insn::Jump { wide, target } => {
            let word = if wide { words::GOTOL } else { words::GOTO };
            write!(f, "{word} {}", to(target))
        }
        Insn::Branch { cond, width, dst, src, target } => {
            write!(f, "{} {} {} ", words::IF, Named(width, dst), cond.row().symbol)?;
            match (style, src) {
                (Style::Kernel(_), Src::Imm(imm)) => write!(f, "{imm:#x}")?,
                (Style::Decimal, Src::Imm(_)) | (_, Src::Reg(_)) => {
                    Operand(width, src).fmt(f)?;
                }
            }
            write!(f, " {} {}", words::GOTO, to(target))
        }
        Insn::MayGoto { target } => write!(f, "{} {}", words::MAY_GOTO, to(target)),
        Insn::Call { callee } => write_call(f, &callee, style),
        Insn::Exit => f.write_str(words::EXIT),
    }
}

/// The destination's and the source's address space.
pub(crate) fn address_spaces(op: AddrSpaceCast) -> (u32, u32) {
    let imm = op.row().imm as u32;
    (imm >> 16, imm & 0xffff)
}

fn write_imm64(f: &mut fmt::Formatter<'_>, imm: &Imm64<Offset>, style: Style<'_>) -> fmt::Result {
    match style {
        Style::Kernel(names) => {
            if let Some(name) = names.imm64(imm) {
                return f.write_str(&name);
            }
            let (low, high) = imm64_halves(imm);
            write!(f, "{:#x}", u64::from(high as u32) << 32 | u64::from(low as u32))
        }
        Style::Decimal => {
            if let Imm64::Value(value) = imm {
                write!(f, "{}", *value as i64)?;
            } else {
                write_imm64_form(f, imm)?;
            }
            write!(f, " {}", words::LL)
        }
    }
}

/// Writes a form other than a plain number as a function of its operands.
pub(crate) fn write_imm64_form(f: &mut fmt::Formatter<'_>, imm: &Imm64<Offset>) -> fmt::Result {
    let name = imm.kind().row().name;
    match *imm {
        Imm64::Value(value) => write!(f, "{name}({value})"),
        Imm64::MapByFd(fd) => write!(f, "{name}({fd})"),
        Imm64::MapValueByFd { fd, offset } => write!(f, "{name}({fd}, {offset})"),
        Imm64::Variable { btf_id, btf_fd } => write!(f, "{name}({btf_id}, {btf_fd})"),
        Imm64::Code(Offset(offset)) => write!(f, "{name}({offset})"),
        Imm64::MapByIdx(index) => write!(f, "{name}({index})"),
        Imm64::MapValueByIdx { index, offset } => write!(f, "{name}({index}, {offset})"),
    }
}

/// The immediates of both slots.
fn imm64_halves(imm: &Imm64<Offset>) -> (i32, i32) {
    let insn = Insn::LoadImm64 { dst: Reg::R0, imm: *imm };
    let mut slots = encode(&insn).into_iter().flat_map(|code| code.slots());
    let mut half = || slots.next().map_or(0, |slot| slot.imm);
    (half(), half())
}

fn write_atomic(
    f: &mut fmt::Formatter<'_>,
    op: AtomicOp,
    width: Width,
    address: &Address<'_>,
    src: Reg,
    style: Style<'_>,
) -> fmt::Result {
    let (symbol, is_64) = (op.row().symbol, width == Width::W64);
    let c_type = if is_64 { Size::Dw } else { Size::W }.row().unsigned;
    let named = |reg| match style {
        // LLVM's names of 32-bit forms go with 32-bit registers.
        Style::Decimal => Named(width, reg),
        Style::Kernel(_) => Named(Width::W64, reg),
    };
    let exchange_suffix = if is_64 { words::SUFFIX_64 } else { words::SUFFIX_32 };
    let prefix = match style {
        Style::Kernel(_) if is_64 => words::ATOMIC64,
        Style::Kernel(_) | Style::Decimal => words::ATOMIC,
    };
    let (old, operand) = (named(src), named(src));
    match (op, style) {
        (AtomicOp::Add | AtomicOp::Or | AtomicOp::And | AtomicOp::Xor, _) => {
            write!(f, "{} *({c_type} *)({address}) {symbol} {operand}", words::LOCK)
        }
        (AtomicOp::Xchg, Style::Decimal) => {
            write!(f, "{old} = {symbol}{exchange_suffix}({address}, {operand})")
        }
        (AtomicOp::Cmpxchg, Style::Decimal) => {
            let old = named(Reg::R0);
            write!(f, "{old} = {symbol}{exchange_suffix}({address}, {old}, {operand})")
        }
        (AtomicOp::Cmpxchg, Style::Kernel(_)) => {
            let old = named(Reg::R0);
            write!(f, "{old} = {prefix}{symbol}(({c_type} *)({address}), {old}, {operand})")
        }
        (
            AtomicOp::FetchAdd
            | AtomicOp::FetchOr
            | AtomicOp::FetchAnd
            | AtomicOp::FetchXor
            | AtomicOp::Xchg,
            _,
        ) => write!(f, "{old} = {prefix}{symbol}(({c_type} *)({address}), {operand})"),
    }
}

fn write_call(
    f: &mut fmt::Formatter<'_>,
    callee: &Callee<Offset>,
    style: Style<'_>,
) -> fmt::Result {
    if let Callee::Reg(reg) = callee {
        return write!(f, "{} {reg}", words::CALLX);
    }
    write!(f, "{} ", words::CALL)?;
    let Style::Kernel(names) = style else {
        return match callee {
            Callee::Helper(HelperId(id)) => id.fmt(f),
            Callee::Local(target) => write!(f, "{} {}", words::LOCAL, To(style, *target)),
            Callee::Kfunc { btf_id, btf_index: 0 } => write!(f, "{}({btf_id})", words::KFUNC),
            Callee::Kfunc { btf_id, btf_index } => {
                write!(f, "{}({btf_id}, {btf_index})", words::KFUNC)
            }
            Callee::Reg(reg) => reg.fmt(f),
        };
    };
    let name = names.callee(callee);
    match callee {
        Callee::Local(target) => match name {
            // bpftool puts a subprogram's name where the distance stands otherwise.
            Some(name) => write!(f, "{}{name}", words::PC),
            None => To(style, *target).fmt(f),
        },
        Callee::Helper(HelperId(id)) => {
            let name = name.as_deref().unwrap_or(words::UNKNOWN_HELPER);
            write!(f, "{name}#{}", *id as i32)
        }
        Callee::Kfunc { btf_id, .. } => {
            let name = name.as_deref().unwrap_or(words::KERNEL_FUNCTION);
            write!(f, "{name}#{btf_id}")
        }
        Callee::Reg(reg) => reg.fmt(f),
    }
}

#[cfg(test)]
mod tests;
