//! An explanation for people: the bytes, a diagram of the opcode, a line a field, the meaning.

use alloc::string::String;
use core::fmt::{self, Write};

use super::fields::OPCODE;
use super::{ExplainedField, Explanation, Place};

/// The columns in which a field's bytes and meaning start.
const BYTES_AT: usize = 10;
const MEANING_AT: usize = 23;

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_bytes(f, &self.bytes)?;
        f.write_str("\n\n")?;
        for field in &self.fields {
            if field.name == OPCODE {
                self.write_opcode(f, field)?;
            } else if field.place.byte != 0 {
                self.write_field(f, field, &field.meaning)?;
            }
        }
        f.write_char('\n')?;
        let line = |f: &mut fmt::Formatter<'_>, name: &str, value: &dyn fmt::Display| {
            write!(f, "{name:BYTES_AT$}{value}")
        };
        match &self.insn {
            Ok(insn) => {
                line(f, "meaning", &insn.c_like)?;
                f.write_char('\n')?;
                line(f, "in words", &insn.meaning)?;
                f.write_char('\n')?;
                line(f, "mnemonic", &insn.mnemonic)?;
                f.write_char('\n')?;
                line(f, "group", &insn.group)?;
                f.write_char('\n')?;
                match &insn.section {
                    Some(section) => line(f, "see", section),
                    None => line(f, "see", &"nothing in RFC 9669; an extension"),
                }
            }
            Err(error) => write!(f, "not an instruction: {error}"),
        }
    }
}

fn write_bytes(f: &mut impl Write, bytes: &[u8]) -> fmt::Result {
    for (i, byte) in bytes.iter().enumerate() {
        write!(f, "{}{byte:02x}", if i == 0 { "" } else { " " })?;
    }
    Ok(())
}

impl Explanation {
    /// The bytes of a field; half a byte has a dot for the other half.
    fn bytes_of(&self, place: Place) -> String {
        let end = place.byte.saturating_add(place.len_bytes);
        let bytes = self.bytes.get(place.byte..end).unwrap_or(&[]);
        match (place.bits, bytes) {
            (Some((4, 4)), [byte]) => alloc::format!("{:x}.", byte >> 4),
            (Some((0, 4)), [byte]) => alloc::format!(".{:x}", byte & 0xf),
            _ => {
                let mut text = String::new();
                // Writing to a string does not fail.
                let _ = write_bytes(&mut text, bytes);
                text
            }
        }
    }

    fn write_field(
        &self,
        f: &mut fmt::Formatter<'_>,
        field: &ExplainedField,
        meaning: &dyn fmt::Display,
    ) -> fmt::Result {
        let bytes = self.bytes_of(field.place);
        let width = MEANING_AT - BYTES_AT;
        writeln!(f, "{:BYTES_AT$}{bytes:width$}{meaning}", field.name)
    }

    /// The opcode's bits in groups, and a line from each group to its meaning.
    fn write_opcode(&self, f: &mut fmt::Formatter<'_>, opcode: &ExplainedField) -> fmt::Result {
        let is_part = |field: &&ExplainedField| field.place.byte == 0 && field.name != OPCODE;
        let parts = || self.fields.iter().filter(is_part);
        let mut bits = String::new();
        for part in parts() {
            let count = part.place.bits.map_or(0, |(_, count)| count as usize);
            if !bits.is_empty() {
                bits.push(' ');
            }
            write!(bits, "{:0count$b}", part.value)?;
        }
        self.write_field(f, opcode, &bits)?;
        // The lowest part first, so that no line crosses another.
        for last in (0..parts().count()).rev() {
            write!(f, "{:MEANING_AT$}", "")?;
            let mut column = 0;
            for (i, part) in parts().enumerate().take(last + 1) {
                let count = part.place.bits.map_or(0, |(_, count)| count as usize);
                if i < last {
                    write!(f, "│{:count$}", "")?;
                    column += count + 1;
                } else {
                    let dashes = bits.len().saturating_sub(column);
                    write!(f, "└{:─<dashes$} {:8}{}", "", part.name, part.meaning)?;
                }
            }
            f.write_char('\n')?;
        }
        Ok(())
    }
}
