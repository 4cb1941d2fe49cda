//! aarch64: encoder, assembler and compilers.
//!
//! Code is for Armv8.0, with or without the atomic instructions of Armv8.1 (FEAT_LSE).
//! [`encode`] knows words, [`asm`] knows labels and numbers, [`regs`] the convention at calls;
//! `host` is what the code of both tiers says to the host.

pub mod encode;

pub mod asm;

pub mod regs;

mod host;

pub mod tier1;

pub mod tier2;

#[cfg(test)]
mod asm_tests;
#[cfg(test)]
mod encode_tests;

/// What the processor can do beyond Armv8.0.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Features {
    /// `ldadd`, `swp`, `cas` and their like.
    pub lse: bool,
}

impl Features {
    /// All of them.
    pub const ALL: Features = Features { lse: true };

    /// What this processor can do; nothing if it is none of the architecture.
    #[must_use]
    pub fn host() -> Features {
        #[cfg(target_arch = "aarch64")]
        {
            Features { lse: std::arch::is_aarch64_feature_detected!("lse") }
        }
        #[cfg(not(target_arch = "aarch64"))]
        {
            Features::default()
        }
    }
}
