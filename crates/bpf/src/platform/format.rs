//! The formats that `bpf_trace_printk`, `bpf_snprintf` and their relatives take: the conversions in
//! a format, and which formats Linux refuses (`bpf_bprintf_prepare`).
//!
//! What conversions print is left to the machine.

/// What a conversion makes of its argument.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Conversion {
    /// A number of so many bytes: `%d`, `%lu`, `%p`.
    Number {
        /// 4 or 8.
        bytes: u8,
    },
    /// A character: `%c`.
    Character,
    /// The string at an address: `%s`, `%pks`, `%pus`.
    String,
    /// The symbol at an address: `%pB`.
    Symbol,
    /// The IPv4 address at an address: `%pI4`, `%pi4`.
    Ip4 {
        /// `i`, which prints leading zeros, or `I`.
        kind: u8,
    },
    /// The IPv6 address at an address: `%pI6`, `%pi6`.
    Ip6 {
        /// `i`, which prints no colons, or `I`.
        kind: u8,
    },
}

/// A format that Linux refuses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct InvalidFormat;

/// The conversions of a format, its NUL not counted, in order.
#[derive(Clone, Debug)]
pub struct Conversions<'a> {
    format: &'a [u8],
    place: usize,
}

impl<'a> Conversions<'a> {
    /// The conversions of a format.
    #[must_use]
    pub fn new(format: &'a [u8]) -> Self {
        Conversions { format, place: 0 }
    }

    /// Past the end there is the NUL.
    fn at(&self, distance: usize) -> u8 {
        self.format.get(self.place.saturating_add(distance)).copied().unwrap_or(0)
    }

    fn conversion(&mut self) -> Result<Conversion, InvalidFormat> {
        while matches!(self.at(0), b'0' | b'+' | b'-' | b' ') {
            self.place += 1;
        }
        while self.at(0).is_ascii_digit() {
            self.place += 1;
        }
        let (conversion, len) = match self.at(0) {
            b'p' => pointer([self.at(1), self.at(2), self.at(3)])?,
            b's' if ends_conversion(self.at(1)) => (Conversion::String, 1),
            b's' => return Err(InvalidFormat),
            b'c' => (Conversion::Character, 1),
            _ => number([self.at(0), self.at(1), self.at(2)])?,
        };
        self.place += len;
        Ok(conversion)
    }
}

impl Iterator for Conversions<'_> {
    type Item = Result<Conversion, InvalidFormat>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.place < self.format.len() {
            let c = self.at(0);
            if c.is_ascii() && !is_print(c) && !is_space(c) {
                return Some(Err(InvalidFormat));
            }
            self.place += 1;
            if c != b'%' {
                continue;
            }
            if self.at(0) == b'%' {
                self.place += 1;
                continue;
            }
            return Some(self.conversion());
        }
        None
    }
}

/// A conversion that begins with `p`, and how many bytes of the format it takes.
fn pointer(next: [u8; 3]) -> Result<(Conversion, usize), InvalidFormat> {
    let address = Conversion::Number { bytes: 8 };
    match next {
        [c, ..] if ends_conversion(c) => Ok((address, 1)),
        [b'k' | b'u', b's', after] if ends_conversion(after) => Ok((Conversion::String, 3)),
        [b'K' | b'x' | b's' | b'S', ..] => Ok((address, 2)),
        [b'B', ..] => Ok((Conversion::Symbol, 2)),
        [kind @ (b'i' | b'I'), b'4', _] => Ok((Conversion::Ip4 { kind }, 3)),
        [kind @ (b'i' | b'I'), b'6', _] => Ok((Conversion::Ip6 { kind }, 3)),
        _ => Err(InvalidFormat),
    }
}

/// A conversion to an integer, and how many bytes of the format it takes.
fn number(next: [u8; 3]) -> Result<(Conversion, usize), InvalidFormat> {
    let longs = next.iter().take(2).take_while(|c| **c == b'l').count();
    match next.get(longs) {
        Some(b'i' | b'd' | b'u' | b'x' | b'X') => {
            Ok((Conversion::Number { bytes: if longs == 0 { 4 } else { 8 } }, longs + 1))
        }
        _ => Err(InvalidFormat),
    }
}

/// Whether a byte can follow `%s` and `%p`.
fn ends_conversion(c: u8) -> bool {
    c == 0 || is_space(c) || is_punctuation(c)
}

// The kernel's classes are those of Latin-1 (Linux, `lib/ctype.c`).

fn is_space(c: u8) -> bool {
    matches!(c, 9..=13 | b' ' | 0xa0)
}

/// Whether the kernel takes a byte for punctuation, as in Latin-1.
#[must_use]
pub fn is_punctuation(c: u8) -> bool {
    c.is_ascii_punctuation() || matches!(c, 0xa1..=0xbf | 0xd7 | 0xf7)
}

fn is_print(c: u8) -> bool {
    matches!(c, 0x20..=0x7e | 0xa0..)
}

#[cfg(test)]
mod tests {
    use super::{Conversion, Conversions, InvalidFormat};
    use alloc::vec::Vec;

    fn all(format: &str) -> Result<Vec<Conversion>, InvalidFormat> {
        Conversions::new(format.as_bytes()).collect()
    }

    #[test]
    fn conversions_are_found_in_order() {
        let found = all("%% a%-05d b%llx %s, %c %pks %pB %pi6 %p").unwrap();
        let wanted = [
            Conversion::Number { bytes: 4 },
            Conversion::Number { bytes: 8 },
            Conversion::String,
            Conversion::Character,
            Conversion::String,
            Conversion::Symbol,
            Conversion::Ip6 { kind: b'i' },
            Conversion::Number { bytes: 8 },
        ];
        assert_eq!(found, wanted);
        assert_eq!(all("plain \t text \u{e4}"), Ok(Vec::new()));
    }

    #[test]
    fn formats_that_linux_does_not_know_are_refused() {
        for format in ["%", "%y", "%lls", "%sx", "%pz", "%pi5", "%pksx", "%f", "\u{1}", "%lld%"] {
            assert_eq!(all(format), Err(InvalidFormat), "{format:?}");
        }
    }
}
