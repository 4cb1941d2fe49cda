//! Helpers that read numbers from text.
//!
//! What counts as a number is what `bpf_strtol` takes in Linux (`kernel/bpf/helpers.c`,
//! `lib/kstrtox.c`): white space, a sign, digits in base 8, 10 or 16.

use skep_bpf::op::Size;
use skep_bpf::platform::HelperId;

use super::{Call, Standard};
use crate::errno::Errno;
use crate::memory::Access;
use crate::trap::TrapKind;

pub(super) const HELPERS: &[Standard] =
    &[(HelperId::STRTOL, signed), (HelperId::STRTOUL, unsigned)];

/// No more than so many characters after the sign are looked at.
const LONGEST: usize = 63;

/// A number that was read.
struct Number {
    magnitude: u64,
    negative: bool,
    /// The characters up to its end.
    consumed: u32,
}

fn signed(call: &mut Call<'_>) -> Result<u64, TrapKind> {
    parse(call, |number| {
        let value = match number.negative {
            true => number.magnitude.wrapping_neg() as i64,
            false => number.magnitude as i64,
        };
        // The lowest value has no positive counterpart and is accepted.
        let fits = if number.negative { value <= 0 } else { value >= 0 };
        if fits { Ok(value as u64) } else { Err(Errno::ERANGE) }
    })
}

fn unsigned(call: &mut Call<'_>) -> Result<u64, TrapKind> {
    parse(call, |number| match number.negative {
        true => Err(Errno::EINVAL),
        false => Ok(number.magnitude),
    })
}

/// Reads a number from the text of the first two arguments and stores its value where the fourth
/// leads, or zero. Gives the number of characters read.
fn parse(
    call: &Call<'_>,
    value: impl FnOnce(&Number) -> Result<u64, Errno>,
) -> Result<u64, TrapKind> {
    let (len, flags) = (call.scalar(1) as u32, call.scalar(2));
    let from = call.guest(0, len, Access::Read)?;
    let to = call.guest(3, 8, Access::Write)?;
    let window = call.machine.memory().window();
    let mut text = vec![0; len as usize];
    window.read(from, &mut text)?;
    let number = number(&text, flags).and_then(|number| Ok((value(&number)?, number.consumed)));
    let (value, result) = match number {
        Ok((value, consumed)) => (value, consumed.into()),
        Err(errno) => (0, errno.to_return()),
    };
    window.store(to, Size::Dw, value)?;
    Ok(result)
}

fn number(text: &[u8], flags: u64) -> Result<Number, Errno> {
    const BASE: u64 = 0x1f;
    if text.is_empty() || !matches!(flags, 0 | 8 | 10 | 16) || flags & !BASE != 0 {
        return Err(Errno::EINVAL);
    }
    let mut digits = text.trim_start_with(is_space);
    let negative = digits.first() == Some(&b'-');
    if negative {
        digits = digits.get(1..).unwrap_or_default();
    }
    if digits.is_empty() {
        return Err(Errno::EINVAL);
    }
    let cut = digits.get(..LONGEST).unwrap_or(digits);
    let is_hex = cut.first() == Some(&b'0') && matches!(cut.get(1), Some(b'x' | b'X'));
    let base = match flags {
        0 if is_hex && cut.get(2).is_some_and(u8::is_ascii_hexdigit) => 16,
        0 if cut.first() == Some(&b'0') => 8,
        0 => 10,
        base => base as u32,
    };
    let start = if base == 16 && is_hex { 2 } else { 0 };
    let values = cut.get(start..).unwrap_or_default().iter();
    let values = values.map_while(|digit| char::from(*digit).to_digit(base));
    let (mut magnitude, mut count, mut overflow) = (0_u64, 0, false);
    for value in values {
        let next = magnitude.checked_mul(base.into()).and_then(|m| m.checked_add(value.into()));
        overflow |= next.is_none();
        magnitude = next.unwrap_or(0);
        count += 1;
    }
    if overflow {
        return Err(Errno::ERANGE);
    }
    if count == 0 {
        return Err(Errno::EINVAL);
    }
    let before = text.len() - digits.len() + start;
    Ok(Number { magnitude, negative, consumed: (before + count) as u32 })
}

/// What the kernel's `isspace` says, which reads ISO 8859-1.
fn is_space(byte: u8) -> bool {
    matches!(byte, b'\t'..=b'\r' | b' ' | 0xa0)
}

trait TrimStart {
    /// Without the first bytes for which a function holds.
    fn trim_start_with(&self, holds: impl Fn(u8) -> bool) -> &Self;
}

impl TrimStart for [u8] {
    fn trim_start_with(&self, holds: impl Fn(u8) -> bool) -> &[u8] {
        let start = self.iter().position(|byte| !holds(*byte)).unwrap_or(self.len());
        self.get(start..).unwrap_or_default()
    }
}
