//! What both dialects share: calls, and the forms of 64-bit immediates.

use alloc::borrow::ToOwned;

use super::error::{AsmErrorKind, Needed};
use super::scan::{Field32, LineError, Parsed, Scanner};
use super::{Target, target};
use crate::insn::{Callee, HelperId, Imm64, Insn, Width};
use crate::op::{AddrSpaceCast, Imm64Kind};
use crate::platform;
use crate::text::words;

/// What follows `call`.
pub(super) fn call<'a>(scanner: &mut Scanner<'a>) -> Parsed<Insn<Target<'a>>> {
    let callee = callee(scanner)?;
    Ok(Insn::Call { callee })
}

fn callee<'a>(scanner: &mut Scanner<'a>) -> Parsed<Callee<Target<'a>>> {
    if scanner.eat_word(words::LOCAL) {
        return Ok(Callee::Local(target(scanner)?));
    }
    if scanner.eat_word(words::HELPER) {
        if let Some(register) = scanner.register()? {
            return Ok(Callee::Reg(register.of_width(Width::W64)?));
        }
        return helper_number(scanner);
    }
    if scanner.eat_word(words::RUNTIME) {
        return kfunc(scanner);
    }
    if scanner.eat_word(words::KFUNC) {
        scanner.expect("(")?;
        let callee = kfunc(scanner)?;
        scanner.expect(")")?;
        return Ok(callee);
    }
    if scanner.eat(words::KERNEL_FUNCTION) {
        scanner.expect("#")?;
        let btf_id = scanner.expect_number()?.imm32(Field32::Signed)?;
        return Ok(Callee::Kfunc { btf_id, btf_index: 0 });
    }
    if scanner.peek_word() == Some(words::PC) {
        return Ok(Callee::Local(target(scanner)?));
    }
    if let Some(register) = scanner.register()? {
        return Ok(Callee::Reg(register.of_width(Width::W64)?));
    }
    // A distance is marked by `local`: a bare number is a helper's, and LLVM prints it signed.
    let mut ahead = *scanner;
    if ahead.eat("+") {
        return Err(scanner.unexpected(Needed::Callee));
    }
    let at = scanner.at();
    match scanner.word() {
        Some(name) if scanner.rest().starts_with('#') => numbered(scanner, at, name),
        Some(name) => Ok(Callee::Local(Target::Function { at, name })),
        None => helper_number(scanner),
    }
}

fn helper_number<'a>(scanner: &mut Scanner<'a>) -> Parsed<Callee<Target<'a>>> {
    let Some(number) = scanner.number() else { return Err(scanner.unexpected(Needed::Callee)) };
    Ok(Callee::Helper(HelperId(number.imm32(Field32::Bits)? as u32)))
}

/// `6` or `6, 1`: a kernel function's BTF id and perhaps the index of its BTF object.
fn kfunc<'a>(scanner: &mut Scanner<'a>) -> Parsed<Callee<Target<'a>>> {
    let btf_id = scanner.expect_number()?.imm32(Field32::Signed)?;
    let btf_index = if scanner.eat(",") { scanner.expect_number()?.offset16()? } else { 0 };
    Ok(Callee::Kfunc { btf_id, btf_index })
}

/// The kernel's `bpf_trace_printk#6`. It prints helpers without a name as `unknown`, so another
/// name that is no helper's is a kernel function's.
fn numbered<'a>(scanner: &mut Scanner<'a>, at: usize, name: &str) -> Parsed<Callee<Target<'a>>> {
    scanner.expect("#")?;
    let imm = scanner.expect_number()?.imm32(Field32::Bits)?;
    match platform::HelperId::named(name) {
        Some(platform::HelperId(id)) if id == imm as u32 => Ok(Callee::Helper(HelperId(id))),
        Some(platform::HelperId(is)) => {
            let name = name.to_owned();
            Err(LineError { at, kind: AsmErrorKind::WrongNumber { name, is } })
        }
        None if name == words::UNKNOWN_HELPER || imm == 0 => {
            Ok(Callee::Helper(HelperId(imm as u32)))
        }
        None => Ok(Callee::Kfunc { btf_id: imm, btf_index: 0 }),
    }
}

/// `map_by_fd(5)` and its like, or `None` if the next word is no such form's name.
pub(super) fn imm64_form<'a>(scanner: &mut Scanner<'a>) -> Parsed<Option<Imm64<Target<'a>>>> {
    let Some(word) = scanner.peek_word() else { return Ok(None) };
    let is_named = |kind: &Imm64Kind| kind.row().name == word;
    let Some(kind) = Imm64Kind::ALL.iter().copied().find(is_named) else { return Ok(None) };
    scanner.eat_word(word);
    scanner.expect("(")?;
    let imm = match kind {
        Imm64Kind::Value => Imm64::Value(scanner.expect_number()?.imm64()?),
        Imm64Kind::MapByFd => Imm64::MapByFd(signed(scanner)?),
        Imm64Kind::MapValueByFd => {
            let fd = signed(scanner)?;
            Imm64::MapValueByFd { fd, offset: second(scanner)? }
        }
        Imm64Kind::Variable => {
            let btf_id = signed(scanner)?;
            Imm64::Variable { btf_id, btf_fd: second(scanner)? }
        }
        Imm64Kind::Code => Imm64::Code(function_address(scanner)?),
        Imm64Kind::MapByIdx => Imm64::MapByIdx(unsigned(scanner)?),
        Imm64Kind::MapValueByIdx => {
            let index = unsigned(scanner)?;
            Imm64::MapValueByIdx { index, offset: second(scanner)? }
        }
    };
    scanner.expect(")")?;
    Ok(Some(imm))
}

fn signed(scanner: &mut Scanner<'_>) -> Parsed<i32> {
    scanner.expect_number()?.imm32(Field32::Signed)
}

fn unsigned(scanner: &mut Scanner<'_>) -> Parsed<u32> {
    Ok(scanner.expect_number()?.imm32(Field32::Bits)? as u32)
}

fn second(scanner: &mut Scanner<'_>) -> Parsed<i32> {
    scanner.expect(",")?;
    signed(scanner)
}

/// A function's distance, with or without a sign, or its label.
fn function_address<'a>(scanner: &mut Scanner<'a>) -> Parsed<Target<'a>> {
    let at = scanner.at();
    match scanner.number() {
        Some(number) => Ok(Target::Distance { at, by: number.distance()? }),
        None => target(scanner),
    }
}

/// The address spaces of an `addr_space_cast`: destination, comma, source.
pub(super) fn address_spaces(scanner: &mut Scanner<'_>) -> Parsed<AddrSpaceCast> {
    let at = scanner.at();
    let to = scanner.expect_number()?.within(0, 0xffff)?;
    scanner.expect(",")?;
    let from = scanner.expect_number()?.within(0, 0xffff)?;
    let is_op = |op: &AddrSpaceCast| i128::from(op.row().imm) == (to << 16 | from);
    AddrSpaceCast::ALL.iter().copied().find(is_op).ok_or_else(|| {
        let operand = alloc::format!("{to}, {from}");
        let operation = words::ADDR_SPACE_CAST;
        LineError { at, kind: AsmErrorKind::NoSuchForm { operation, operand } }
    })
}

/// The source register field's meaning for LLVM's `ld_pseudo`, which hides the second slot.
pub(super) fn pseudo<'a>(kind: Imm64Kind, at: usize, imm: i32) -> Imm64<Target<'a>> {
    match kind {
        Imm64Kind::Value => Imm64::Value(u64::from(imm as u32)),
        Imm64Kind::MapByFd => Imm64::MapByFd(imm),
        Imm64Kind::MapValueByFd => Imm64::MapValueByFd { fd: imm, offset: 0 },
        Imm64Kind::Variable => Imm64::Variable { btf_id: imm, btf_fd: 0 },
        Imm64Kind::Code => Imm64::Code(Target::Distance { at, by: i64::from(imm) }),
        Imm64Kind::MapByIdx => Imm64::MapByIdx(imm as u32),
        Imm64Kind::MapValueByIdx => Imm64::MapValueByIdx { index: imm as u32, offset: 0 },
    }
}

/// The form that a value of the source register field selects.
pub(super) fn kind_of_source(number: i128) -> Option<Imm64Kind> {
    Imm64Kind::ALL.iter().copied().find(|kind| i128::from(kind.row().src) == number)
}
