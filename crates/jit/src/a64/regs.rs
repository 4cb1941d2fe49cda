//! Which machine register is what at function entries and calls: the convention of both tiers.
//!
//! Arguments of helpers are where C has them. A callee returns `r0` in `x7` and the fuel in `x26`,
//! and preserves `x19` to `x25`, `x27` and `x28`; everything it finds through these. `x9` to `x15`
//! are scratch, `x16` and `x17` only at jumps through registers, `x18` is the platform's.

use skep_bpf::insn::Reg;

use super::encode::{Gpr, x};
use crate::abi::FRAME_BYTES;

/// The machine register of an eBPF register.
#[must_use]
pub const fn gpr(reg: Reg) -> Gpr {
    x(match reg {
        Reg::R0 => 7,
        Reg::R1 => 0,
        Reg::R2 => 1,
        Reg::R3 => 2,
        Reg::R4 => 3,
        Reg::R5 => 4,
        Reg::R6 => 19,
        Reg::R7 => 20,
        Reg::R8 => 21,
        Reg::R9 => 22,
        Reg::R10 => 25,
    })
}

/// The result of C functions.
pub const RESULT: Gpr = x(0);
/// The state pointer in calls of helpers and runtime functions: the sixth argument.
pub const STATE_ARG: Gpr = x(5);
/// First scratch register: addresses of accesses, and the only one that branches and numbers need.
pub const SCRATCH: Gpr = x(9);
/// Second scratch register: values to store, operands of atomic operations.
pub const SCRATCH2: Gpr = x(10);
/// Third scratch register.
pub const SCRATCH3: Gpr = x(11);
/// Where jumps through registers go, so that they may lead to the landing pads of calls.
pub const JUMP: Gpr = x(16);
/// How often the frame may still pass `may_goto`, in functions that have it.
pub const MAY_GOTO: Gpr = x(23);
/// The host address of the lowest byte of the guest frame: `r10` less [`FRAME_BYTES`].
pub const FRAME: Gpr = x(24);
/// The fuel that is left, in metered code.
pub const FUEL: Gpr = x(26);
/// The state pointer.
pub const STATE: Gpr = x(27);
/// The host address of guest address 0.
pub const WINDOW: Gpr = x(28);

/// The distance of [`FRAME`] from a guest address relative to `r10`, in bytes.
#[must_use]
pub const fn in_frame(offset: i16) -> i32 {
    offset as i32 + FRAME_BYTES as i32
}
