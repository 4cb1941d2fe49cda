//! The assembler: both text dialects, line by line, to code.
//!
//! A line holds labels (`name:`), at most one instruction and a comment (from `;`, `//`, or a `#`
//! that starts a word). Each line may be in either dialect and in any style that [`super`]
//! prints; the position and opcode that the kernel and LLVM put before an instruction
//! (`12: (b7)`) may stand there if they are right. Targets are distances (`+3`, `pc+3`) or labels.

mod c_like;
mod call;
mod error;
mod mnemonic;
mod scan;

use alloc::borrow::ToOwned;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

pub use error::{AsmError, AsmErrorKind, Needed};
use scan::{LineError, Parsed, Scanner};

use super::words;
use crate::codec::{EncodeError, Encoded, Slot, SlotIndex, encode};
use crate::debug_info::{DebugInfo, SourceLine};
use crate::insn::{Callee, HelperId, Insn, Offset};
use crate::platform;
use crate::program::Bytecode;

/// Assembled text.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Assembly {
    /// The code.
    pub slots: Vec<Slot>,
    /// Where each label stands: the slot of the instruction after it.
    pub labels: BTreeMap<String, SlotIndex>,
    /// The labels that are called or whose address is taken, by slot.
    pub functions: Vec<(SlotIndex, String)>,
    /// Where each instruction came from, by slot.
    pub lines: Vec<AsmLine>,
}

/// Where an instruction came from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AsmLine {
    /// The instruction's first slot.
    pub slot: SlotIndex,
    /// The line in the text, from 1.
    pub line: u32,
    /// The line's text.
    pub text: Arc<str>,
}

impl Assembly {
    /// The code with its lines, as if `file` were its source, and the names of its functions.
    #[must_use]
    pub fn bytecode(&self, file: &str) -> Bytecode {
        let file: Arc<str> = Arc::from(file);
        let source = |line: &AsmLine| SourceLine {
            slot: line.slot,
            file: file.clone(),
            line: line.line,
            column: 1,
            text: line.text.clone(),
        };
        let lines = self.lines.iter().map(source).collect();
        let debug = DebugInfo::new(lines, self.functions.clone());
        Bytecode { slots: self.slots.clone(), debug, ..Bytecode::default() }
    }
}

/// Assembles text.
///
/// ```
/// use skep_bpf::text::parse::assemble;
/// let assembly = assemble(
///     "    r0 = 0            ; both dialects
///      loop:
///          add %r0, 5
///          if r0 < 20 goto loop
///          exit",
/// )?;
/// assert_eq!(assembly.slots.len(), 4);
/// assert_eq!(assembly.slots[2].offset, -2);
/// # Ok::<(), skep_bpf::text::parse::AsmError>(())
/// ```
///
/// # Errors
///
/// The first thing in the text that is not assembly.
pub fn assemble(text: &str) -> Result<Assembly, AsmError> {
    let parsed = Parser::read(text, true)?;
    parsed.encode()
}

/// Parses a single instruction, in either dialect.
///
/// ```
/// use skep_bpf::insn::{Insn, Reg, Src};
/// use skep_bpf::op::{AluOp, Width};
/// use skep_bpf::text::parse::parse_insn;
/// let mov = Insn::Alu { op: AluOp::Mov, width: Width::W64, dst: Reg::R2, src: Src::Imm(15) };
/// for text in ["r2 = 15", "r2 = 0xf", "mov %r2, 15", "(b7) r2 = 15"] {
///     assert_eq!(parse_insn(text)?, mov);
/// }
/// # Ok::<(), skep_bpf::text::parse::AsmError>(())
/// ```
///
/// # Errors
///
/// Why the text is not an instruction, or that there is more than one.
pub fn parse_insn(text: &str) -> Result<Insn<Offset>, AsmError> {
    let parsed = Parser::read(text, false)?;
    let unexpected = |line: usize, found: &str| {
        let found = found.trim().to_owned();
        let kind = AsmErrorKind::Unexpected { needed: Needed::EndOfText, found };
        AsmError { line, column: 1, kind }
    };
    match parsed.statements.as_slice() {
        [] => {
            let kind =
                AsmErrorKind::Unexpected { needed: Needed::Instruction, found: String::new() };
            Err(AsmError { line: 1, column: 1, kind })
        }
        [only] => parsed.resolve(only),
        [_, second, ..] => Err(unexpected(second.line, second.text)),
    }
}

/// What a jump, call or function address names.
#[derive(Clone, Copy)]
enum Target<'a> {
    /// So many slots away.
    Distance { at: usize, by: i64 },
    /// A label.
    Label { at: usize, name: &'a str },
    /// A label or, in calls, the name of a helper.
    Function { at: usize, name: &'a str },
}

/// One instruction of the text.
struct Statement<'a> {
    insn: Insn<Target<'a>>,
    slot: usize,
    line: usize,
    text: &'a str,
    /// The opcode that stands before it, and where.
    opcode: Option<(usize, u8)>,
}

impl Statement<'_> {
    fn error(&self, error: LineError) -> AsmError {
        error_on(self.line, self.text, error)
    }
}

fn error_on(line: usize, text: &str, LineError { at, kind }: LineError) -> AsmError {
    let before = text.get(..at).unwrap_or(text);
    AsmError { line, column: before.chars().count() + 1, kind }
}

/// Text that was read line by line; labels are known, targets not yet resolved.
struct Parser<'a> {
    statements: Vec<Statement<'a>>,
    /// Where each label stands, and on which line.
    labels: BTreeMap<&'a str, (usize, usize)>,
    slots: usize,
}

impl<'a> Parser<'a> {
    fn read(text: &'a str, check_positions: bool) -> Result<Parser<'a>, AsmError> {
        let mut parser = Parser { statements: Vec::new(), labels: BTreeMap::new(), slots: 0 };
        for (index, text) in text.lines().enumerate() {
            let line = index + 1;
            let read = parser.read_line(line, text, check_positions);
            read.map_err(|error| error_on(line, text, error))?;
        }
        parser.add_exit_label();
        Ok(parser)
    }

    fn read_line(&mut self, line: usize, text: &'a str, check_positions: bool) -> Parsed<()> {
        let mut scanner = Scanner::new(text);
        self.read_labels(&mut scanner, line)?;
        read_position(&mut scanner, check_positions.then_some(self.slots))?;
        let opcode = read_opcode(&mut scanner)?;
        if opcode.is_none() && scanner.is_done() {
            return Ok(());
        }
        let insn = instruction(&mut scanner, opcode.map(|(_, opcode)| opcode))?;
        if !scanner.is_done() {
            return Err(scanner.unexpected(Needed::EndOfLine));
        }
        let slot = self.slots;
        self.slots += insn.len_slots();
        self.statements.push(Statement { insn, slot, line, text, opcode });
        Ok(())
    }

    fn read_labels(&mut self, scanner: &mut Scanner<'a>, line: usize) -> Parsed<()> {
        loop {
            let mut ahead = *scanner;
            let at = ahead.at();
            let Some(name) = ahead.word().filter(|_| ahead.eat(":")) else { return Ok(()) };
            *scanner = ahead;
            if let Some((_, first_line)) = self.labels.insert(name, (self.slots, line)) {
                let label = name.to_owned();
                return Err(LineError {
                    at,
                    kind: AsmErrorKind::DuplicateLabel { label, first_line },
                });
            }
        }
    }

    /// The conformance suite's programs jump to `exit` without a label of that name: it is the
    /// first return.
    fn add_exit_label(&mut self) {
        if let Some(exit) = self.statements.iter().find(|s| matches!(s.insn, Insn::Exit)) {
            self.labels.entry(words::EXIT).or_insert((exit.slot, exit.line));
        }
    }

    /// The distance from an instruction to its target.
    fn distance(&self, from: usize, target: Target<'_>) -> Parsed<Offset> {
        let (at, distance) = match target {
            Target::Distance { at, by } => (at, by),
            Target::Label { at, name } | Target::Function { at, name } => {
                let Some((slot, _)) = self.labels.get(name) else {
                    let name = name.to_owned();
                    let kind = match target {
                        Target::Function { .. } => AsmErrorKind::UnknownFunction { name },
                        Target::Label { .. } | Target::Distance { .. } => {
                            AsmErrorKind::UnknownLabel { label: name }
                        }
                    };
                    return Err(LineError { at, kind });
                };
                (at, *slot as i64 - from as i64 - 1)
            }
        };
        let too_far = || AsmErrorKind::TargetTooFar { distance, bits: 32 };
        i32::try_from(distance).map(Offset).map_err(|_| LineError { at, kind: too_far() })
    }

    fn resolve(&self, statement: &Statement<'_>) -> Result<Insn<Offset>, AsmError> {
        self.resolve_on_line(statement).map_err(|error| statement.error(error))
    }

    fn resolve_on_line(&self, statement: &Statement<'_>) -> Parsed<Insn<Offset>> {
        if let Insn::Call { callee: Callee::Local(Target::Function { name, .. }) } = statement.insn
            && !self.labels.contains_key(name)
            && let Some(platform::HelperId(id)) = platform::HelperId::named(name)
        {
            return Ok(Insn::Call { callee: Callee::Helper(HelperId(id)) });
        }
        let mut target_at = 0;
        let insn = statement.insn.try_map(|target| {
            let (Target::Distance { at, .. }
            | Target::Label { at, .. }
            | Target::Function { at, .. }) = target;
            target_at = at;
            self.distance(statement.slot, target)
        })?;
        let code = encoding(&insn).map_err(|kind| LineError { at: target_at, kind })?;
        if let Some((at, found)) = statement.opcode
            && let Some(slot) = code.slots().next()
            && slot.opcode != found
        {
            let found = alloc::format!("{found:02x}");
            let needed = Needed::Opcode(slot.opcode);
            return Err(LineError { at, kind: AsmErrorKind::Unexpected { needed, found } });
        }
        Ok(insn)
    }

    fn encode(&self) -> Result<Assembly, AsmError> {
        let mut assembly = Assembly::default();
        let mut called = BTreeSet::new();
        for statement in &self.statements {
            let insn = self.resolve(statement)?;
            let error = |kind| statement.error(LineError { at: 0, kind });
            assembly.slots.extend(encoding(&insn).map_err(error)?.slots());
            assembly.lines.push(AsmLine {
                slot: SlotIndex(statement.slot),
                line: u32::try_from(statement.line).unwrap_or(u32::MAX),
                text: Arc::from(statement.text.trim()),
            });
            if let Some(Target::Label { name, .. } | Target::Function { name, .. }) =
                statement.insn.function_target()
            {
                called.insert(*name);
            }
        }
        let label =
            |(name, (slot, _)): (&&str, &(usize, usize))| ((*name).to_owned(), SlotIndex(*slot));
        assembly.labels = self.labels.iter().map(label).collect();
        let functions = assembly.labels.iter().filter(|(name, _)| called.contains(name.as_str()));
        assembly.functions = functions.map(|(name, slot)| (*slot, name.clone())).collect();
        assembly.functions.sort();
        Ok(assembly)
    }
}

fn encoding(insn: &Insn<Offset>) -> Result<Encoded, AsmErrorKind> {
    encode(insn).map_err(|EncodeError::OffsetOutOfRange(distance)| AsmErrorKind::TargetTooFar {
        distance: i64::from(distance),
        bits: 16,
    })
}

/// `12:` before an instruction, which must be its position if that is to be checked.
fn read_position(scanner: &mut Scanner<'_>, slot: Option<usize>) -> Parsed<()> {
    let mut ahead = *scanner;
    let Some(number) = ahead.number().filter(|_| ahead.eat(":")) else { return Ok(()) };
    *scanner = ahead;
    match slot {
        Some(slot) if number.within(0, u64::MAX)? != slot as i128 => {
            let found = number.text.to_owned();
            let needed = Needed::Position(slot);
            Err(LineError { at: number.at, kind: AsmErrorKind::Unexpected { needed, found } })
        }
        _ => Ok(()),
    }
}

/// `(b7)` before an instruction.
fn read_opcode(scanner: &mut Scanner<'_>) -> Parsed<Option<(usize, u8)>> {
    if !scanner.eat("(") {
        return Ok(None);
    }
    let at = scanner.at();
    let found = scanner.found();
    let digits = Some(found).filter(|text| text.len() == 2);
    let Some(opcode) = digits.and_then(|text| u8::from_str_radix(text, 16).ok()) else {
        return Err(scanner.unexpected(Needed::Number));
    };
    scanner.eat(found);
    scanner.expect(")")?;
    Ok(Some((at, opcode)))
}

/// An instruction of either dialect. Some words belong to both.
fn instruction<'a>(scanner: &mut Scanner<'a>, opcode: Option<u8>) -> Parsed<Insn<Target<'a>>> {
    if let Some(insn) = c_like::instruction(scanner, opcode)? {
        return Ok(insn);
    }
    mnemonic::instruction(scanner)
}

/// A distance with its sign, perhaps after `pc` and before LLVM's `<symbol>`; or a label.
fn target<'a>(scanner: &mut Scanner<'a>) -> Parsed<Target<'a>> {
    let at = scanner.at();
    let mut ahead = *scanner;
    ahead.eat_word(words::PC);
    if ahead.rest().trim_start().starts_with(['+', '-']) {
        *scanner = ahead;
        let by = scanner.expect_number()?.distance()?;
        skip_symbol(scanner)?;
        return Ok(Target::Distance { at, by });
    }
    match scanner.word() {
        Some(name) => Ok(Target::Label { at, name }),
        None => Err(scanner.unexpected(Needed::Target)),
    }
}

/// `<main+0x28>`, which `llvm-objdump` adds to a distance; it says the same again.
fn skip_symbol(scanner: &mut Scanner<'_>) -> Parsed<()> {
    if scanner.eat("<") {
        while !scanner.eat(">") {
            let found = scanner.found();
            if found.is_empty() {
                return Err(scanner.unexpected(Needed::Text(">")));
            }
            scanner.eat(found);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
