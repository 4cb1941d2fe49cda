//! Helpers on Internet checksums (RFC 1071), as Linux 6.18 computes them.

use skep_bpf::platform::HelperId;

use super::skb::writable;
use super::{Call, Standard};
use crate::errno::Errno;
use crate::memory::Access;
use crate::trap::TrapKind;

pub(super) const HELPERS: &[Standard] = &[
    (HelperId::CSUM_DIFF, csum_diff),
    (HelperId::L3_CSUM_REPLACE, l3_csum_replace),
    (HelperId::L4_CSUM_REPLACE, l4_csum_replace),
    (HelperId::CSUM_UPDATE, csum_update),
];

/// The sum of 32-bit words with the carry added in.
fn add(a: u32, b: u32) -> u32 {
    let (sum, carry) = a.overflowing_add(b);
    sum + u32::from(carry)
}

fn sub(a: u32, b: u32) -> u32 {
    add(a, !b)
}

/// The sum in 16 bits.
fn fold(sum: u32) -> u16 {
    let sum = (sum & 0xffff) + (sum >> 16);
    (sum + (sum >> 16)) as u16
}

/// Adds the words in guest memory, which the caller checked to be readable, to a sum. Which byte of
/// a word is the first does not matter: the sum is in the same order.
fn sum(call: &Call<'_>, start: u32, len: u32, seed: u32) -> Result<u32, TrapKind> {
    let window = call.machine.memory().window();
    let mut buffer = [0; 256];
    let mut total = seed;
    let mut done = 0;
    while done < len {
        let part = &mut buffer[..(len - done).min(256) as usize];
        window.read(start + done, part)?;
        done += part.len() as u32;
        let (words, rest) = part.as_chunks();
        for word in words {
            total = add(total, u32::from_le_bytes(*word));
        }
        // What is left is as if zeros followed.
        let rest = rest.iter().rev().fold(0, |word, byte| word << 8 | u32::from(*byte));
        total = add(total, rest);
    }
    Ok(total)
}

/// The lengths need not be multiples of four, as they had to be before Linux 6.13.
fn csum_diff(call: &mut Call<'_>) -> Result<u64, TrapKind> {
    let [from_len, to_len] = [call.scalar(1) as u32, call.scalar(3) as u32];
    let from = call.guest(0, from_len, Access::Read)?;
    let to = call.guest(2, to_len, Access::Read)?;
    let seed = call.scalar(4) as u32;
    let diff = match (from_len, to_len) {
        (0, 0) => seed,
        (0, _) => sum(call, to, to_len, seed)?,
        (_, 0) => !sum(call, from, from_len, !seed)?,
        _ => sub(sum(call, to, to_len, seed)?, sum(call, from, from_len, 0)?),
    };
    Ok(fold(diff).into())
}

/// No buffer here has a checksum of its whole packet (`CHECKSUM_COMPLETE`) to update.
fn csum_update(call: &mut Call<'_>) -> Result<u64, TrapKind> {
    writable(call, 0)?;
    Ok(Errno::ENOTSUPP.to_return())
}

const HDR_FIELD_MASK: u64 = 0xf;
const PSEUDO_HDR: u64 = 1 << 4;
const MARK_MANGLED_0: u64 = 1 << 5;
const MARK_ENFORCE: u64 = 1 << 6;
const IPV6: u64 = 1 << 7;

fn l3_csum_replace(call: &mut Call<'_>) -> Result<u64, TrapKind> {
    replace(call, HDR_FIELD_MASK, l3_replaced)
}

fn l4_csum_replace(call: &mut Call<'_>) -> Result<u64, TrapKind> {
    // For buffers without a checksum of their own a pseudo header makes no difference.
    let known = HDR_FIELD_MASK | PSEUDO_HDR | MARK_MANGLED_0 | MARK_ENFORCE | IPV6;
    replace(call, known, |call, old| {
        let flags = call.scalar(4);
        let zero_is_none = flags & MARK_MANGLED_0 != 0;
        if zero_is_none && flags & MARK_ENFORCE == 0 && old == 0 {
            return Ok(old);
        }
        let new = l4_replaced(call, old)?;
        Ok(if zero_is_none && new == 0 { 0xffff } else { new })
    })
}

/// Replaces the checksum at the packet's offset in the second argument.
fn replace(
    call: &mut Call<'_>,
    known: u64,
    new: impl FnOnce(&Call<'_>, u16) -> Result<u16, Errno>,
) -> Result<u64, TrapKind> {
    let offset = call.scalar(1) as u32;
    let at = writable(call, u64::from(offset) + 2)?;
    if call.scalar(4) & !known != 0 {
        return Ok(Errno::EINVAL.to_return());
    }
    let Some(start) = at.filter(|_| offset <= 0xffff && offset.is_multiple_of(2)) else {
        return Ok(Errno::EFAULT.to_return());
    };
    let (at, window) = (start + offset, call.machine.memory().window());
    let mut old = [0; 2];
    window.read(at, &mut old)?;
    match new(call, u16::from_le_bytes(old)) {
        Ok(new) => {
            window.write(at, &new.to_le_bytes())?;
            Ok(0)
        }
        Err(error) => Ok(error.to_return()),
    }
}

/// By a field of two bytes, of four, or by a difference that is known already.
fn l3_replaced(call: &Call<'_>, old: u16) -> Result<u16, Errno> {
    let (from, to) = (call.scalar(2), call.scalar(3));
    match call.scalar(4) & HDR_FIELD_MASK {
        0 if from != 0 => Err(Errno::EINVAL),
        0 => Ok(replaced_by_difference(old, to as u32)),
        2 => Ok(!add16(add16(!old, !(from as u16)), to as u16)),
        4 => Ok(replaced(old, from as u32, to as u32)),
        _ => Err(Errno::EINVAL),
    }
}

fn l4_replaced(call: &Call<'_>, old: u16) -> Result<u16, Errno> {
    let (from, to) = (call.scalar(2), call.scalar(3));
    match call.scalar(4) & HDR_FIELD_MASK {
        0 if from != 0 => Err(Errno::EINVAL),
        0 => Ok(replaced_by_difference(old, to as u32)),
        2 => Ok(replaced(old, from as u16 as u32, to as u16 as u32)),
        4 => Ok(replaced(old, from as u32, to as u32)),
        _ => Err(Errno::EINVAL),
    }
}

fn add16(a: u16, b: u16) -> u16 {
    let (sum, carry) = a.overflowing_add(b);
    sum + u16::from(carry)
}

fn replaced(old: u16, from: u32, to: u32) -> u16 {
    !fold(add(sub(!u32::from(old), from), to))
}

fn replaced_by_difference(old: u16, difference: u32) -> u16 {
    !fold(add(difference, !u32::from(old)))
}
