//! The C-like dialect: `r2 = 15` in LLVM's, the kernel's and the decimal style.

use alloc::borrow::ToOwned;

use super::call::{address_spaces, call, imm64_form, kind_of_source, pseudo};
use super::error::{AsmErrorKind, Needed};
use super::scan::{Field32, LineError, Named, Parsed, Scanner};
use super::{Target, target};
use crate::codec::Slot;
use crate::insn::{Callee, Extend, Imm64, Insn, Mem, PacketIndex, PacketSize, Reg, Src};
use crate::op::{AluOp, AtomicOp, Cond, Endian, Movsx, Size, SwapBits, Width};
use crate::text::words;

type AsmInsn<'a> = Insn<Target<'a>>;

/// An instruction that starts as the C-like dialect's do, or `None` if this one does not.
/// `opcode` is the one that the kernel's style puts before it.
pub(super) fn instruction<'a>(
    scanner: &mut Scanner<'a>,
    opcode: Option<u8>,
) -> Parsed<Option<AsmInsn<'a>>> {
    let mut ahead = *scanner;
    let insn = match ahead.word() {
        None if scanner.eat("*") => store(scanner)?,
        None => match scanner.register()? {
            Some(dst) => assignment(scanner, dst, opcode)?,
            None => return Ok(None),
        },
        Some(words::IF) => branch(&mut ahead)?,
        Some(words::GOTO) => Insn::Jump { wide: false, target: target(&mut ahead)? },
        Some(words::GOTOL) => Insn::Jump { wide: true, target: target(&mut ahead)? },
        Some(words::MAY_GOTO) => Insn::MayGoto { target: target(&mut ahead)? },
        Some(words::CALL) => call(&mut ahead)?,
        Some(words::CALLX) => Insn::Call { callee: Callee::Reg(ahead.expect_reg()?) },
        Some(words::EXIT) => Insn::Exit,
        Some(words::LOCK) if ahead.eat("*") => atomic(&mut ahead)?,
        Some(words::STORE_RELEASE) => store_release(&mut ahead)?,
        Some(words::LD_PSEUDO) => ld_pseudo(&mut ahead)?,
        Some(_) => match scanner.register()? {
            Some(dst) => {
                let insn = assignment(scanner, dst, opcode)?;
                return Ok(Some(insn));
            }
            None => return Ok(None),
        },
    };
    if ahead.rest().len() < scanner.rest().len() {
        *scanner = ahead;
    }
    Ok(Some(insn))
}

/// What follows a register at the start of a line.
fn assignment<'a>(
    scanner: &mut Scanner<'a>,
    dst: Named<'a>,
    opcode: Option<u8>,
) -> Parsed<AsmInsn<'a>> {
    let Some(op) = scanner.symbol(AluOp::ALL, |op| op.row().symbol) else {
        return Err(scanner.unexpected(Needed::Assignment));
    };
    let width = dst.width;
    if op == AluOp::Mov {
        return value(scanner, dst, opcode);
    }
    let src = operand(scanner, width)?;
    Ok(Insn::Alu { op, width, dst: dst.reg, src })
}

/// A register of a width or a number.
fn operand(scanner: &mut Scanner<'_>, width: Width) -> Parsed<Src> {
    if let Some(register) = scanner.register()? {
        return Ok(Src::Reg(register.of_width(width)?));
    }
    let Some(number) = scanner.number() else {
        return Err(scanner.unexpected(Needed::Operand));
    };
    let field = if width == Width::W32 { Field32::Bits } else { Field32::Signed };
    Ok(Src::Imm(number.imm32(field)?))
}

/// What follows `dst =`.
fn value<'a>(scanner: &mut Scanner<'a>, dst: Named<'a>, opcode: Option<u8>) -> Parsed<AsmInsn<'a>> {
    let width = dst.width;
    if let Some(register) = scanner.register()? {
        let src = Src::Reg(register.of_width(width)?);
        return Ok(Insn::Alu { op: AluOp::Mov, width, dst: dst.reg, src });
    }
    if let Some(number) = scanner.number() {
        let opcode = opcode.map(|opcode| Slot { opcode, ..Slot::default() });
        if scanner.eat_word(words::LL) || opcode.is_some_and(Slot::is_wide) {
            let imm = Imm64::Value(number.imm64()?);
            return Ok(Insn::LoadImm64 { dst: dst.of_width(Width::W64)?, imm });
        }
        let field = if width == Width::W32 { Field32::Bits } else { Field32::Signed };
        let src = Src::Imm(number.imm32(field)?);
        return Ok(Insn::Alu { op: AluOp::Mov, width, dst: dst.reg, src });
    }
    if scanner.eat("-") {
        same_register(scanner, dst)?;
        return Ok(Insn::Neg { width, dst: dst.reg });
    }
    if scanner.eat("(") {
        return cast(scanner, dst);
    }
    if scanner.eat("*") {
        return load(scanner, dst);
    }
    if let Some(imm) = imm64_form(scanner)? {
        scanner.eat_word(words::LL);
        return Ok(Insn::LoadImm64 { dst: dst.of_width(Width::W64)?, imm });
    }
    function(scanner, dst)
}

/// The register that is written, once more as the operand.
fn same_register<'a>(scanner: &mut Scanner<'a>, dst: Named<'a>) -> Parsed<()> {
    let again = scanner.expect_register()?;
    again.of_width(dst.width)?;
    if again.reg == dst.reg {
        return Ok(());
    }
    Err(again.unexpected(Needed::SameRegister(dst.reg.index() as u8)))
}

/// What follows `dst = (`: the type of a sign-extending move.
fn cast<'a>(scanner: &mut Scanner<'a>, dst: Named<'a>) -> Parsed<AsmInsn<'a>> {
    let at = scanner.at();
    let Some(word) = scanner.word() else {
        return Err(scanner.unexpected(Needed::AccessType));
    };
    scanner.expect(")")?;
    let is_op = |op: &Movsx| {
        let cast = op.row().cast;
        op.row().width == dst.width && cast.trim_matches(['(', ')']) == word
    };
    let Some(op) = Movsx::ALL.iter().copied().find(is_op) else {
        let operation = "a sign-extending move";
        let operand = alloc::format!("({word}) to {}", dst.text);
        return Err(LineError { at, kind: AsmErrorKind::NoSuchForm { operation, operand } });
    };
    let src = scanner.expect_register()?.of_width(dst.width)?;
    Ok(Insn::Movsx { op, dst: dst.reg, src })
}

/// `(u32 *)`, with the parentheses.
fn access_type(scanner: &mut Scanner<'_>) -> Parsed<(usize, Size, Extend)> {
    scanner.expect("(")?;
    let at = scanner.at();
    let of_name = |word: &str| {
        Size::ALL.iter().copied().find_map(|size| {
            let row = size.row();
            // No load sign-extends 64 bits.
            let is_signed = row.signed == word && size != Size::Dw;
            if row.unsigned == word {
                Some((size, Extend::Zero))
            } else {
                is_signed.then_some((size, Extend::Sign))
            }
        })
    };
    let Some((size, extend)) = scanner.peek_word().and_then(of_name) else {
        return Err(scanner.unexpected(Needed::AccessType));
    };
    scanner.word();
    scanner.expect("*")?;
    scanner.expect(")")?;
    Ok((at, size, extend))
}

/// The type of something that is not sign-extended.
fn unsigned_type(scanner: &mut Scanner<'_>) -> Parsed<Size> {
    let mut before = *scanner;
    let (_, size, extend) = access_type(scanner)?;
    match extend {
        Extend::Zero => Ok(size),
        Extend::Sign => {
            before.expect("(")?;
            Err(before.unexpected(Needed::TypeOfBits(size.bytes() * 8)))
        }
    }
}

/// A register plus an offset, without parentheses.
fn address(scanner: &mut Scanner<'_>) -> Parsed<Mem> {
    let base = scanner.expect_reg()?;
    let has_offset = scanner.rest().trim_start().starts_with(['+', '-']);
    let offset = if has_offset { scanner.expect_number()?.offset16()? } else { 0 };
    Ok(Mem { base, offset })
}

/// `(r1 + 8)`.
fn memory(scanner: &mut Scanner<'_>) -> Parsed<Mem> {
    scanner.expect("(")?;
    let mem = address(scanner)?;
    scanner.expect(")")?;
    Ok(mem)
}

/// `(u64 *)(r1 + 8)`, of an unsigned type.
fn typed_memory(scanner: &mut Scanner<'_>) -> Parsed<(Size, Mem)> {
    let size = unsigned_type(scanner)?;
    Ok((size, memory(scanner)?))
}

/// A register that holds so many bytes: 32-bit names stand for up to four.
fn holding(named: Named<'_>, size: Size) -> Parsed<Reg> {
    match (named.width, size) {
        (Width::W32, Size::Dw) => named.of_width(Width::W64),
        (Width::W32, Size::B | Size::H | Size::W) | (Width::W64, _) => Ok(named.reg),
    }
}

/// What follows `dst = *`: a load from memory or from the packet.
fn load<'a>(scanner: &mut Scanner<'a>, dst: Named<'a>) -> Parsed<AsmInsn<'a>> {
    let (at, size, extend) = access_type(scanner)?;
    if scanner.eat_word(words::SKB) {
        return packet_load(scanner, dst, (at, size, extend));
    }
    let mem = memory(scanner)?;
    if extend == Extend::Sign && dst.width == Width::W32 {
        return Err(dst.unexpected(Needed::WholeRegister));
    }
    Ok(Insn::Load { size, extend, dst: holding(dst, size)?, mem })
}

/// What follows `r0 = *(u32 *)skb`.
fn packet_load<'a>(
    scanner: &mut Scanner<'a>,
    dst: Named<'a>,
    (at, size, extend): (usize, Size, Extend),
) -> Parsed<AsmInsn<'a>> {
    let of_size = |packet: &PacketSize| packet.size() == size && extend == Extend::Zero;
    let Some(size) = PacketSize::ALL.iter().copied().find(of_size) else {
        let operation = "a packet load";
        let row = size.row();
        let operand = if extend == Extend::Sign { row.signed } else { row.unsigned }.to_owned();
        return Err(LineError { at, kind: AsmErrorKind::NoSuchForm { operation, operand } });
    };
    if dst.reg != Reg::R0 || dst.width != Width::W64 {
        return Err(dst.unexpected(Needed::Text("r0")));
    }
    scanner.expect("[")?;
    let (index, imm) = match scanner.register()? {
        None => (PacketIndex::Absolute, scanner.expect_number()?.imm32(Field32::Bits)?),
        Some(register) => {
            let index = PacketIndex::Indirect(register.of_width(Width::W64)?);
            // The kernel prints a plus sign before a number that may have its own.
            let has_imm = scanner.eat("+") || scanner.rest().trim_start().starts_with('-');
            let imm = if has_imm { scanner.expect_number()?.imm32(Field32::Bits)? } else { 0 };
            (index, imm)
        }
    };
    scanner.expect("]")?;
    Ok(Insn::LoadPacket { size, index, imm })
}

/// What follows `dst =` if it is a word: byte swaps, casts, atomics, load-acquire.
fn function<'a>(scanner: &mut Scanner<'a>, dst: Named<'a>) -> Parsed<AsmInsn<'a>> {
    let Some(word) = scanner.peek_word() else {
        return Err(scanner.unexpected(Needed::Value));
    };
    if word == words::ADDR_SPACE_CAST {
        scanner.word();
        scanner.expect("(")?;
        let src = scanner.expect_reg()?;
        scanner.expect(",")?;
        let op = address_spaces(scanner)?;
        scanner.expect(")")?;
        return Ok(Insn::AddrSpaceCast { op, dst: dst.of_width(Width::W64)?, src });
    }
    if word == words::LOAD_ACQUIRE {
        scanner.word();
        scanner.expect("(")?;
        let (size, mem) = typed_memory(scanner)?;
        scanner.expect(")")?;
        return Ok(Insn::LoadAcquire { size, dst: holding(dst, size)?, mem });
    }
    if let Some((op, bits)) = byte_swap(word) {
        scanner.word();
        let whole = dst.of_width(Width::W64)?;
        same_register(scanner, dst)?;
        return Ok(Insn::Endian { op, bits, dst: whole });
    }
    if let Some(form) = FetchForm::of_name(word) {
        scanner.word();
        return fetch(scanner, dst, form);
    }
    Err(scanner.unexpected(Needed::Value))
}

fn byte_swap(word: &str) -> Option<(Endian, SwapBits)> {
    Endian::ALL.iter().copied().find_map(|op| {
        let bits = word.strip_prefix(op.row().mnemonic)?.parse().ok()?;
        let bits = SwapBits::ALL.iter().copied().find(|b| b.row().bits == bits)?;
        Some((op, bits))
    })
}

/// The name of an atomic operation that returns the old value.
struct FetchForm {
    op: AtomicOp,
    /// The width that the name says.
    width: Option<Width>,
    /// Whether the operand has its type before it.
    is_typed: bool,
}

impl FetchForm {
    fn of_name(word: &str) -> Option<FetchForm> {
        let named = |symbol: &str| {
            AtomicOp::ALL.iter().copied().find(|op| op.row().fetch && op.row().symbol == symbol)
        };
        if let Some(op) = word.strip_prefix(words::ATOMIC64).and_then(named) {
            return Some(FetchForm { op, width: Some(Width::W64), is_typed: true });
        }
        if let Some(op) = word.strip_prefix(words::ATOMIC).and_then(named) {
            return Some(FetchForm { op, width: None, is_typed: true });
        }
        let exchange = |suffix, width| {
            let op = word.strip_suffix(suffix).and_then(named)?;
            let is_exchange = matches!(op, AtomicOp::Xchg | AtomicOp::Cmpxchg);
            is_exchange.then_some(FetchForm { op, width: Some(width), is_typed: false })
        };
        exchange(words::SUFFIX_64, Width::W64).or_else(|| exchange(words::SUFFIX_32, Width::W32))
    }
}

/// The operands of an atomic operation that returns the old value to `old`.
fn fetch<'a>(scanner: &mut Scanner<'a>, old: Named<'a>, form: FetchForm) -> Parsed<AsmInsn<'a>> {
    scanner.expect("(")?;
    let (width, mem) = match form.width {
        Some(width) if !form.is_typed => (width, address(scanner)?),
        width => {
            let found = atomic_type(scanner, width)?;
            (found, memory(scanner)?)
        }
    };
    scanner.expect(",")?;
    let size = if width == Width::W32 { Size::W } else { Size::Dw };
    let old_reg = holding(old, size)?;
    if form.op == AtomicOp::Cmpxchg {
        if old_reg != Reg::R0 {
            return Err(old.unexpected(Needed::SameRegister(0)));
        }
        same_register(scanner, old)?;
        scanner.expect(",")?;
    }
    let named = scanner.expect_register()?;
    let src = named.of_width(old.width)?;
    if form.op != AtomicOp::Cmpxchg && src != old_reg {
        return Err(named.unexpected(Needed::SameRegister(old_reg.index() as u8)));
    }
    scanner.expect(")")?;
    Ok(Insn::Atomic { op: form.op, width, mem, src })
}

/// The type of an atomic access, which is of 32 or 64 bits.
fn atomic_type(scanner: &mut Scanner<'_>, needed: Option<Width>) -> Parsed<Width> {
    let mut before = *scanner;
    let size = unsigned_type(scanner)?;
    let width = match size {
        Size::W => Some(Width::W32),
        Size::Dw => Some(Width::W64),
        Size::B | Size::H => None,
    };
    match (width, needed) {
        (Some(width), None) => Ok(width),
        (Some(width), Some(needed)) if width == needed => Ok(width),
        (_, needed) => {
            before.expect("(")?;
            let bits = needed.unwrap_or(Width::W64).bits();
            Err(before.unexpected(Needed::TypeOfBits(bits)))
        }
    }
}

/// What follows `*` at the start of a line.
fn store<'a>(scanner: &mut Scanner<'a>) -> Parsed<AsmInsn<'a>> {
    let (size, mem) = typed_memory(scanner)?;
    scanner.expect(AluOp::Mov.row().symbol)?;
    let src = match scanner.register()? {
        Some(register) => Src::Reg(holding(register, size)?),
        None => {
            let Some(number) = scanner.number() else {
                return Err(scanner.unexpected(Needed::Operand));
            };
            let field = if size == Size::Dw { Field32::Signed } else { Field32::Bits };
            Src::Imm(number.imm32(field)?)
        }
    };
    Ok(Insn::Store { size, mem, src })
}

/// What follows `lock *`.
fn atomic<'a>(scanner: &mut Scanner<'a>) -> Parsed<AsmInsn<'a>> {
    let width = atomic_type(scanner, None)?;
    let mem = memory(scanner)?;
    let Some(op) = scanner.symbol(AtomicOp::ALL, |op| op.row().symbol).filter(|op| !op.row().fetch)
    else {
        return Err(scanner.unexpected(Needed::AtomicOperator));
    };
    let size = if width == Width::W32 { Size::W } else { Size::Dw };
    let src = holding(scanner.expect_register()?, size)?;
    Ok(Insn::Atomic { op, width, mem, src })
}

/// What follows `store_release`.
fn store_release<'a>(scanner: &mut Scanner<'a>) -> Parsed<AsmInsn<'a>> {
    scanner.expect("(")?;
    let (size, mem) = typed_memory(scanner)?;
    scanner.expect(",")?;
    let src = holding(scanner.expect_register()?, size)?;
    scanner.expect(")")?;
    Ok(Insn::StoreRelease { size, mem, src })
}

/// What follows `if`.
fn branch<'a>(scanner: &mut Scanner<'a>) -> Parsed<AsmInsn<'a>> {
    let left = scanner.expect_register()?;
    let width = left.width;
    let Some(cond) = scanner.symbol(Cond::ALL, |cond| cond.row().symbol) else {
        return Err(scanner.unexpected(Needed::Comparison));
    };
    let src = operand(scanner, width)?;
    scanner.expect_word(words::GOTO)?;
    Ok(Insn::Branch { cond, width, dst: left.reg, src, target: target(scanner)? })
}

/// What follows LLVM's `ld_pseudo`, which does not show the second slot's immediate.
fn ld_pseudo<'a>(scanner: &mut Scanner<'a>) -> Parsed<AsmInsn<'a>> {
    let dst = scanner.expect_reg()?;
    scanner.expect(",")?;
    let kind = scanner.expect_number()?;
    let Some(found) = kind_of_source(kind.within(0, 15)?) else {
        let operation = words::LD_PSEUDO;
        let operand = kind.text.to_owned();
        return Err(LineError {
            at: kind.at,
            kind: AsmErrorKind::NoSuchForm { operation, operand },
        });
    };
    scanner.expect(",")?;
    let at = scanner.at();
    let imm = scanner.expect_number()?.imm32(Field32::Bits)?;
    Ok(Insn::LoadImm64 { dst, imm: pseudo(found, at, imm) })
}
