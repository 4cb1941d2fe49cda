//! Map indices in raw instructions, replaced by the file descriptors of maps.

use crate::uapi::pseudo;
use crate::{Error, Map};
use core::borrow::Borrow;

/// The opcode of the wide load of an immediate (RFC 9669, section 5.4).
const LD_IMM64: u8 = 0x18;

/// Makes every wide load that names a map by its index in `maps` (source field 5, or 6 for the
/// address of its value) name it by its file descriptor instead (1, or 2), as the kernel wants it
/// without an array of descriptors. The offset into a value, in the second slot, stays.
///
/// The maps must live until the program is loaded. Returns how many loads were changed; on error
/// nothing is.
///
/// # Errors
///
/// [`Error::MapIndex`] and [`Error::HalfInstruction`].
pub fn relocate<M: Borrow<Map>>(insns: &mut [[u8; 8]], maps: &[M]) -> Result<usize, Error> {
    let mut changes = Vec::new();
    let mut slot = 0;
    while let Some(&[opcode, registers, _, _, imm @ ..]) = insns.get(slot) {
        if opcode == LD_IMM64 {
            let by_fd = match source(registers) {
                pseudo::MAP_IDX => Some(pseudo::MAP_FD),
                pseudo::MAP_IDX_VALUE => Some(pseudo::MAP_VALUE),
                _ => None,
            };
            if let Some(by_fd) = by_fd {
                let index = u32::from_ne_bytes(imm);
                let map = usize::try_from(index)
                    .ok()
                    .and_then(|index| maps.get(index))
                    .ok_or(Error::MapIndex { slot, index, maps: maps.len() })?;
                if insns.get(slot + 1).is_none() {
                    return Err(Error::HalfInstruction { slot });
                }
                changes.push((slot, with_source(registers, by_fd), map.borrow().fd()));
            }
            slot += 1;
        }
        slot += 1;
    }
    for &(slot, registers, fd) in &changes {
        insns[slot][1] = registers;
        insns[slot][4..].copy_from_slice(&fd.to_ne_bytes());
    }
    Ok(changes.len())
}

/// The source register's field of the second byte, whose halves follow the byte order of the
/// machine (RFC 9669, section 3.1).
const fn source(registers: u8) -> u8 {
    if cfg!(target_endian = "little") { registers >> 4 } else { registers & 0xf }
}

/// The second byte with another source register's field.
const fn with_source(registers: u8, source: u8) -> u8 {
    if cfg!(target_endian = "little") {
        registers & 0xf | source << 4
    } else {
        registers & 0xf0 | source
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_indices_and_halves_are_named() {
        let load = |source| {
            let mut insn = [LD_IMM64, with_source(1, source), 0, 0, 0, 0, 0, 0];
            insn[4..].copy_from_slice(&3u32.to_ne_bytes());
            insn
        };
        let none: [&Map; 0] = [];
        // The second slot of a wide load is not an instruction, whatever it looks like.
        let mut insns = [load(0), load(pseudo::MAP_IDX), load(pseudo::MAP_IDX), [0; 8]];
        let before = insns;
        let error = relocate(&mut insns, &none).unwrap_err();
        assert_eq!(error, Error::MapIndex { slot: 2, index: 3, maps: 0 });
        assert_eq!(insns, before);
        assert_eq!(relocate(&mut insns[..2], &none), Ok(0));
        // A load without its second half that names no map is left to the verifier.
        assert_eq!(relocate(&mut [load(0)], &none), Ok(0));
    }
}
