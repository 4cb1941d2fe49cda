//! 64-bit x86: encoder and compilers.

pub mod asm;

mod host;

pub mod regs;

pub mod tier1;

pub mod tier2;

/// What the processor can do beyond the baseline of x86-64.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Features {
    /// `shlx`, `shrx`, `sarx`, `rorx`, `mulx`.
    pub bmi2: bool,
    /// `movbe`.
    pub movbe: bool,
    /// `popcnt`.
    pub popcnt: bool,
    /// `lzcnt`.
    pub lzcnt: bool,
    /// `tzcnt`, `andn`, `blsr`.
    pub bmi1: bool,
}

impl Features {
    /// All of them.
    pub const ALL: Features =
        Features { bmi2: true, movbe: true, popcnt: true, lzcnt: true, bmi1: true };

    /// What this processor can do; nothing if it is none of the architecture.
    #[must_use]
    pub fn host() -> Features {
        #[cfg(target_arch = "x86_64")]
        {
            Features {
                bmi2: std::arch::is_x86_feature_detected!("bmi2"),
                movbe: std::arch::is_x86_feature_detected!("movbe"),
                popcnt: std::arch::is_x86_feature_detected!("popcnt"),
                lzcnt: std::arch::is_x86_feature_detected!("lzcnt"),
                bmi1: std::arch::is_x86_feature_detected!("bmi1"),
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        {
            Features::default()
        }
    }
}
