//! Machine code as text, one instruction at a time, by disassemblers that are not ours.

use clap::ValueEnum;
use iced_x86::{Decoder, DecoderOptions, Formatter, GasFormatter, IntelFormatter};
use yaxpeax_arch::{Decoder as _, U8Reader};
use yaxpeax_arm::armv8::a64::InstDecoder;

/// What machine code is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Arch {
    /// 64-bit x86
    #[value(name = "x86-64", alias = "x86_64")]
    X64,
    /// 64-bit ARM
    #[value(name = "aarch64", alias = "arm64")]
    A64,
}

impl Arch {
    /// The name, as `--arch` takes it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Arch::X64 => "x86-64",
            Arch::A64 => "aarch64",
        }
    }
}

/// How instructions of x86 are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Syntax {
    /// mov eax,[r12+rdi+4]
    Intel,
    /// mov 0x4(%r12,%rdi),%eax, as objdump
    Att,
}

/// An instruction of a machine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Line {
    /// Its offset in the code.
    pub offset: usize,
    /// Its length in bytes.
    pub len: usize,
    /// Its text.
    pub text: String,
}

/// The instructions in a range of code. Jumps are shown with offsets in the code as targets; what
/// is no instruction is shown as `(bad)`.
#[must_use]
pub fn disassemble(
    code: &[u8],
    range: std::ops::Range<usize>,
    arch: Arch,
    syntax: Syntax,
) -> Vec<Line> {
    let Some(bytes) = code.get(range.clone()) else { return Vec::new() };
    match arch {
        Arch::X64 => x64(bytes, range.start, syntax),
        Arch::A64 => a64(bytes, range.start),
    }
}

fn x64(bytes: &[u8], start: usize, syntax: Syntax) -> Vec<Line> {
    let mut formatter: Box<dyn Formatter> = match syntax {
        Syntax::Intel => Box::new(IntelFormatter::new()),
        Syntax::Att => Box::new(GasFormatter::new()),
    };
    let options = formatter.options_mut();
    options.set_hex_prefix("0x");
    options.set_hex_suffix("");
    options.set_uppercase_hex(false);
    options.set_branch_leading_zeros(false);
    options.set_space_after_operand_separator(true);
    let decoder = Decoder::with_ip(64, bytes, start as u64, DecoderOptions::NONE);
    let line = |insn: iced_x86::Instruction| {
        let mut text = String::new();
        formatter.format(&insn, &mut text);
        Line { offset: insn.ip() as usize, len: insn.len(), text }
    };
    decoder.into_iter().map(line).collect()
}

/// The bytes of an instruction of aarch64.
const WORD: usize = 4;

fn a64(bytes: &[u8], start: usize) -> Vec<Line> {
    let decoder = InstDecoder::default();
    let line = |(index, word): (usize, &[u8])| {
        let text = decoder.decode(&mut U8Reader::new(word));
        let text = text.map_or("(bad)".to_owned(), |insn| insn.to_string());
        Line { offset: start + index * WORD, len: word.len(), text }
    };
    bytes.chunks(WORD).enumerate().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(code: &[u8], arch: Arch, syntax: Syntax) -> Vec<String> {
        let lines = disassemble(code, 0..code.len(), arch, syntax);
        lines.into_iter().map(|line| format!("{}: {}", line.offset, line.text)).collect()
    }

    #[test]
    fn x86_is_written_in_either_syntax() {
        // mov eax, [r12+rdi+4]; jmp to offset 0
        let code = [0x41, 0x8b, 0x44, 0x3c, 0x04, 0xeb, 0xf9];
        let intel = texts(&code, Arch::X64, Syntax::Intel);
        assert_eq!(intel, ["0: mov eax, [r12+rdi+4]", "5: jmp short 0"]);
        let att = texts(&code, Arch::X64, Syntax::Att);
        assert_eq!(att, ["0: mov 4(%r12,%rdi), %eax", "5: jmp 0"]);
    }

    #[test]
    fn aarch64_is_words() {
        // add x0, x0, #1; ret
        let code = [0x00, 0x04, 0x00, 0x91, 0xc0, 0x03, 0x5f, 0xd6];
        assert_eq!(texts(&code, Arch::A64, Syntax::Intel), ["0: add x0, x0, #0x1", "4: ret"]);
    }

    #[test]
    fn ranges_outside_and_cut_instructions_are_no_panic() {
        assert_eq!(disassemble(&[0x90], 1..5, Arch::X64, Syntax::Intel), []);
        assert_eq!(texts(&[0x41], Arch::X64, Syntax::Intel), ["0: (bad)"]);
        assert_eq!(texts(&[0x41, 0x42], Arch::A64, Syntax::Intel), ["0: (bad)"]);
    }
}
