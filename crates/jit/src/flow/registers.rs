//! Sets of eBPF registers.

use std::ops::{BitAnd, BitOr, Sub};

use skep_bpf::insn::Reg;

/// A set of registers.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct RegSet(u16);

impl RegSet {
    /// No register.
    pub const EMPTY: RegSet = RegSet(0);
    /// `r0`.
    pub const RESULT: RegSet = RegSet(1);
    /// `r1` to `r5`.
    pub const ARGUMENTS: RegSet = RegSet(0b11_1110);
    /// `r0` to `r5`: what a call changes.
    pub const CALL: RegSet = RegSet(0b11_1111);
    /// `r6` to `r9`: what a call preserves.
    pub const PRESERVED: RegSet = RegSet(0b11_1100_0000);

    /// A set of one register.
    #[must_use]
    pub const fn of(reg: Reg) -> RegSet {
        RegSet(1 << reg.index())
    }

    /// The first registers of `r1` to `r5`.
    #[must_use]
    pub const fn arguments(count: u8) -> RegSet {
        RegSet(((1 << count) - 1) << 1 & RegSet::ARGUMENTS.0)
    }

    /// Whether a register belongs to it.
    #[must_use]
    pub const fn has(self, reg: Reg) -> bool {
        self.0 & (1 << reg.index()) != 0
    }

    /// Whether it is empty.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Its registers, `r0` first.
    pub fn iter(self) -> impl Iterator<Item = Reg> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            let reg = Reg::new(rest.trailing_zeros() as u8)?;
            rest &= rest.wrapping_sub(1);
            Some(reg)
        })
    }

    /// A bit for each register, the lowest for `r0`.
    pub(super) const fn bits(self) -> u16 {
        self.0
    }

    /// The set that bits stand for.
    pub(super) const fn from_bits(bits: u16) -> RegSet {
        RegSet(bits)
    }

    /// How many there are.
    #[must_use]
    pub const fn len(self) -> u32 {
        self.0.count_ones()
    }
}

impl BitOr for RegSet {
    type Output = RegSet;

    fn bitor(self, other: RegSet) -> RegSet {
        RegSet(self.0 | other.0)
    }
}

impl BitAnd for RegSet {
    type Output = RegSet;

    fn bitand(self, other: RegSet) -> RegSet {
        RegSet(self.0 & other.0)
    }
}

impl Sub for RegSet {
    type Output = RegSet;

    fn sub(self, other: RegSet) -> RegSet {
        RegSet(self.0 & !other.0)
    }
}
