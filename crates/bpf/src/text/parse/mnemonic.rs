//! The mnemonic dialect, in the spellings of bpf_conformance, ubpf and rbpf.

use alloc::borrow::ToOwned;

use super::call::{address_spaces, imm64_form};
use super::error::{AsmErrorKind, Needed};
use super::scan::{Field32, LineError, Named, Parsed, Scanner};
use super::{Target, target};
use crate::insn::{Extend, Imm64, Insn, Mem, PacketIndex, PacketSize, Reg, Src};
use crate::op::{AluOp, AtomicOp, Cond, Endian, Movsx, Size, SwapBits, Width};
use crate::text::words;

type AsmInsn<'a> = Insn<Target<'a>>;

/// What a mnemonic stands for, before its operands.
#[derive(Clone, Copy)]
enum Operation {
    Alu(AluOp, Width),
    Neg(Width),
    Movsx(Movsx),
    Endian(Endian, SwapBits),
    AddrSpaceCast,
    LoadImm64,
    Load(Size, Extend),
    StoreImm(Size),
    StoreReg(Size),
    Lock,
    LoadAcquire(Size),
    StoreRelease(Size),
    LoadAbsolute(PacketSize),
    LoadIndirect(PacketSize),
    Jump { wide: bool },
    Branch(Cond, Width),
}

/// An instruction of the mnemonic dialect.
pub(super) fn instruction<'a>(scanner: &mut Scanner<'a>) -> Parsed<AsmInsn<'a>> {
    let at = scanner.at();
    let Some(word) = scanner.peek_word() else {
        return Err(scanner.unexpected(Needed::Instruction));
    };
    let Some(operation) = operation(word) else {
        let name = word.to_owned();
        return Err(LineError { at, kind: AsmErrorKind::UnknownInstruction { name } });
    };
    scanner.word();
    operands(scanner, operation)
}

fn operation(word: &str) -> Option<Operation> {
    match word {
        words::ADDR_SPACE_CAST => return Some(Operation::AddrSpaceCast),
        words::LDDW => return Some(Operation::LoadImm64),
        words::LOCK => return Some(Operation::Lock),
        words::JA => return Some(Operation::Jump { wide: false }),
        _ => {}
    }
    if word.strip_prefix(words::JA) == Some(words::WIDTH_32) {
        return Some(Operation::Jump { wide: true });
    }
    memory_operation(word).or_else(|| arithmetic(word))
}

/// The width that a suffix says; none is 64 bits.
fn width_of(suffix: &str) -> Option<Width> {
    match suffix {
        words::WIDTH_32 => Some(Width::W32),
        "" | words::WIDTH_64 => Some(Width::W64),
        _ => None,
    }
}

fn arithmetic(word: &str) -> Option<Operation> {
    if let Some(op) = Movsx::ALL.iter().copied().find(|op| op.row().mnemonic == word) {
        return Some(Operation::Movsx(op));
    }
    if let Some(width) = word.strip_prefix(words::NEG).and_then(width_of) {
        return Some(Operation::Neg(width));
    }
    let endian = Endian::ALL.iter().copied().find_map(|op| {
        let name = op.row().mnemonic;
        let also = if op == Endian::Bswap { words::SWAP } else { name };
        let bits = word.strip_prefix(name).or_else(|| word.strip_prefix(also))?;
        let bits = bits.parse().ok()?;
        let bits = SwapBits::ALL.iter().copied().find(|b| b.row().bits == bits)?;
        Some(Operation::Endian(op, bits))
    });
    let alu = || {
        AluOp::ALL.iter().copied().find_map(|op| {
            let width = width_of(word.strip_prefix(op.row().mnemonic)?)?;
            Some(Operation::Alu(op, width))
        })
    };
    let cond = || {
        Cond::ALL.iter().copied().find_map(|cond| {
            let width = width_of(word.strip_prefix(cond.row().mnemonic)?)?;
            Some(Operation::Branch(cond, width))
        })
    };
    endian.or_else(alu).or_else(cond)
}

fn memory_operation(word: &str) -> Option<Operation> {
    let size_of = |suffix: &str| Size::ALL.iter().copied().find(|s| s.row().suffix == suffix);
    let packet_size =
        |suffix: &str| PacketSize::ALL.iter().copied().find(|s| s.size().row().suffix == suffix);
    let sized = |prefix: &str| word.strip_prefix(prefix).and_then(size_of);
    let ordered = |prefix: &str| word.strip_prefix(prefix)?.strip_prefix('_').and_then(size_of);
    let packet = |prefix: &str| word.strip_prefix(prefix).and_then(packet_size);
    if let Some(size) = sized(words::LDX) {
        return Some(Operation::Load(size, Extend::Zero));
    }
    // No load sign-extends 64 bits.
    if let Some(size) = sized(words::LDXS).filter(|size| *size != Size::Dw) {
        return Some(Operation::Load(size, Extend::Sign));
    }
    if let Some(size) = sized(words::STX) {
        return Some(Operation::StoreReg(size));
    }
    if let Some(size) = sized(words::ST) {
        return Some(Operation::StoreImm(size));
    }
    if let Some(size) = packet(words::LDABS) {
        return Some(Operation::LoadAbsolute(size));
    }
    if let Some(size) = packet(words::LDIND) {
        return Some(Operation::LoadIndirect(size));
    }
    if let Some(size) = ordered(words::LOAD_ACQUIRE) {
        return Some(Operation::LoadAcquire(size));
    }
    ordered(words::STORE_RELEASE).map(Operation::StoreRelease)
}

fn operands<'a>(scanner: &mut Scanner<'a>, operation: Operation) -> Parsed<AsmInsn<'a>> {
    Ok(match operation {
        Operation::Alu(op, width) => {
            let dst = scanner.expect_reg()?;
            scanner.expect(",")?;
            Insn::Alu { op, width, dst, src: operand(scanner, field(width))? }
        }
        Operation::Neg(width) => Insn::Neg { width, dst: scanner.expect_reg()? },
        Operation::Movsx(op) => {
            let dst = scanner.expect_reg()?;
            scanner.expect(",")?;
            Insn::Movsx { op, dst, src: scanner.expect_reg()? }
        }
        Operation::Endian(op, bits) => Insn::Endian { op, bits, dst: scanner.expect_reg()? },
        Operation::AddrSpaceCast => {
            let dst = scanner.expect_reg()?;
            scanner.expect(",")?;
            let src = scanner.expect_reg()?;
            scanner.expect(",")?;
            Insn::AddrSpaceCast { op: address_spaces(scanner)?, dst, src }
        }
        Operation::LoadImm64 => {
            let dst = scanner.expect_reg()?;
            scanner.expect(",")?;
            let imm = match imm64_form(scanner)? {
                Some(imm) => imm,
                None => Imm64::Value(scanner.expect_number()?.imm64()?),
            };
            Insn::LoadImm64 { dst, imm }
        }
        Operation::Load(size, extend) => {
            let dst = scanner.expect_reg()?;
            scanner.expect(",")?;
            Insn::Load { size, extend, dst, mem: memory(scanner)? }
        }
        Operation::StoreImm(size) => {
            let mem = memory(scanner)?;
            scanner.expect(",")?;
            let field = if size == Size::Dw { Field32::Signed } else { Field32::Bits };
            Insn::Store { size, mem, src: Src::Imm(scanner.expect_number()?.imm32(field)?) }
        }
        Operation::StoreReg(size) => {
            let (mem, src) = memory_and_register(scanner)?;
            Insn::Store { size, mem, src: Src::Reg(src) }
        }
        Operation::Lock => lock(scanner)?,
        Operation::LoadAcquire(size) => {
            let dst = scanner.expect_reg()?;
            scanner.expect(",")?;
            Insn::LoadAcquire { size, dst, mem: memory(scanner)? }
        }
        Operation::StoreRelease(size) => {
            let (mem, src) = memory_and_register(scanner)?;
            Insn::StoreRelease { size, mem, src }
        }
        Operation::LoadAbsolute(size) => {
            let imm = scanner.expect_number()?.imm32(Field32::Bits)?;
            Insn::LoadPacket { size, index: PacketIndex::Absolute, imm }
        }
        Operation::LoadIndirect(size) => {
            let index = PacketIndex::Indirect(scanner.expect_reg()?);
            scanner.expect(",")?;
            Insn::LoadPacket { size, index, imm: scanner.expect_number()?.imm32(Field32::Bits)? }
        }
        Operation::Jump { wide } => Insn::Jump { wide, target: target(scanner)? },
        Operation::Branch(cond, width) => {
            let dst = scanner.expect_reg()?;
            scanner.expect(",")?;
            let src = operand(scanner, field(width))?;
            scanner.expect(",")?;
            Insn::Branch { cond, width, dst, src, target: target(scanner)? }
        }
    })
}

fn field(width: Width) -> Field32 {
    match width {
        Width::W32 => Field32::Bits,
        Width::W64 => Field32::Signed,
    }
}

/// A register or a number.
fn operand(scanner: &mut Scanner<'_>, field: Field32) -> Parsed<Src> {
    if let Some(register) = scanner.register()? {
        return Ok(Src::Reg(register.of_width(Width::W64)?));
    }
    match scanner.number() {
        Some(number) => Ok(Src::Imm(number.imm32(field)?)),
        None => Err(scanner.unexpected(Needed::Operand)),
    }
}

/// `[%r1+8]`.
fn memory(scanner: &mut Scanner<'_>) -> Parsed<Mem> {
    scanner.expect("[")?;
    let base = scanner.expect_reg()?;
    let has_offset = scanner.rest().trim_start().starts_with(['+', '-']);
    let offset = if has_offset { scanner.expect_number()?.offset16()? } else { 0 };
    scanner.expect("]")?;
    Ok(Mem { base, offset })
}

fn memory_and_register(scanner: &mut Scanner<'_>) -> Parsed<(Mem, Reg)> {
    let mem = memory(scanner)?;
    scanner.expect(",")?;
    Ok((mem, scanner.expect_register().and_then(|named: Named<'_>| named.of_width(Width::W64))?))
}

/// What follows `lock`: `add`, `fetch add`, `fetch_add`, each with `32` or without.
fn lock<'a>(scanner: &mut Scanner<'a>) -> Parsed<AsmInsn<'a>> {
    let is_fetch = scanner.eat_word(words::FETCH);
    let at = scanner.at();
    let Some(word) = scanner.peek_word() else {
        return Err(scanner.unexpected(Needed::Instruction));
    };
    let found = AtomicOp::ALL.iter().copied().find_map(|op| {
        let mut name = op.row().mnemonic;
        if is_fetch && op.row().fetch {
            // The suite sets the mark apart, and accepts it before operations that always fetch.
            name =
                name.strip_prefix(words::FETCH).map_or(name, |rest| rest.trim_start_matches('_'));
        } else if is_fetch {
            return None;
        }
        Some((op, width_of(word.strip_prefix(name)?)?))
    });
    let Some((op, width)) = found else {
        let name = alloc::format!("{} {word}", words::LOCK);
        return Err(LineError { at, kind: AsmErrorKind::UnknownInstruction { name } });
    };
    scanner.word();
    let (mem, src) = memory_and_register(scanner)?;
    Ok(Insn::Atomic { op, width, mem, src })
}
