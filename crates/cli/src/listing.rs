//! Disassembly of an object, laid out byte for byte as `llvm-objdump` 19 lays it out.
//!
//! Instructions are printed by [`skep_bpf::text`]; here are sections, symbols, labels of jump
//! targets, source lines and relocations, by `llvm-objdump`'s rules. Source lines come from BTF,
//! as `llvm-objdump` takes them where an object has no DWARF.

mod core_reloc;
mod names;
mod symbols;

use std::io::{self, Write};

use clap::ValueEnum;
use skep_bpf::codec::{SLOT_BYTES, Slot, SlotIndex, decode};
use skep_bpf::text::c_like::{Decimal, Kernel, LinuxNames};
use skep_bpf::text::llvm::{self, Content, Item, Printed};
use skep_bpf::text::mnemonic::Mnemonic;
use skep_object::{Function, Object, Relocation, Section};

pub use names::name_at;
use symbols::{Label, Symbols};

/// What is shown.
#[derive(Clone, Copy, Debug)]
pub struct Options<'a> {
    /// Source lines.
    pub source: bool,
    /// Relocations, at their instructions.
    pub relocations: bool,
    /// The bytes of instructions.
    pub raw_bytes: bool,
    /// How instructions are written.
    pub style: Style,
    /// Names of maps, variables and functions.
    pub names: bool,
    /// Only these functions.
    pub only: Option<&'a [&'a Function]>,
}

/// How instructions are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Style {
    /// As llvm-objdump: hexadecimal numbers, <symbol+0x10> at jumps
    Llvm,
    /// As the verifier's log and bpftool: goto pc+3, call bpf_map_lookup_elem#1
    Kernel,
    /// C-like with decimal numbers: r2 = 15
    Decimal,
    /// Mnemonics: mov %r2, 15
    Mnemonic,
}

impl Style {
    /// The text of an instruction; none if the slots are no instruction. `next` is the slot
    /// after it.
    #[must_use]
    pub fn print(self, slot: Slot, next: Option<Slot>) -> Option<String> {
        if self == Style::Llvm {
            return match llvm::print(slot, next) {
                Printed::Insn { text, .. } => Some(text),
                Printed::Truncated | Printed::Unknown => None,
            };
        }
        let slots: Vec<Slot> = [Some(slot), next].into_iter().flatten().collect();
        let insn = decode(&slots, SlotIndex(0)).ok()?;
        Some(match self {
            Style::Llvm | Style::Decimal => Decimal(&insn).to_string(),
            Style::Kernel => format!("{:#}", Kernel { insn: &insn, names: &LinuxNames }),
            Style::Mnemonic => Mnemonic(&insn).to_string(),
        })
    }
}

/// Writes the disassembly of all code sections.
///
/// # Errors
///
/// Those of the writer.
pub fn write(object: &Object, options: &Options<'_>, out: &mut dyn Write) -> io::Result<()> {
    let mut line_before = None;
    for section in object.sections().iter().filter(|section| section.is_code()) {
        let bytes = object.section_bytes(section);
        if bytes.is_empty() {
            continue;
        }
        line_before = Listing::new(object, section, bytes, options, line_before).write(out)?;
    }
    Ok(())
}

/// Writes the relocations of all sections as tables.
///
/// # Errors
///
/// Those of the writer.
pub fn write_relocations(object: &Object, out: &mut dyn Write) -> io::Result<()> {
    for section in object.relocated_sections() {
        write!(out, "\nRELOCATION RECORDS FOR [{}]:\n", section.name)?;
        writeln!(out, "{:16} {:24} VALUE", "OFFSET", "TYPE")?;
        for relocation in object.relocations(section.index) {
            let (kind, label) = relocation_text(object, relocation);
            writeln!(out, "{:016x} {kind:24} {label}", relocation.offset)?;
        }
    }
    Ok(())
}

/// The type and the symbol of a relocation.
fn relocation_text(object: &Object, relocation: &Relocation) -> (&'static str, String) {
    let label = match object.symbol(relocation.symbol) {
        // The null symbol: the relocation is not relative to anything.
        _ if relocation.symbol.0 == 0 => "*ABS*".to_owned(),
        Some(symbol) => object.symbol_label(symbol),
        None => String::new(),
    };
    (relocation.kind.name().unwrap_or("Unknown"), label)
}

/// The disassembly of a section.
struct Listing<'a> {
    object: &'a Object,
    section: &'a Section,
    bytes: &'a [u8],
    options: &'a Options<'a>,
    symbols: Symbols<'a>,
    /// Those not printed yet.
    relocations: &'a [Relocation],
    /// The file and line of the instruction before; none if it starts no line.
    line_before: Option<(&'a str, u32)>,
}

impl<'a> Listing<'a> {
    fn new(
        object: &'a Object,
        section: &'a Section,
        bytes: &'a [u8],
        options: &'a Options<'a>,
        line_before: Option<(&'a str, u32)>,
    ) -> Listing<'a> {
        let relocations = match options.relocations {
            true => object.relocations(section.index),
            false => &[],
        };
        let symbols = Symbols::of(object, section);
        Listing { object, section, bytes, options, symbols, relocations, line_before }
    }

    /// Writes it; the result is the line of its last instruction.
    fn write(mut self, out: &mut dyn Write) -> io::Result<Option<(&'a str, u32)>> {
        let mut printed_section = false;
        for part in self.symbols.parts(self.bytes.len()) {
            if !self.is_wanted(part.start, part.end) {
                continue;
            }
            if !printed_section {
                write!(out, "\nDisassembly of section {}:\n", self.section.name)?;
                printed_section = true;
            }
            write!(out, "\n{:016x} <{}>:\n", part.start, part.name)?;
            if part.is_data {
                write_data(self.bytes, part.start, part.end, out)?;
                continue;
            }
            let before = |r: &Relocation| r.offset < part.start as u64;
            let skip = self.relocations.iter().take_while(|r| before(r)).count();
            self.relocations = self.relocations.get(skip..).unwrap_or(&[]);
            self.write_code(part.start, part.end, out)?;
        }
        Ok(self.line_before)
    }

    /// Whether a part of the section belongs to the functions asked for.
    fn is_wanted(&self, start: usize, end: usize) -> bool {
        let Some(only) = self.options.only else { return true };
        only.iter().any(|function| {
            let first = function.offset;
            let last = first.saturating_add(function.size);
            function.section == self.section.index && (start as u64) < last && first < end as u64
        })
    }

    fn write_code(&mut self, start: usize, end: usize, out: &mut dyn Write) -> io::Result<()> {
        let mut at = start;
        while at < end {
            // Zeros that a relocation patches are shown.
            let until = match self.relocations.first() {
                Some(next) => usize::try_from(next.offset).unwrap_or(end).clamp(at, end),
                None => end,
            };
            let item = match llvm::next_item(self.bytes, at, until) {
                Some(item) => Some(item),
                // A relocation is right here: whatever it is, it is shown.
                None => llvm::next_item(self.bytes, at, at + 1),
            };
            let Some(item) = item else { return Ok(()) };
            self.write_item(at, &item, out)?;
            at += item.len_bytes;
        }
        Ok(())
    }

    fn write_item(&mut self, at: usize, item: &Item, out: &mut dyn Write) -> io::Result<()> {
        if item.content == Content::Zeros {
            return out.write_all(b"\t\t...\n");
        }
        if self.options.source {
            self.write_source(at, out)?;
        }
        let end = at.saturating_add(item.len_bytes).min(self.bytes.len());
        let label = match &item.content {
            Content::Insn { branch: Some(branch), .. } if self.options.style != Style::Kernel => {
                self.symbols.label(llvm::target_address(at as u64, *branch))
            }
            _ => None,
        };
        let bytes = self.bytes.get(at..end).unwrap_or(&[]);
        let mut content = item.content.clone();
        self.restyle(&mut content, bytes);
        let mut line = String::new();
        let label = label.map(|Label { name, distance }| match distance {
            0 => name.to_owned(),
            _ => format!("{name}+{distance:#x}"),
        });
        llvm::write_line(
            &mut line,
            at as u64,
            bytes,
            &content,
            label.as_deref(),
            self.options.raw_bytes,
        )
        .map_err(io::Error::other)?;
        if self.options.names
            && let Some(name) = name_at(self.object, self.section.index, at as u64)
        {
            line.truncate(line.trim_end_matches('\n').len());
            line.push_str(&format!("\t; {name}\n"));
        }
        out.write_all(line.as_bytes())?;
        if self.options.relocations {
            self.write_relocations(at, end, out)?;
        }
        Ok(())
    }

    /// Exchanges the text for that of the style. Linking was not done: calls and loads that
    /// relocations complete show what the compiler left in them.
    fn restyle(&self, content: &mut Content, bytes: &[u8]) {
        if self.options.style == Style::Llvm {
            return;
        }
        let mut slots = bytes.as_chunks::<SLOT_BYTES>().0.iter().map(|b| Slot::from_bytes(*b));
        let styled = slots.next().and_then(|slot| self.options.style.print(slot, slots.next()));
        let branch = match content {
            Content::Insn { branch, .. } => *branch,
            Content::Zeros | Content::Unknown => None,
        };
        *content = match styled {
            Some(text) => Content::Insn { text, branch },
            None => Content::Unknown,
        };
    }

    /// The source line that starts exactly here, unless the instruction before had the same.
    fn write_source(&mut self, at: usize, out: &mut dyn Write) -> io::Result<()> {
        let Some(btf) = self.object.btf() else { return Ok(()) };
        let lines = self.object.line_records(&self.section.name);
        let first = lines.partition_point(|line| (line.insn_offset as usize) < at);
        let line = lines.get(first).filter(|line| line.insn_offset as usize == at);
        let Some(line) = line else {
            self.line_before = None;
            return Ok(());
        };
        let place = (btf.str(line.file), line.line);
        if line.line != 0 && self.line_before != Some(place) {
            let text = btf.str(line.text);
            if !text.is_empty() {
                writeln!(out, "; {text}")?;
            }
        }
        self.line_before = Some(place);
        Ok(())
    }

    fn write_relocations(&mut self, at: usize, end: usize, out: &mut dyn Write) -> io::Result<()> {
        if let Some(text) = core_reloc::describe(self.object, &self.section.name, at) {
            writeln!(out, "\t\t{at:016x}:  CO-RE {text}")?;
        }
        while let Some((next, rest)) = self.relocations.split_first() {
            if next.offset >= end as u64 {
                break;
            }
            self.relocations = rest;
            if next.offset >= at as u64 {
                let (kind, label) = relocation_text(self.object, next);
                writeln!(out, "\t\t{:016x}:  {kind}\t{label}", next.offset)?;
            }
        }
        Ok(())
    }
}

/// Data between code, eight bytes a row.
fn write_data(bytes: &[u8], start: usize, end: usize, out: &mut dyn Write) -> io::Result<()> {
    let data = bytes.get(start..end).unwrap_or(&[]);
    for (row, chunk) in data.chunks(SLOT_BYTES).enumerate() {
        write!(out, "{:8x}:", start + row * SLOT_BYTES)?;
        for byte in chunk {
            write!(out, " {byte:02x}")?;
        }
        let is_text = |byte: &u8| byte.is_ascii_graphic() || *byte == b' ';
        let text: String =
            chunk.iter().map(|b| if is_text(b) { char::from(*b) } else { '.' }).collect();
        let indent = 3 * (SLOT_BYTES - chunk.len()) + 9;
        writeln!(out, "{:indent$}{text}", "")?;
    }
    Ok(())
}
