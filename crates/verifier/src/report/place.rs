//! Places of a program: instructions, and the lines of C that they come from.

use crate::history::Called;
use skep_bpf::codec::{SlotIndex, decode};
use skep_bpf::debug_info::SourceLine;
use skep_bpf::program::Bytecode;
use skep_bpf::text::c_like::Decimal;

/// An instruction, and where it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The instruction's slot.
    pub insn: usize,
    /// The instruction as text.
    pub text: String,
    /// The line it comes from, if that is known.
    pub source: Option<Source>,
}

/// A part of a line of source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The file's name as the compiler recorded it.
    pub file: String,
    /// The line, from 1.
    pub line: u32,
    /// The first column, from 1, in bytes.
    pub column: u32,
    /// The column behind the last one.
    pub end_column: u32,
    /// The text of the line; empty if it was not recorded.
    pub text: String,
}

/// The places of a program.
pub(crate) struct Places<'a> {
    pub(crate) bytecode: &'a Bytecode,
}

impl Places<'_> {
    /// The place of an instruction.
    pub(crate) fn place(&self, at: SlotIndex) -> Place {
        Place { insn: at.0, text: self.insn(at), source: self.line(at).map(source) }
    }

    /// The line that an instruction comes from. Lines without a number, which compilers give to
    /// what no line of the source stands for, are none.
    pub(crate) fn line(&self, at: SlotIndex) -> Option<&SourceLine> {
        self.bytecode.debug.line_at(at).filter(|line| line.line > 0)
    }

    /// The text of that line.
    pub(crate) fn line_text(&self, at: SlotIndex) -> Option<&str> {
        self.line(at).map(|line| line.text.trim()).filter(|text| !text.is_empty())
    }

    /// A place on a line of a file, or without a file the instruction of that number.
    pub(crate) fn on_line(&self, file: Option<&str>, line: usize) -> Option<Place> {
        let Some(file) = file else {
            return decode(&self.bytecode.slots, SlotIndex(line))
                .is_ok()
                .then(|| self.place(SlotIndex(line)));
        };
        let mut lines = self.bytecode.debug.lines().iter();
        let found =
            lines.find(|known| known.line as usize == line && file_name(&known.file) == file)?;
        Some(self.place(found.slot))
    }

    /// The name of the function that begins at an instruction.
    pub(crate) fn function(&self, entry: SlotIndex) -> String {
        match self.bytecode.debug.function_at(entry) {
            Some((start, name)) if start == entry => name.to_owned(),
            _ => format!("the function at instruction {entry}"),
        }
    }

    /// The variable that some line gives the value of an expression which contains `what`.
    pub(crate) fn variable_given(&self, what: &str) -> Option<String> {
        let lines = self.bytecode.debug.lines().iter();
        let mut given = lines.filter_map(|line| {
            let (_, value) = split_assignment(&line.text)?;
            let rest = &value[value.find(what)? + what.len()..];
            let ends = !rest.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
            if ends { assigned(&line.text) } else { None }
        });
        given.next()
    }

    fn insn(&self, at: SlotIndex) -> String {
        match decode(&self.bytecode.slots, at) {
            Ok(insn) => match Called::of(&insn, self.bytecode) {
                Some(called) => format!("call {called}"),
                None => Decimal(&insn).to_string(),
            },
            Err(error) => error.kind.to_string(),
        }
    }
}

/// A file's name without what says nothing.
fn file_name(file: &str) -> &str {
    file.strip_prefix("./").unwrap_or(file)
}

fn source(line: &SourceLine) -> Source {
    let (column, end_column) = columns(&line.text, line.column);
    Source {
        file: file_name(&line.file).to_owned(),
        line: line.line,
        column,
        end_column,
        text: line.text.to_string(),
    }
}

/// The variable that a line assigns to or declares with a value.
pub(crate) fn assigned(text: &str) -> Option<String> {
    let (target, _) = split_assignment(text)?;
    let target = target.trim_end();
    let start = target.rfind(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    let name = &target[start.map_or(0, |start| start + 1)..];
    let before = target[..target.len() - name.len()].chars().next_back();
    let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    let is_member = matches!(before, Some('.' | '>' | ']'));
    (is_name && !is_member).then(|| name.to_owned())
}

/// An assignment's two sides.
fn split_assignment(text: &str) -> Option<(&str, &str)> {
    let mut from = 0;
    while let Some(at) = text.get(from..)?.find('=').map(|at| at + from) {
        let after = text[at + 1..].starts_with('=');
        let before =
            text[..at].ends_with(['=', '!', '<', '>', '+', '-', '*', '/', '|', '&', '^', '%']);
        if !after && !before {
            return Some((&text[..at], &text[at + 1..]));
        }
        from = at + if after { 2 } else { 1 };
    }
    None
}

/// The columns of what stands at a column of a line: a name with what belongs to it, or an
/// operator; the whole line, but for its end, if the column is unknown.
fn columns(text: &str, column: u32) -> (u32, u32) {
    let start = (column as usize).saturating_sub(1);
    let number = |at: usize| u32::try_from(at).unwrap_or(u32::MAX).saturating_add(1);
    let unknown = column == 0 || start >= text.trim_end().len() || !text.is_char_boundary(start);
    if unknown {
        let start = text.len() - text.trim_start().len();
        return (number(start), number(statement_end(text).max(start)));
    }
    let end = start + expression_len(&text[start..]);
    (number(start), number(end.max(start + 1)))
}

/// Where the statement of a line ends.
fn statement_end(text: &str) -> usize {
    let code = text.find("//").or_else(|| text.find("/*")).unwrap_or(text.len());
    text[..code].trim_end().trim_end_matches(['{', ';']).trim_end().len()
}

/// The length of a unary expression at the start of a text: prefix operators, a name or something
/// in parentheses, and accesses, indices and arguments behind it. An assignment operator stands for
/// itself.
fn expression_len(text: &str) -> usize {
    let bytes = text.as_bytes();
    let is_word = |c: u8| c.is_ascii_alphanumeric() || c == b'_' || c >= 0x80;
    let mut at = 0;
    while bytes.get(at).is_some_and(|c| b"*&!~".contains(c)) {
        at += 1;
    }
    match bytes.get(at) {
        Some(b'(') => at = closing(bytes, at),
        Some(c) if is_word(*c) => at = word_end(bytes, at),
        _ => {
            let operator = bytes.iter().take_while(|c| b"+-*/%<>=!&|^~?.".contains(c)).count();
            return operator.max(1);
        }
    }
    if matches!(&text[..at], "return" | "if" | "for" | "while" | "do" | "switch") {
        return statement_end(text);
    }
    loop {
        match bytes.get(at) {
            Some(b'(' | b'[') => at = closing(bytes, at),
            Some(b'.') if bytes.get(at + 1).copied().is_some_and(is_word) => {
                at = word_end(bytes, at + 1);
            }
            Some(b'-') if bytes.get(at + 1) == Some(&b'>') => at = word_end(bytes, at + 2),
            _ => return at,
        }
    }
}

fn word_end(bytes: &[u8], start: usize) -> usize {
    let word = |c: &&u8| c.is_ascii_alphanumeric() || **c == b'_' || **c >= 0x80;
    start + bytes.iter().skip(start).take_while(word).count()
}

/// Behind the parenthesis or bracket that closes the one at `start`; the end, if none does.
fn closing(bytes: &[u8], start: usize) -> usize {
    let mut depth = 0_usize;
    for (at, c) in bytes.iter().enumerate().skip(start) {
        match c {
            b'(' | b'[' => depth += 1,
            b')' | b']' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return at + 1;
        }
    }
    bytes.iter().rposition(|c| !c.is_ascii_whitespace()).map_or(start + 1, |last| last + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_what_a_line_assigns() {
        for (text, name) in [
            ("\t__u64 *count = bpf_map_lookup_elem(&packets, &key);", Some("count")),
            ("\tvalue = x == 3;", Some("value")),
            ("\tif (a == b)", None),
            ("\tskb->mark = 3;", None),
            ("\tcount += 3;", None),
            ("\ttable[3] = 1;", None),
        ] {
            assert_eq!(assigned(text).as_deref(), name, "{text}");
        }
    }

    #[test]
    fn marks_the_expression_at_a_column() {
        for (text, column, marked) in [
            ("\tif (eth->h_proto != 3)", 6, "eth->h_proto"),
            ("\tcounters->packets[eth->h_source[0]]++;", 2, "counters->packets[eth->h_source[0]]"),
            ("\t*count += 1; // here", 9, "+="),
            ("\tbpf_spin_lock(&a->lock);", 2, "bpf_spin_lock(&a->lock)"),
            ("\treturn a ? b : c; // here", 2, "return a ? b : c"),
            ("\tcount = f(x,", 10, "f(x,"),
            ("\tcount = 3;", 0, "count = 3"),
            ("\tcount = 3;", 99, "count = 3"),
            ("", 4, ""),
            ("\tä = ö;", 3, "\u{e4} = \u{f6}"),
        ] {
            let (start, end) = columns(text, column);
            let marked_here = text.get(start as usize - 1..end as usize - 1);
            assert_eq!(marked_here, Some(marked), "{text}, {column}");
        }
    }
}
