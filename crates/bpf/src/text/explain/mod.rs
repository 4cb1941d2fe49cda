//! What the bytes of an instruction say: every field, its meaning, and where it is specified.
//!
//! [`explain`] takes raw slots and always describes their fields; what they amount to is there if
//! they are an instruction, and else why they are not. Names and sentences come from the rows of
//! [`crate::op`] and of [`crate::platform`].

mod fields;
mod render;
mod sentence;

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use super::c_like::Decimal;
use super::mnemonic::Mnemonic;
use crate::codec::{DecodeErrorKind, Slot, SlotIndex, decode};
use crate::insn::{Callee, Extend, Imm64, Insn, Offset};
use crate::op::Group;

/// Where a field lies in the instruction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// The first byte, from 0.
    pub byte: usize,
    /// The number of bytes.
    pub len_bytes: usize,
    /// For a part of a byte: its lowest bit, from 0, and its number of bits.
    pub bits: Option<(u32, u32)>,
}

/// One field of the encoding (RFC 9669, section 3).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ExplainedField {
    /// RFC 9669's name.
    pub name: &'static str,
    /// Where it lies.
    pub place: Place,
    /// Its value; offset and immediates are signed.
    pub value: i64,
    /// What it means here.
    pub meaning: String,
}

/// A place in RFC 9669.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Section {
    /// The number, such as `4.3.1`.
    pub number: &'static str,
    /// What it is about.
    pub title: &'static str,
}

impl fmt::Display for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RFC 9669, section {}, {}", self.number, self.title)
    }
}

/// What slots amount to if they are an instruction.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ExplainedInsn {
    /// The instruction.
    pub insn: Insn<Offset>,
    /// Its text in the C-like dialect, decimal style.
    pub c_like: String,
    /// Its text in the mnemonic dialect.
    pub mnemonic: String,
    /// What it does, in words.
    pub meaning: String,
    /// Its conformance group.
    pub group: Group,
    /// Where RFC 9669 describes it, or `None` for what Linux and compilers have beyond it.
    pub section: Option<Section>,
}

/// What the bytes of an instruction say.
///
/// Its `Display` is for people: several lines, the last without a line feed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Explanation {
    /// The bytes: 8, or 16 for a wide instruction.
    pub bytes: Vec<u8>,
    /// Every field, in the order of the bytes; the parts of the opcode follow it from the highest
    /// bit to the lowest.
    pub fields: Vec<ExplainedField>,
    /// What they amount to, or why to nothing.
    pub insn: Result<ExplainedInsn, DecodeErrorKind>,
}

/// Explains the instruction at the start of `slots`; `None` if there is no slot.
///
/// ```
/// use skep_bpf::text::explain::{explain, parse_slots};
/// let slots = parse_slots("b7 02 00 00 0f 00 00 00")?;
/// let explanation = explain(&slots).expect("there is a slot");
/// let insn = explanation.insn.expect("it is an instruction");
/// assert_eq!(insn.c_like, "r2 = 15");
/// assert_eq!(insn.meaning, "set r2 to 15");
/// assert_eq!(insn.section.map(|section| section.number), Some("4.1"));
/// # Ok::<(), skep_bpf::text::explain::BytesError>(())
/// ```
#[must_use]
pub fn explain(slots: &[Slot]) -> Option<Explanation> {
    let first = slots.first()?;
    let decoded = decode(slots, SlotIndex(0)).map_err(|error| error.kind);
    let second = slots.get(1).copied().filter(|_| first.is_wide());
    let used = core::iter::once(*first).chain(second);
    Some(Explanation {
        bytes: used.flat_map(Slot::to_bytes).collect(),
        fields: fields::fields(*first, second, &decoded),
        insn: decoded.map(|insn| ExplainedInsn {
            insn,
            c_like: Decimal(&insn).to_string(),
            mnemonic: Mnemonic(&insn).to_string(),
            meaning: sentence::sentence(&insn),
            group: insn.group(),
            section: section(&insn),
        }),
    })
}

/// Where RFC 9669 describes an instruction, or `None` for what it does not have.
#[must_use]
pub const fn section<T>(insn: &Insn<T>) -> Option<Section> {
    let (number, title) = match insn {
        Insn::Alu { .. } | Insn::Neg { .. } | Insn::Movsx { .. } => {
            ("4.1", "arithmetic instructions")
        }
        Insn::Endian { .. } => ("4.2", "byte swap instructions"),
        Insn::Jump { .. } | Insn::Branch { .. } | Insn::Exit => ("4.3", "jump instructions"),
        Insn::Call { callee: Callee::Helper(_) | Callee::Kfunc { .. } } => {
            ("4.3.1", "helper functions")
        }
        Insn::Call { callee: Callee::Local(_) } => ("4.3.2", "program-local functions"),
        Insn::Load { extend: Extend::Sign, .. } => ("5.2", "sign-extension load operations"),
        Insn::Load { extend: Extend::Zero, .. } | Insn::Store { .. } => {
            ("5.1", "regular load and store operations")
        }
        Insn::Atomic { .. } => ("5.3", "atomic operations"),
        Insn::LoadImm64 { imm, .. } => match imm {
            Imm64::Value(_) | Imm64::Code(_) => ("5.4", "64-bit immediate instructions"),
            Imm64::MapByFd(_)
            | Imm64::MapValueByFd { .. }
            | Imm64::MapByIdx(_)
            | Imm64::MapValueByIdx { .. } => ("5.4.1", "maps"),
            Imm64::Variable { .. } => ("5.4.2", "platform variables"),
        },
        Insn::LoadPacket { .. } => ("5.5", "legacy BPF packet access instructions"),
        Insn::AddrSpaceCast { .. }
        | Insn::LoadAcquire { .. }
        | Insn::StoreRelease { .. }
        | Insn::MayGoto { .. }
        | Insn::Call { callee: Callee::Reg(_) } => return None,
    };
    Some(Section { number, title })
}

/// Why text is not the bytes of code, and where.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BytesError {
    /// The column in characters, from 1.
    pub column: usize,
    /// What is wrong.
    pub kind: BytesErrorKind,
}

/// What is wrong with bytes written in hexadecimal.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum BytesErrorKind {
    /// Something that is no hexadecimal digit.
    NotHex {
        /// What.
        found: char,
    },
    /// A run of digits that does not make whole bytes.
    OddDigits {
        /// How many digits.
        digits: usize,
    },
    /// The number of bytes is not a positive multiple of eight.
    NotSlots {
        /// How many bytes.
        bytes: usize,
    },
}

impl fmt::Display for BytesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "column {}: ", self.column)?;
        match &self.kind {
            BytesErrorKind::NotHex { found } => {
                write!(f, "needed a hexadecimal digit, found `{found}`")
            }
            BytesErrorKind::OddDigits { digits } => {
                write!(f, "needed two hexadecimal digits a byte, found {digits} digits")
            }
            BytesErrorKind::NotSlots { bytes } => {
                write!(f, "needed 8 bytes an instruction slot, found {bytes} bytes")
            }
        }
    }
}

impl core::error::Error for BytesError {}

/// Reads bytes written in hexadecimal: in one run or apart by spaces, commas or line feeds, each
/// run with `0x` before it or without. A single digit after `0x` is a byte.
///
/// # Errors
///
/// The first character that is no digit, or a run that does not make whole bytes.
pub fn parse_bytes(text: &str) -> Result<Vec<u8>, BytesError> {
    let mut bytes = Vec::new();
    let is_separator = |c: char| c.is_whitespace() || c == ',';
    let mut column = 1;
    for run in text.split(is_separator) {
        let digits = run.strip_prefix("0x").or_else(|| run.strip_prefix("0X"));
        let at = column + if digits.is_some() { 2 } else { 0 };
        let may_be_single = digits.is_some();
        read_run(digits.unwrap_or(run), at, may_be_single, &mut bytes)?;
        column += run.chars().count() + 1;
    }
    Ok(bytes)
}

fn read_run(
    run: &str,
    column: usize,
    may_be_single: bool,
    bytes: &mut Vec<u8>,
) -> Result<(), BytesError> {
    let mut digits = Vec::with_capacity(run.len());
    for (i, found) in run.chars().enumerate() {
        let Some(digit) = found.to_digit(16) else {
            return Err(BytesError { column: column + i, kind: BytesErrorKind::NotHex { found } });
        };
        // A hexadecimal digit is below 16.
        digits.push(digit as u8);
    }
    if let ([digit], true) = (digits.as_slice(), may_be_single) {
        bytes.push(*digit);
        return Ok(());
    }
    let (pairs, rest) = digits.as_chunks::<2>();
    if !rest.is_empty() || (may_be_single && pairs.is_empty()) {
        let kind = BytesErrorKind::OddDigits { digits: digits.len() };
        return Err(BytesError { column, kind });
    }
    bytes.extend(pairs.iter().map(|[high, low]| high << 4 | low));
    Ok(())
}

/// Reads code written in hexadecimal, as [`parse_bytes`] does.
///
/// # Errors
///
/// As [`parse_bytes`], or that the bytes are not whole slots.
pub fn parse_slots(text: &str) -> Result<Vec<Slot>, BytesError> {
    let bytes = parse_bytes(text)?;
    Slot::from_code(&bytes).filter(|slots| !slots.is_empty()).ok_or_else(|| BytesError {
        column: text.trim_end().chars().count() + 1,
        kind: BytesErrorKind::NotSlots { bytes: bytes.len() },
    })
}

#[cfg(test)]
mod tests;
