//! Cutting pieces off the front of a line.

use super::{Expected, LogError};

/// The number at the front in decimal, and what follows.
pub(super) fn decimal(text: &str) -> Option<(u32, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number = text.get(..end)?.parse().ok()?;
    Some((number, text.get(end..)?))
}

/// A whole piece as an unsigned number, decimal or hexadecimal.
pub(super) fn unsigned(text: &str) -> Result<u64, LogError> {
    let parsed = match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        // Neither leading zeros nor signs are printed.
        None if text.len() > 1 && text.starts_with('0') || text.starts_with('+') => {
            return Err(LogError::new(Expected::Number, text));
        }
        None => text.parse(),
    };
    parsed.map_err(|_| LogError::new(Expected::Number, text))
}

/// A whole piece as a signed number: decimal, or hexadecimal in two's complement.
pub(super) fn signed(text: &str) -> Result<i64, LogError> {
    match text.strip_prefix('-') {
        Some(digits) => unsigned(digits)?
            .try_into()
            .map(|number: i64| -number)
            .map_err(|_| LogError::new(Expected::Number, text)),
        None => unsigned(text).map(|bits| bits as i64),
    }
}

/// A whole piece as a 32-bit number.
pub(super) fn small(text: &str) -> Result<u32, LogError> {
    text.parse().map_err(|_| LogError::new(Expected::Number, text))
}

/// A whole piece as a signed 32-bit number, in decimal.
pub(super) fn small_signed(text: &str) -> Result<i32, LogError> {
    text.parse().map_err(|_| LogError::new(Expected::Number, text))
}

/// `(1,2,3)` at the front, and what follows.
pub(super) fn numbers_in_parentheses(text: &str) -> Option<(Vec<u32>, &str)> {
    let (inside, rest) = text.strip_prefix('(')?.split_once(')')?;
    let numbers = inside.split(',').map(str::parse).collect::<Result<_, _>>().ok()?;
    Some((numbers, rest))
}

/// The first word, ended by a space outside parentheses, and what follows the space.
pub(super) fn word(text: &str) -> (&str, &str) {
    let mut depth = 0usize;
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            ' ' if depth == 0 => return (&text[..at], &text[at + 1..]),
            _ => {}
        }
    }
    (text, "")
}

/// The pieces between commas outside parentheses.
pub(super) fn attributes(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(text).filter(|text| !text.is_empty());
    core::iter::from_fn(move || {
        let text = rest?;
        let mut depth = 0usize;
        for (at, c) in text.char_indices() {
            match c {
                '(' => depth += 1,
                ')' => depth = depth.saturating_sub(1),
                ',' if depth == 0 => {
                    rest = Some(&text[at + 1..]);
                    return Some(&text[..at]);
                }
                _ => {}
            }
        }
        rest = None;
        Some(text)
    })
}

/// A set of registers, `r1,r8`; empty text is the empty set.
pub(super) fn register_set(text: &str) -> Option<u16> {
    text.split(',').filter(|name| !name.is_empty()).try_fold(0, |set, name| {
        let number: u32 = name.strip_prefix('r')?.parse().ok()?;
        Some(set | 1u16.checked_shl(number)?)
    })
}

/// Stack slots, `-8,-16`, empty text being none.
pub(super) fn slot_list(text: &str) -> Option<Vec<i32>> {
    text.split(',').filter(|slot| !slot.is_empty()).map(|slot| slot.parse().ok()).collect()
}
