//! What a function does with its frame.

use crate::abi::FRAME_BYTES;

/// What a function does with its frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct StackUse {
    /// How many bytes below `r10` the function can touch through `r10`: those of its accesses, or
    /// the whole frame if the address escapes.
    pub bytes: u32,
    /// Whether `r10` is used other than as the base of an access.
    pub escapes: bool,
    /// Whether the function reads through `r10`, or the address escapes.
    pub reads: bool,
}

impl StackUse {
    /// Of a function whose lowest access through `r10` is so far below it.
    pub(super) fn new(below: u32, reads: bool, escapes: bool) -> StackUse {
        let bytes = below.next_multiple_of(8);
        if escapes {
            return StackUse { bytes: bytes.max(FRAME_BYTES), escapes, reads: true };
        }
        StackUse { bytes, escapes, reads }
    }
}
