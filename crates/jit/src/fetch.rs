//! Lets processors fetch instructions that were just written.
//!
//! x86-64 sees to it by itself. aarch64 has caches of instructions and of data that know nothing
//! of each other: what was written is cleaned out of the one and dropped from the other (Arm ARM,
//! B2.4.4, "Concurrent modification and execution of instructions").

#![allow(unsafe_code, reason = "cache maintenance takes instructions of its own")]

/// Makes bytes that were written at one address executable at another, where the same memory is
/// mapped.
#[cfg(not(target_arch = "aarch64"))]
pub(crate) fn publish(_write: *const u8, _run: *const u8, _len: usize) {}

/// Makes bytes that were written at one address executable at another, where the same memory is
/// mapped.
#[cfg(target_arch = "aarch64")]
pub(crate) fn publish(write: *const u8, run: *const u8, len: usize) {
    use std::arch::asm;
    let sizes: usize;
    // SAFETY: reads the sizes of cache lines, which Linux lets programs do.
    unsafe { asm!("mrs {}, ctr_el0", out(reg) sizes, options(nomem, nostack, preserves_flags)) };
    for line in lines(write, len, 4 << (sizes >> 16 & 15)) {
        // SAFETY: the line holds bytes of this mapping.
        unsafe { asm!("dc cvau, {}", in(reg) line, options(nostack, preserves_flags)) };
    }
    // SAFETY: waits for the above.
    unsafe { asm!("dsb ish", options(nostack, preserves_flags)) };
    for line in lines(run, len, 4 << (sizes & 15)) {
        // SAFETY: the line holds bytes of this mapping.
        unsafe { asm!("ic ivau, {}", in(reg) line, options(nostack, preserves_flags)) };
    }
    // SAFETY: waits for the above, and fetches anew.
    unsafe { asm!("dsb ish", "isb", options(nostack, preserves_flags)) };
}

/// The addresses of the cache lines of a size that hold some bytes.
#[cfg(any(test, target_arch = "aarch64"))]
fn lines(at: *const u8, len: usize, size: usize) -> impl Iterator<Item = usize> {
    let first = at.addr() & !(size - 1);
    (first..at.addr() + len).step_by(size)
}

#[cfg(test)]
mod tests {
    use super::lines;

    #[test]
    fn every_line_is_found() {
        let found = |at: usize, len, size| {
            lines(std::ptr::without_provenance(at), len, size).collect::<Vec<usize>>()
        };
        assert_eq!(found(64, 128, 128), [0, 128]);
        assert_eq!(found(128, 128, 128), [128]);
        assert_eq!(found(128, 129, 64), [128, 192, 256]);
        assert!(found(128, 0, 64).is_empty());
    }
}
