//! Random programs with functions that `bpf_loop` calls back.
//!
//! The functions read and change numbers on the main function's stack and use some of them as
//! offsets into their own: what a turn stores may matter in a later one only, or after the loop.
//! [`Turns`] makes the text of a program from a seed; which branches a run takes is random, too.

use crate::random::Random;
use std::fmt::Write;

/// Numbers on the main function's stack.
const NUMBERS: usize = 5;
/// Most statements of a block.
const STATEMENTS: usize = 5;
/// Offsets that may be accessed, and some that may not.
const OFFSETS: [i64; 10] = [-8, -16, -24, -32, -40, -8, -16, -8, -16, -520];

/// A program in assembly.
#[derive(Debug)]
pub struct Turns {
    /// Its text.
    pub text: String,
    /// The labels of its functions but the main one.
    pub functions: Vec<String>,
}

impl Turns {
    /// The program of a seed.
    #[must_use]
    pub fn new(seed: u64) -> Turns {
        let mut writer = Writer { random: Random::new(seed), text: String::new(), labels: 0 };
        writer.line("r9 = r10");
        for number in 0..NUMBERS {
            writer.set(number);
        }
        for _ in 0..=writer.random.below(2) {
            writer.block(1);
            writer.repeat("outer");
        }
        writer.block(1);
        writer.line("r0 = 0");
        writer.line("exit");
        for function in ["outer", "inner"] {
            writer.label(function);
            writer.line("r9 = r2");
            writer.block(2);
            if function == "outer" && writer.random.one_in(3) {
                writer.repeat("inner");
                writer.block(1);
            }
            match writer.random.below(3) {
                0 => writer.line("call 7\nr0 &= 1"),
                _ => writer.line("r0 = 0"),
            }
            writer.line("exit");
        }
        Turns { text: writer.text, functions: ["outer", "inner"].map(str::to_owned).to_vec() }
    }
}

struct Writer {
    random: Random,
    text: String,
    labels: usize,
}

impl Writer {
    fn line(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }

    fn label(&mut self, label: &str) {
        self.text.push_str(label);
        self.text.push_str(": ");
    }

    /// A label for the end of something.
    fn new_label(&mut self) -> String {
        self.labels += 1;
        format!("end{}", self.labels)
    }

    /// Where a number is.
    fn number(&mut self) -> usize {
        8 * (self.random.below(NUMBERS) + 1)
    }

    fn offset(&mut self) -> i64 {
        OFFSETS[self.random.below(OFFSETS.len())]
    }

    fn set(&mut self, number: usize) {
        let offset = self.offset();
        let at = 8 * (number + 1);
        let _ = match self.random.below(5) {
            0 => writeln!(self.text, "call 7\nr0 &= 31\nr0 += -64\n*(u64 *)(r9 - {at}) = r0"),
            _ => writeln!(self.text, "*(u64 *)(r9 - {at}) = {offset}"),
        };
    }

    /// A call of `bpf_loop`.
    fn repeat(&mut self, function: &str) {
        let turns = self.random.below(6);
        let _ = writeln!(
            self.text,
            "r1 = {turns}\nr2 = code_addr({function}) ll\nr3 = r9\nr4 = 0\ncall 181"
        );
    }

    fn block(&mut self, depth: usize) {
        for _ in 0..=self.random.below(STATEMENTS) {
            self.statement(depth);
        }
    }

    fn statement(&mut self, depth: usize) {
        let (from, to, offset) = (self.number(), self.number(), self.offset());
        let text = &mut self.text;
        let _ = match self.random.below(if depth == 0 { 5 } else { 8 }) {
            0 => writeln!(text, "*(u64 *)(r9 - {to}) = {offset}"),
            1 => writeln!(text, "r6 = *(u64 *)(r9 - {from})\n*(u64 *)(r9 - {to}) = r6"),
            2 => writeln!(text, "r6 = *(u64 *)(r9 - {from})\nr6 += 8\n*(u64 *)(r9 - {to}) = r6"),
            3 if self.random.one_in(3) => writeln!(text, "r6 = *(u64 *)(r9 - {from})\n{USE}"),
            3 | 4 => {
                let end = self.new_label();
                writeln!(
                    self.text,
                    "r6 = *(u64 *)(r9 - {from})\nif r6 s> -8 goto {end}\nif r6 s< -64 goto {end}\n\
                     {USE}\n{end}: r6 = 0"
                )
            }
            5 => {
                let end = self.new_label();
                let _ =
                    writeln!(self.text, "r6 = *(u64 *)(r9 - {from})\nif r6 != {offset} goto {end}");
                self.block(depth - 1);
                writeln!(self.text, "{end}: r6 = 0")
            }
            _ => {
                let end = self.new_label();
                let _ = writeln!(self.text, "call 7\nif w0 s> 0 goto {end}");
                self.block(depth - 1);
                writeln!(self.text, "{end}: r6 = 0")
            }
        };
    }
}

/// An access at the offset in `r6`.
const USE: &str = "r1 = r10\nr1 += r6\n*(u8 *)(r1 + 0) = 42";
