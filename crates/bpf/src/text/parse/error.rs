//! Why text is not assembly: the place, what was needed there, what was found.

use alloc::string::String;
use core::fmt;

/// Why text does not assemble, and where.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AsmError {
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// What is wrong.
    pub kind: AsmErrorKind,
}

/// What would have been right.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Needed {
    /// An instruction.
    Instruction,
    /// A register, `r0` to `r10`.
    Register,
    /// A register as wide as the other operand.
    RegisterOfWidth(u32),
    /// The same register again: the form has one operand that is read and written.
    SameRegister(u8),
    /// A 32-bit register cannot hold what is loaded.
    WholeRegister,
    /// A number.
    Number,
    /// A register or a number.
    Operand,
    /// An assignment such as `=` or `s>>=`.
    Assignment,
    /// A comparison such as `==` or `s>`.
    Comparison,
    /// The operator of an atomic operation: `+=`, `|=`, `&=` or `^=`.
    AtomicOperator,
    /// The type of a memory access, `u8` to `u64` or `s8` to `s32`.
    AccessType,
    /// The unsigned type of so many bits.
    TypeOfBits(u32),
    /// A distance with its sign, or a label.
    Target,
    /// A helper's number, a function's label, or a word that says what is called.
    Callee,
    /// Something that can stand on the right of `=`.
    Value,
    /// Exactly this.
    Text(&'static str),
    /// The opcode that the instruction has.
    Opcode(u8),
    /// The position that the instruction has, in slots.
    Position(usize),
    /// The end of the line.
    EndOfLine,
    /// A single instruction, no more text.
    EndOfText,
}

impl fmt::Display for Needed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Needed::Instruction => f.write_str("an instruction"),
            Needed::Register => f.write_str("a register, r0 to r10"),
            Needed::RegisterOfWidth(bits) => {
                let bank = if *bits == 32 { 'w' } else { 'r' };
                write!(f, "a {bits}-bit register ({bank}0 to {bank}10)")
            }
            Needed::SameRegister(number) => write!(f, "register {number} again"),
            Needed::WholeRegister => {
                f.write_str("a 64-bit register (r0 to r10), for this load sets all its bits")
            }
            Needed::Number => f.write_str("a number"),
            Needed::Operand => f.write_str("a register or a number"),
            Needed::Assignment => f.write_str("an assignment such as `=` or `s>>=`"),
            Needed::Comparison => f.write_str("a comparison such as `==` or `s>`"),
            Needed::AtomicOperator => f.write_str("`+=`, `|=`, `&=` or `^=`"),
            Needed::AccessType => f.write_str("a type, u8 to u64 or s8 to s32"),
            Needed::TypeOfBits(bits) => write!(f, "the type u{bits}"),
            Needed::Target => f.write_str("a distance such as +3, or a label"),
            Needed::Callee => f.write_str("a helper's number, a function's label, or `local`"),
            Needed::Value => f.write_str("a register, a number, a load or a function"),
            Needed::Text(text) => write!(f, "`{text}`"),
            Needed::Opcode(opcode) => write!(f, "{opcode:02x}, the instruction's opcode"),
            Needed::Position(slot) => write!(f, "{slot}, the instruction's position in slots"),
            Needed::EndOfLine => f.write_str("the end of the line"),
            Needed::EndOfText => f.write_str("a single instruction"),
        }
    }
}

/// What is wrong with a piece of text.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum AsmErrorKind {
    /// Something else should stand here.
    Unexpected {
        /// What.
        needed: Needed,
        /// What stands here instead; empty at the end of a line.
        found: String,
    },
    /// No instruction has the name.
    UnknownInstruction {
        /// The name.
        name: String,
    },
    /// A number does not fit its field.
    OutOfRange {
        /// The number as written.
        number: String,
        /// The smallest that fits.
        min: i64,
        /// The greatest that fits.
        max: u64,
    },
    /// The instruction has no form for the operands.
    NoSuchForm {
        /// The operation.
        operation: &'static str,
        /// The operand that it does not take.
        operand: String,
    },
    /// A name stands for another number than the one beside it.
    WrongNumber {
        /// The name.
        name: String,
        /// Its number.
        is: u32,
    },
    /// No line of the text has the label.
    UnknownLabel {
        /// The label.
        label: String,
    },
    /// What is called is neither a label nor the name of a helper.
    UnknownFunction {
        /// The name.
        name: String,
    },
    /// A label stands on two lines.
    DuplicateLabel {
        /// The label.
        label: String,
        /// The first of the lines, from 1.
        first_line: usize,
    },
    /// A jump is too far for its field.
    TargetTooFar {
        /// The distance in slots.
        distance: i64,
        /// The size of the field.
        bits: u32,
    },
}

impl fmt::Display for AsmError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}: {}", self.line, self.column, self.kind)
    }
}

impl fmt::Display for AsmErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AsmErrorKind::Unexpected { needed, found } if found.is_empty() => {
                write!(f, "needed {needed}, found the end of the line")
            }
            AsmErrorKind::Unexpected { needed, found } => {
                write!(f, "needed {needed}, found `{found}`")
            }
            AsmErrorKind::UnknownInstruction { name } => {
                write!(f, "no instruction is called `{name}`")
            }
            AsmErrorKind::OutOfRange { number, min, max } => {
                write!(f, "needed a number from {min} to {max}, found `{number}`")
            }
            AsmErrorKind::NoSuchForm { operation, operand } => {
                write!(f, "{operation} has no form for `{operand}`")
            }
            AsmErrorKind::WrongNumber { name, is } => {
                write!(f, "`{name}` has the number {is}, not this one")
            }
            AsmErrorKind::UnknownLabel { label } => {
                write!(f, "needed a label, found `{label}`, which stands on no line")
            }
            AsmErrorKind::UnknownFunction { name } => {
                write!(f, "needed a label or a helper's name, found `{name}`, which is neither")
            }
            AsmErrorKind::DuplicateLabel { label, first_line } => {
                write!(f, "the label `{label}` stands on line {first_line} already")
            }
            AsmErrorKind::TargetTooFar { distance, bits: 16 } => {
                write!(f, "a jump of {distance:+} slots does not fit in 16 bits; gotol has 32")
            }
            AsmErrorKind::TargetTooFar { distance, bits } => {
                write!(f, "a distance of {distance:+} slots does not fit in {bits} bits")
            }
        }
    }
}

impl core::error::Error for AsmError {}
