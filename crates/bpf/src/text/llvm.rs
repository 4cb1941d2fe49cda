//! Disassembly as `llvm-objdump` 19 prints it for BPF objects, byte for byte.
//!
//! It works on raw bytes and by LLVM's rules, not on [`Insn`](crate::insn::Insn): LLVM ignores
//! some fields that RFC 9669 reserves, knows a twelfth register, lacks the 32-bit fetching atomics
//! in the feature set that `llvm-objdump` assumes, and prints `<unknown>` where it gives up. Section
//! headers, symbols, relocations and source lines are left to the caller.

use alloc::string::String;
use core::fmt::{self, Write};

use super::words;
use crate::codec::{SLOT_BYTES, Slot};
use crate::op::{
    ADDR_SPACE_CAST_OFFSET, AluOp, AtomicOp, CODE_BITS, Cond, Endian, Movsx, SIZE_BITS, SOURCE_X,
    Size, SwapBits, Width, class, code, mode,
};

/// What one line of disassembly shows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Item {
    /// How many bytes the line covers: 8, 16 for a wide load, 1 for a remainder that is too short
    /// to be a slot, or a multiple of 4 for skipped zeros.
    pub len_bytes: usize,
    /// What the bytes are.
    pub content: Content,
}

/// What the bytes of a line are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Content {
    /// A run of zeros, which `llvm-objdump` leaves out.
    Zeros,
    /// Nothing that LLVM decodes.
    Unknown,
    /// An instruction.
    Insn {
        /// Its text without the label of the target.
        text: String,
        /// The distance to the branch target in slots, counted from the next slot.
        branch: Option<i64>,
    },
}

/// Disassembles what starts at byte `at` of a section.
///
/// `end` is where the current symbol ends: `llvm-objdump` looks for zeros up to there, while an
/// instruction may go beyond. `None` if `at` is not before both `end` and the section's end.
#[must_use]
pub fn next_item(section: &[u8], at: usize, end: usize) -> Option<Item> {
    let rest = section.get(at..)?;
    let until_end = rest.get(..end.checked_sub(at)?).unwrap_or(rest);
    if until_end.is_empty() {
        return None;
    }
    let zeros = until_end.iter().take_while(|byte| **byte == 0).count();
    if zeros >= 8 {
        return Some(Item { len_bytes: zeros & !3, content: Content::Zeros });
    }
    Some(insn_item(rest))
}

/// Disassembles the instruction at the start of `bytes`, zeros included.
fn insn_item(bytes: &[u8]) -> Item {
    let (slots, _) = bytes.as_chunks::<SLOT_BYTES>();
    let mut slots = slots.iter().map(|b| Slot::from_bytes(*b));
    // LLVM gives up on a truncated instruction, and objdump then goes on with the next byte.
    let truncated = Item { len_bytes: 1, content: Content::Unknown };
    let Some(first) = slots.next() else { return truncated };
    match print(first, slots.next()) {
        Printed::Truncated => truncated,
        Printed::Unknown => Item { len_bytes: SLOT_BYTES, content: Content::Unknown },
        Printed::Insn { text, slots, branch } => {
            Item { len_bytes: slots * SLOT_BYTES, content: Content::Insn { text, branch } }
        }
    }
}

/// What LLVM makes of a slot.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Printed {
    /// A wide instruction whose second slot is missing.
    Truncated,
    /// Nothing that LLVM decodes.
    Unknown,
    /// An instruction.
    Insn {
        /// Its text without the label of the target.
        text: String,
        /// Its length in slots, 1 or 2.
        slots: usize,
        /// The distance to the branch target in slots, counted from the next slot.
        branch: Option<i64>,
    },
}

/// Prints one instruction; `next` is the slot after it, which a wide load needs.
///
/// ```
/// use skep_bpf::codec::Slot;
/// use skep_bpf::text::llvm::{Printed, print};
/// let printed = print(Slot::new(0xb7, 2, 0, 0, 15), None);
/// assert_eq!(printed, Printed::Insn { text: "r2 = 0xf".into(), slots: 1, branch: None });
/// ```
#[must_use]
pub fn print(slot: Slot, next: Option<Slot>) -> Printed {
    let text = match slot.class() {
        class::LD if slot.is_wide() => return wide(slot, next),
        class::LD => packet_load(slot),
        class::LDX => load(slot),
        class::ST | class::STX => store(slot),
        class::ALU => alu(slot, Width::W32),
        class::ALU64 => alu(slot, Width::W64),
        class::JMP => return jump(slot, Width::W64).unwrap_or(Printed::Unknown),
        _ => return jump(slot, Width::W32).unwrap_or(Printed::Unknown),
    };
    text.map_or(Printed::Unknown, |text| Printed::Insn { text, slots: 1, branch: None })
}

/// The address that a branch at `address` leads to, in bytes. It wraps as LLVM's does, so that
/// targets before the section's start are huge.
#[must_use]
pub const fn target_address(address: u64, branch: i64) -> u64 {
    address.wrapping_add(8).wrapping_add((branch as u64).wrapping_mul(8))
}

/// Writes one line with its line feed: address in slots, raw bytes if asked for, text, and the
/// target's label (such as `main+0x28`) in angle brackets.
///
/// # Errors
///
/// Those of the writer.
pub fn write_line(
    out: &mut impl Write,
    address: u64,
    bytes: &[u8],
    content: &Content,
    label: Option<&str>,
    show_raw_bytes: bool,
) -> fmt::Result {
    if *content == Content::Zeros {
        return out.write_str("\t\t...\n");
    }
    write!(out, "{:8}:", address / SLOT_BYTES as u64)?;
    if show_raw_bytes {
        for (i, byte) in bytes.iter().enumerate() {
            write!(out, "{}{byte:02x}", if i == 0 { '\t' } else { ' ' })?;
        }
    }
    match content {
        Content::Insn { text, .. } => write!(out, "\t{text}")?,
        Content::Unknown | Content::Zeros => write!(out, "\t{}", words::UNKNOWN)?,
    }
    if let Some(label) = label {
        write!(out, " <{label}>")?;
    }
    out.write_char('\n')
}

/// A signed number in LLVM's hexadecimal.
struct Hex(i64);

impl fmt::Display for Hex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        write!(f, "{sign}{:#x}", self.0.unsigned_abs())
    }
}

/// A distance: LLVM prints the sign always.
struct Distance(i64);

impl fmt::Display for Distance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { '-' } else { '+' };
        write!(f, "{sign}{:#x}", self.0.unsigned_abs())
    }
}

/// A register as LLVM prints it. It knows a twelfth, `r11`, that no instruction may use.
#[derive(Clone, Copy)]
struct Register {
    width: Width,
    number: u8,
}

impl Register {
    fn new(width: Width, number: u8) -> Option<Register> {
        (number <= 11).then_some(Register { width, number })
    }
}

impl fmt::Display for Register {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bank = match self.width {
            Width::W32 => 'w',
            Width::W64 => 'r',
        };
        write!(f, "{bank}{}", self.number)
    }
}

/// A register plus an offset.
struct Address(Register, i16);

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.1 < 0 { '-' } else { '+' };
        write!(f, "{} {sign} {:#x}", self.0, self.1.unsigned_abs())
    }
}

fn dst(slot: Slot, width: Width) -> Option<Register> {
    Register::new(width, slot.dst())
}

fn src(slot: Slot, width: Width) -> Option<Register> {
    Register::new(width, slot.src())
}

fn size(slot: Slot) -> Option<Size> {
    Size::ALL.iter().copied().find(|size| size.row().code == slot.opcode & SIZE_BITS)
}

fn wide(slot: Slot, next: Option<Slot>) -> Printed {
    let Some(dst) = dst(slot, Width::W64).filter(|_| slot.offset == 0) else {
        return Printed::Unknown;
    };
    let Some(next) = next else { return Printed::Truncated };
    let low = slot.imm as u32;
    let text = if slot.src() == 0 {
        let value = (i64::from(next.imm) << 32) | i64::from(low);
        format(format_args!("{dst} = {} {}", Hex(value), words::LL))
    } else {
        format(format_args!("{}\t{dst}, {:#x}, {low:#x}", words::LD_PSEUDO, slot.src()))
    };
    Printed::Insn { text, slots: 2, branch: None }
}

fn packet_load(slot: Slot) -> Option<String> {
    let size = size(slot).filter(|size| *size != Size::Dw)?;
    let (skb, c_type) = (words::SKB, size.row().unsigned);
    match slot.opcode & mode::BITS {
        mode::ABS => {
            let imm = Hex(i64::from(slot.imm));
            Some(format(format_args!("r0 = *({c_type} *){skb}[{imm}]")))
        }
        mode::IND => {
            let index = src(slot, Width::W64)?;
            Some(format(format_args!("r0 = *({c_type} *){skb}[{index}]")))
        }
        _ => None,
    }
}

fn load(slot: Slot) -> Option<String> {
    let size = size(slot)?;
    let c_type = match slot.opcode & mode::BITS {
        mode::MEM => size.row().unsigned,
        mode::MEMSX if size != Size::Dw => size.row().signed,
        _ => return None,
    };
    let (dst, address) = (dst(slot, Width::W64)?, Address(src(slot, Width::W64)?, slot.offset));
    Some(format(format_args!("{dst} = *({c_type} *)({address})")))
}

fn store(slot: Slot) -> Option<String> {
    let size = size(slot)?;
    let c_type = size.row().unsigned;
    let address = Address(dst(slot, Width::W64)?, slot.offset);
    match (slot.opcode & mode::BITS, slot.class()) {
        (mode::MEM, class::ST) => {
            let imm = Hex(i64::from(slot.imm));
            Some(format(format_args!("*({c_type} *)({address}) = {imm}")))
        }
        (mode::MEM, _) => {
            let src = src(slot, Width::W64)?;
            Some(format(format_args!("*({c_type} *)({address}) = {src}")))
        }
        (mode::ATOMIC, class::STX) => atomic(slot, size, &address),
        _ => None,
    }
}

fn atomic(slot: Slot, size: Size, address: &Address) -> Option<String> {
    let src = src(slot, Width::W64)?;
    // LLVM looks at the low byte of the immediate only, and takes a low half other than that of a
    // fetching form for a plain one.
    let find = |imm: i32| AtomicOp::ALL.iter().copied().find(|op| op.row().imm == imm);
    let plain = || find(slot.imm & 0xf0).filter(|op| !op.row().fetch);
    let op = match size {
        // Without 32-bit registers, which llvm-objdump does not assume, addition is all there is.
        Size::W => plain().filter(|op| *op == AtomicOp::Add)?,
        Size::Dw => find(slot.imm & 0xff).or_else(plain)?,
        Size::B | Size::H => return None,
    };
    let (symbol, c_type) = (op.row().symbol, size.row().unsigned);
    Some(match op {
        AtomicOp::Add | AtomicOp::Or | AtomicOp::And | AtomicOp::Xor => {
            format(format_args!("{} *({c_type} *)({address}) {symbol} {src}", words::LOCK))
        }
        AtomicOp::FetchAdd | AtomicOp::FetchOr | AtomicOp::FetchAnd | AtomicOp::FetchXor => {
            let prefix = words::ATOMIC;
            format(format_args!("{src} = {prefix}{symbol}(({c_type} *)({address}), {src})"))
        }
        AtomicOp::Xchg => {
            format(format_args!("{src} = {symbol}{}({address}, {src})", words::SUFFIX_64))
        }
        AtomicOp::Cmpxchg => {
            format(format_args!("r0 = {symbol}{}({address}, r0, {src})", words::SUFFIX_64))
        }
    })
}

fn alu(slot: Slot, width: Width) -> Option<String> {
    let dst = dst(slot, width)?;
    let is_x = slot.opcode & SOURCE_X != 0;
    match slot.opcode & CODE_BITS {
        code::NEG if !is_x => Some(format(format_args!("{dst} = -{dst}"))),
        code::NEG => None,
        code::END => {
            let op = Endian::ALL.iter().copied().find(|op| {
                op.row().class == slot.class() && op.row().source == slot.opcode & SOURCE_X
            })?;
            let is_size = |bits: &SwapBits| i32::from(bits.row().bits) == slot.imm;
            let bits = SwapBits::ALL.iter().copied().find(is_size)?.row().bits;
            // Byte swaps have no 32-bit form: the result is a whole register.
            let dst = Register { width: Width::W64, ..dst };
            Some(format(format_args!("{dst} = {}{bits} {dst}", op.row().mnemonic)))
        }
        op_code => {
            if op_code == AluOp::Mov.row().code && is_x && slot.offset != 0 {
                return special_move(slot, width, dst);
            }
            let op = AluOp::ALL
                .iter()
                .copied()
                .find(|op| op.row().code == op_code && op.row().offset == slot.offset)?;
            let symbol = op.row().symbol;
            Some(if is_x {
                format(format_args!("{dst} {symbol} {}", src(slot, width)?))
            } else {
                format(format_args!("{dst} {symbol} {}", Hex(i64::from(slot.imm))))
            })
        }
    }
}

fn special_move(slot: Slot, width: Width, dst: Register) -> Option<String> {
    let src = src(slot, width)?;
    if width == Width::W64 && slot.offset == ADDR_SPACE_CAST_OFFSET {
        let (to, from) = (slot.imm as u32 >> 16, slot.imm as u32 & 0xffff);
        let name = words::ADDR_SPACE_CAST;
        return Some(format(format_args!("{dst} = {name}({src}, {to:#x}, {from:#x})")));
    }
    let is_op =
        |op: &Movsx| op.row().width == width && i16::from(op.row().from_bits) == slot.offset;
    let cast = Movsx::ALL.iter().copied().find(is_op)?.row().cast;
    Some(format(format_args!("{dst} = {cast}{src}")))
}

fn jump(slot: Slot, width: Width) -> Option<Printed> {
    let is_x = slot.opcode & SOURCE_X != 0;
    let short = i64::from(slot.offset);
    let imm = i64::from(slot.imm);
    let branch = |word: &str, by: i64| Printed::Insn {
        text: format(format_args!("{word} {}", Distance(by))),
        slots: 1,
        branch: Some(by),
    };
    let plain = |text: String| Printed::Insn { text, slots: 1, branch: None };
    Some(match (slot.opcode & CODE_BITS, width) {
        (code::JA, Width::W64) if !is_x => branch(words::GOTO, short),
        (code::JA, Width::W32) if !is_x => branch(words::GOTOL, imm),
        (code::JCOND, Width::W64) if !is_x => branch(words::MAY_GOTO, short),
        (code::CALL, Width::W64) if is_x => {
            plain(format(format_args!("{} {}", words::CALLX, dst(slot, Width::W64)?)))
        }
        (code::CALL, Width::W64) => plain(format(format_args!("{} {}", words::CALL, Hex(imm)))),
        (code::EXIT, Width::W64) if !is_x && slot.imm == 0 => plain(String::from(words::EXIT)),
        (cond_code, _) => {
            let cond = Cond::ALL.iter().copied().find(|cond| cond.row().code == cond_code)?;
            let (dst, symbol, to) = (dst(slot, width)?, cond.row().symbol, Distance(short));
            let (if_, goto) = (words::IF, words::GOTO);
            let text = if is_x {
                let src = src(slot, width)?;
                format(format_args!("{if_} {dst} {symbol} {src} {goto} {to}"))
            } else {
                format(format_args!("{if_} {dst} {symbol} {} {goto} {to}", Hex(imm)))
            };
            Printed::Insn { text, slots: 1, branch: Some(short) }
        }
    })
}

fn format(arguments: fmt::Arguments<'_>) -> String {
    alloc::fmt::format(arguments)
}

#[cfg(test)]
mod tests;
