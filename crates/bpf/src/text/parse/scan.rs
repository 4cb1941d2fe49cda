//! A cursor over one line: words, numbers, registers and operators, each asked for when needed.

use alloc::string::{String, ToString};

use super::error::{AsmErrorKind, Needed};
use crate::insn::{Reg, Width};

/// An error and its column in bytes from the start of the line.
#[derive(Clone, Debug)]
pub(super) struct LineError {
    pub(super) at: usize,
    pub(super) kind: AsmErrorKind,
}

pub(super) type Parsed<T> = Result<T, LineError>;

/// A position in a line.
#[derive(Clone, Copy)]
pub(super) struct Scanner<'a> {
    line: &'a str,
    at: usize,
}

/// A number as written.
#[derive(Clone, Copy)]
pub(super) struct Number<'a> {
    /// Where it starts.
    pub(super) at: usize,
    /// How it is written, sign included.
    pub(super) text: &'a str,
    /// Whether a minus sign stands before it.
    pub(super) negative: bool,
    /// Its absolute value; `None` if it takes more than 64 bits.
    pub(super) magnitude: Option<u64>,
    /// Whether it is written in hexadecimal, which shows a pattern of bits.
    pub(super) is_hex: bool,
}

/// A register under a name that says its width.
#[derive(Clone, Copy)]
pub(super) struct Named<'a> {
    pub(super) at: usize,
    pub(super) text: &'a str,
    pub(super) width: Width,
    pub(super) reg: Reg,
}

/// Which numbers a 32-bit field takes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Field32 {
    /// Sign-extended to 64 bits: decimals from -2^31 to 2^31 - 1.
    Signed,
    /// Used as 32 bits: decimals up to 2^32 - 1 as well.
    Bits,
}

impl<'a> Scanner<'a> {
    pub(super) fn new(line: &'a str) -> Scanner<'a> {
        Scanner { line, at: 0 }
    }

    /// What is left of the line.
    pub(super) fn rest(&self) -> &'a str {
        self.line.get(self.at..).unwrap_or("")
    }

    /// Where the next token starts, in bytes.
    pub(super) fn at(&mut self) -> usize {
        self.skip_space();
        self.at
    }

    fn skip_space(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start().len();
    }

    /// What stands at the cursor, for errors: a word, a number or a single character.
    pub(super) fn found(&mut self) -> &'a str {
        self.skip_space();
        let rest = self.rest();
        let is_part = |c: char| c.is_alphanumeric() || matches!(c, '_' | '%' | '.' | '$');
        let len = match rest.find(|c| !is_part(c)) {
            Some(0) => rest.chars().next().map_or(0, char::len_utf8),
            Some(len) => len,
            None => rest.len(),
        };
        rest.get(..len).unwrap_or("")
    }

    /// The error that something else is needed at the cursor.
    pub(super) fn unexpected(&mut self, needed: Needed) -> LineError {
        let found = self.found().to_string();
        LineError { at: self.at, kind: AsmErrorKind::Unexpected { needed, found } }
    }

    /// Whether only space or a comment is left.
    pub(super) fn is_done(&mut self) -> bool {
        self.skip_space();
        let rest = self.rest();
        rest.is_empty() || rest.starts_with(';') || rest.starts_with('#') || rest.starts_with("//")
    }

    /// Takes this text if it is next.
    pub(super) fn eat(&mut self, text: &str) -> bool {
        self.skip_space();
        let is_next = self.rest().starts_with(text);
        if is_next {
            self.at += text.len();
        }
        is_next
    }

    pub(super) fn expect(&mut self, text: &'static str) -> Parsed<()> {
        if self.eat(text) { Ok(()) } else { Err(self.unexpected(Needed::Text(text))) }
    }

    /// The next word: letters, digits, `_`, `.` and `$`, not starting with a digit.
    pub(super) fn peek_word(&mut self) -> Option<&'a str> {
        self.skip_space();
        let rest = self.rest();
        let is_start = |c: char| c.is_alphabetic() || matches!(c, '_' | '.' | '$');
        let is_part = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | '$');
        rest.chars().next().filter(|c| is_start(*c))?;
        rest.get(..rest.find(|c| !is_part(c)).unwrap_or(rest.len()))
    }

    pub(super) fn word(&mut self) -> Option<&'a str> {
        let word = self.peek_word()?;
        self.at += word.len();
        Some(word)
    }

    /// Takes the word if it is next, and nothing longer.
    pub(super) fn eat_word(&mut self, word: &str) -> bool {
        let is_next = self.peek_word() == Some(word);
        if is_next {
            self.at += word.len();
        }
        is_next
    }

    pub(super) fn expect_word(&mut self, word: &'static str) -> Parsed<()> {
        if self.eat_word(word) { Ok(()) } else { Err(self.unexpected(Needed::Text(word))) }
    }

    /// The member of a table whose symbol is next; the longest if several are.
    pub(super) fn symbol<T: Copy>(
        &mut self,
        all: &[T],
        symbol: fn(T) -> &'static str,
    ) -> Option<T> {
        self.skip_space();
        let rest = self.rest();
        let fits = all.iter().copied().filter(|item| rest.starts_with(symbol(*item)));
        let longest = fits.max_by_key(|item| symbol(*item).len())?;
        self.at += symbol(longest).len();
        Some(longest)
    }

    /// A register, with or without `%`.
    pub(super) fn register(&mut self) -> Parsed<Option<Named<'a>>> {
        let mut ahead = *self;
        let at = ahead.at();
        let percent = ahead.eat("%");
        let Some(word) = ahead.peek_word() else {
            return if percent { Err(self.unexpected(Needed::Register)) } else { Ok(None) };
        };
        let numbered = word
            .strip_prefix('r')
            .map(|number| (Width::W64, number))
            .or_else(|| word.strip_prefix('w').map(|number| (Width::W32, number)))
            .filter(|(_, number)| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()));
        let Some((width, number)) = numbered else {
            return if percent { Err(self.unexpected(Needed::Register)) } else { Ok(None) };
        };
        // A register that does not exist is an error and not a label: r11 was not meant as one.
        let is_plain = number.len() == 1 || !number.starts_with('0');
        let Some(reg) = number.parse().ok().and_then(Reg::new).filter(|_| is_plain) else {
            return Err(self.unexpected(Needed::Register));
        };
        ahead.at += word.len();
        let text = self.line.get(at..ahead.at).unwrap_or("");
        *self = ahead;
        Ok(Some(Named { at, text, width, reg }))
    }

    pub(super) fn expect_register(&mut self) -> Parsed<Named<'a>> {
        self.register()?.ok_or_else(|| self.unexpected(Needed::Register))
    }

    /// A whole register.
    pub(super) fn expect_reg(&mut self) -> Parsed<Reg> {
        let named = self.expect_register()?;
        named.of_width(Width::W64)
    }

    /// A number: an optional sign, then decimal digits or `0x` and hexadecimal ones.
    pub(super) fn number(&mut self) -> Option<Number<'a>> {
        let mut ahead = *self;
        let at = ahead.at();
        let negative = ahead.eat("-");
        if !negative {
            ahead.eat("+");
        }
        ahead.skip_space();
        let rest = ahead.rest();
        let hex = rest.strip_prefix("0x").or_else(|| rest.strip_prefix("0X"));
        let (digits, radix) = hex.map_or((rest, 10), |digits| (digits, 16));
        let len = digits.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(digits.len());
        let digits = digits.get(..len)?;
        if digits.is_empty() || !digits.chars().all(|c| c.is_digit(radix)) {
            return None;
        }
        ahead.at += len + if hex.is_some() { 2 } else { 0 };
        let text = self.line.get(at..ahead.at)?;
        *self = ahead;
        let magnitude = u64::from_str_radix(digits, radix).ok();
        Some(Number { at, text, negative, magnitude, is_hex: hex.is_some() })
    }

    pub(super) fn expect_number(&mut self) -> Parsed<Number<'a>> {
        self.number().ok_or_else(|| self.unexpected(Needed::Number))
    }
}

impl Named<'_> {
    /// The register, if its name says this width.
    pub(super) fn of_width(&self, width: Width) -> Parsed<Reg> {
        if self.width == width {
            return Ok(self.reg);
        }
        let needed = Needed::RegisterOfWidth(width.bits());
        Err(self.unexpected(needed))
    }

    /// The error that something else is needed in its place.
    pub(super) fn unexpected(&self, needed: Needed) -> LineError {
        let found = self.text.to_string();
        LineError { at: self.at, kind: AsmErrorKind::Unexpected { needed, found } }
    }
}

impl Number<'_> {
    fn out_of_range(&self, min: i64, max: u64) -> LineError {
        let number = String::from(self.text);
        LineError { at: self.at, kind: AsmErrorKind::OutOfRange { number, min, max } }
    }

    /// Its value, if that is in a range.
    pub(super) fn within(&self, min: i64, max: u64) -> Parsed<i128> {
        let error = || self.out_of_range(min, max);
        let magnitude = i128::from(self.magnitude.ok_or_else(error)?);
        let value = if self.negative { -magnitude } else { magnitude };
        let is_in = i128::from(min) <= value && value <= i128::from(max);
        if is_in { Ok(value) } else { Err(error()) }
    }

    /// The bits of a 32-bit field. Hexadecimal numbers are patterns: `0xffffffff` and
    /// `0xffffffffffffffff` are both -1.
    pub(super) fn imm32(&self, field: Field32) -> Parsed<i32> {
        const MIN: i64 = i32::MIN as i64;
        const MAX: u64 = i32::MAX as u64;
        if self.is_hex
            && !self.negative
            && let Some(magnitude) = self.magnitude
            && let Ok(signed) = i32::try_from(magnitude as i64)
        {
            return Ok(signed);
        }
        let max = if self.is_hex || field == Field32::Bits { u64::from(u32::MAX) } else { MAX };
        // The range makes the number at most 32 bits wide.
        self.within(MIN, max).map(|value| value as i32)
    }

    /// The bits of a 64-bit immediate.
    pub(super) fn imm64(&self) -> Parsed<u64> {
        self.within(i64::MIN, u64::MAX).map(|value| value as u64)
    }

    /// A memory offset.
    pub(super) fn offset16(&self) -> Parsed<i16> {
        self.within(i64::from(i16::MIN), i16::MAX as u64).map(|value| value as i16)
    }

    /// A distance; how far a jump can go is looked at when all labels are known.
    pub(super) fn distance(&self) -> Parsed<i64> {
        self.within(i64::from(i32::MIN), i32::MAX as u64).map(|value| value as i64)
    }
}
