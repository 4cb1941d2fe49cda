//! Recordings of infrared as text, as `ir-ctl` and `mode2` of Linux write them.
//!
//! `+9000` or `pulse 9000` is light for so many microseconds, `-4500` or `space 4500` none,
//! `timeout 20000` the end of a message, `carrier 38000` a frequency in hertz. Words are separated
//! by white space. `#` and `//` start a comment up to the end of the line; `# timeout 20000`, as
//! `ir-ctl --receive` writes it, counts as the timeout that it tells of.

use super::Signal;

/// Why text is not a recording.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PulseError {
    /// A word that says nothing.
    #[error(
        "line {line}, column {column}: needed is +MICROSECONDS, -MICROSECONDS or pulse, space, \
         timeout or carrier with a number, found {found:?}"
    )]
    Word {
        /// The line, from 1.
        line: usize,
        /// The column, from 1, in bytes.
        column: usize,
        /// The word.
        found: String,
    },
    /// What should be a number is none, or too large or zero.
    #[error(
        "line {line}, column {column}: needed is a number from 1 to {}, found {found:?}",
        Signal::MAX_VALUE
    )]
    Number {
        /// The line, from 1.
        line: usize,
        /// The column, from 1, in bytes.
        column: usize,
        /// What is there; empty at the end of a line.
        found: String,
    },
}

/// The most of a word that an error repeats, in characters.
const SHOWN: usize = 40;

/// The signals in a recording.
///
/// # Errors
///
/// At the first word that is not part of one.
pub fn parse_pulses(text: &str) -> Result<Vec<Signal>, PulseError> {
    let mut signals = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line_number = index + 1;
        let (code, comment) = cut_comment(line);
        let mut words = Words { line: code, at: 0 };
        while let Some((column, word)) = words.next() {
            let (make, number, column) = match word.split_at_checked(1) {
                Some(("+", digits)) => (Signal::Pulse as fn(u32) -> Signal, digits, column + 1),
                Some(("-", digits)) => (Signal::Space as fn(u32) -> Signal, digits, column + 1),
                _ => {
                    let make = named(word).ok_or_else(|| PulseError::Word {
                        line: line_number,
                        column,
                        found: shown(word),
                    })?;
                    let (column, number) = words.next().unwrap_or((code.len() + 1, ""));
                    (make, number, column)
                }
            };
            let value = value(number).ok_or_else(|| PulseError::Number {
                line: line_number,
                column,
                found: shown(number),
            })?;
            signals.push(make(value));
        }
        signals.extend(timeout_in(comment));
    }
    Ok(signals)
}

/// A line without its comment, and the comment without what starts it.
fn cut_comment(line: &str) -> (&str, &str) {
    let cut = |start: &str| line.split_once(start);
    let cuts = [cut("#"), cut("//")];
    let first = cuts.into_iter().flatten().min_by_key(|(code, _)| code.len());
    first.unwrap_or((line, ""))
}

/// The words of a line, with their columns.
struct Words<'a> {
    line: &'a str,
    at: usize,
}

impl<'a> Words<'a> {
    fn next(&mut self) -> Option<(usize, &'a str)> {
        let rest = self.line.get(self.at..)?;
        let trimmed = rest.trim_start();
        let start = self.at + (rest.len() - trimmed.len());
        let word = trimmed.split_whitespace().next()?;
        self.at = start + word.len();
        Some((start + 1, word))
    }
}

fn named(word: &str) -> Option<fn(u32) -> Signal> {
    match word {
        "pulse" => Some(Signal::Pulse),
        "space" => Some(Signal::Space),
        "timeout" => Some(Signal::Timeout),
        "carrier" => Some(Signal::Carrier),
        _ => None,
    }
}

fn value(digits: &str) -> Option<u32> {
    // A sign of its own is not part of a number.
    let digits = digits.strip_prefix(|c: char| c.is_ascii_digit()).map(|_| digits)?;
    digits.parse().ok().filter(|value| (1..=Signal::MAX_VALUE).contains(value))
}

/// The timeout that a comment tells of, and nothing else.
fn timeout_in(comment: &str) -> Option<Signal> {
    let mut words = comment.split_whitespace();
    match (words.next(), words.next().and_then(value), words.next()) {
        (Some("timeout"), Some(us), None) => Some(Signal::Timeout(us)),
        _ => None,
    }
}

fn shown(word: &str) -> String {
    word.chars().take(SHOWN).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use Signal::{Carrier, Pulse, Space, Timeout};

    #[test]
    fn both_ways_of_writing() {
        let text = "# a remote control\n+9000 -4500\t+560 // light\n\npulse 560\nspace 1690\n\
                    carrier 38000\ntimeout 20000\n+1 # timeout 16777215\n-2 # timeout long";
        let signals = [
            Pulse(9000),
            Space(4500),
            Pulse(560),
            Pulse(560),
            Space(1690),
            Carrier(38000),
            Timeout(20000),
            Pulse(1),
            Timeout(0x00ff_ffff),
            Space(2),
        ];
        assert_eq!(parse_pulses(text), Ok(signals.to_vec()));
        assert_eq!(parse_pulses(" \n# nothing"), Ok(Vec::new()));
        let printed: Vec<String> = signals.iter().map(ToString::to_string).collect();
        assert_eq!(parse_pulses(&printed.join(" ")), Ok(signals.to_vec()));
    }

    #[test]
    fn errors_name_the_place() {
        let word = |line, column, found: &str| {
            Err(PulseError::Word { line, column, found: found.to_owned() })
        };
        let number = |line, column, found: &str| {
            Err(PulseError::Number { line, column, found: found.to_owned() })
        };
        assert_eq!(parse_pulses("+9000 4500"), word(1, 7, "4500"));
        assert_eq!(parse_pulses("+1\n  light 3"), word(2, 3, "light"));
        assert_eq!(parse_pulses("é"), word(1, 1, "é"));
        assert_eq!(parse_pulses("pulse"), number(1, 6, ""));
        assert_eq!(parse_pulses("pulse -3"), number(1, 7, "-3"));
        assert_eq!(parse_pulses("-1 +16777216"), number(1, 5, "16777216"));
        assert_eq!(parse_pulses("+0"), number(1, 2, "0"));
        assert_eq!(parse_pulses("++1"), number(1, 2, "+1"));
        assert_eq!(parse_pulses("-"), number(1, 2, ""));
        let error = parse_pulses("+9000 x").expect_err("x is no number").to_string();
        assert!(error.starts_with("line 1, column 7: needed is +MICROSECONDS"), "{error}");
    }
}
