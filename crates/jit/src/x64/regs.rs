//! Which machine register is what at function entries and calls: the convention of both tiers.
//!
//! Arguments of helpers are where C has them. A callee returns `r0` in `rax` and the fuel in
//! `r9`, and preserves `rbx`, `rbp` and `r12` to `r15`.

use skep_bpf::insn::Reg;

use super::asm::Gpr;

/// The machine register of an eBPF register.
#[must_use]
pub const fn gpr(reg: Reg) -> Gpr {
    match reg {
        Reg::R0 => Gpr::Rax,
        Reg::R1 => Gpr::Rdi,
        Reg::R2 => Gpr::Rsi,
        Reg::R3 => Gpr::Rdx,
        Reg::R4 => Gpr::Rcx,
        Reg::R5 => Gpr::R8,
        Reg::R6 => Gpr::Rbx,
        Reg::R7 => Gpr::R13,
        Reg::R8 => Gpr::R14,
        Reg::R9 => Gpr::R15,
        Reg::R10 => Gpr::Rbp,
    }
}

/// The registers that the host's convention preserves and functions may change, `rbp` apart.
pub const PRESERVED: [Gpr; 4] = [Gpr::Rbx, Gpr::R13, Gpr::R14, Gpr::R15];

/// The host address of guest address 0.
pub const WINDOW: Gpr = Gpr::R12;
/// The fuel that is left, in metered code; the state pointer in calls of helpers.
pub const FUEL: Gpr = Gpr::R9;
/// The state pointer at function entries; scratch after the prologue.
pub const STATE: Gpr = Gpr::R11;
/// Scratch.
pub const SCRATCH: Gpr = Gpr::R10;
