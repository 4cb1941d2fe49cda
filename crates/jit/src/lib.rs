//! Compiles eBPF programs to machine code: a template tier that takes microseconds and an
//! optimising tier whose code is as fast as native, for x86-64 and aarch64.
//!
//! [`compile`] makes [`Code`] of a [`Source`]: bytes that run at any
//! address. [`abi`] is what generated code and the program that runs it agree on; [`flow`] is what
//! both tiers and all targets know about a program. This crate knows no machine, maps or helpers:
//! generated code reaches them through the functions of [`abi::Runtime`].

#![deny(unsafe_code)]

pub mod abi;

pub mod source;

pub mod flow;

pub mod code;

mod blocks;

mod lookup;

pub mod ssa;

pub mod x64;

pub mod a64;

#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
pub mod exec;

#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
mod fault;

#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
mod fetch;

#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
pub mod marker;

#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
mod views;

use code::Code;
use source::Source;

/// What the code is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Target {
    /// 64-bit x86.
    X64(x64::Features),
    /// 64-bit Arm.
    A64(a64::Features),
}

impl Target {
    /// The computer that this runs on, if there is a compiler for it.
    #[must_use]
    pub fn host() -> Option<Target> {
        if cfg!(all(target_arch = "x86_64", target_os = "linux")) {
            Some(Target::X64(x64::Features::host()))
        } else if cfg!(all(target_arch = "aarch64", target_os = "linux")) {
            Some(Target::A64(a64::Features::host()))
        } else {
            None
        }
    }
}

/// How much work goes into the code.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Tier {
    /// One template for each instruction.
    Template,
    /// Everything that makes the code faster.
    Optimising,
}

/// How code is made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CompileOptions {
    /// Whether every address is confined to the window by the code itself. Without this a fault
    /// of the proof is a fault of the host: only for measurements, and only with a proof.
    pub contained: bool,
    /// Which passes the optimising tier makes.
    pub passes: ssa::Passes,
    /// Whether [`Code::places`] is filled in.
    pub places: bool,
}

impl Default for CompileOptions {
    fn default() -> Self {
        CompileOptions { contained: true, passes: ssa::Passes::ALL, places: false }
    }
}

/// Why there is no code.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CompileError {
    /// The tier has no compiler for the target.
    #[error("there is no such compiler for this target")]
    NoCompiler,
    /// Distances in the code do not fit the target's jumps.
    #[error("the machine code is larger than {limit} bytes")]
    TooLarge {
        /// The most bytes.
        limit: usize,
    },
    /// A function keeps more values in its frame than frames can hold that are nested deeply.
    #[error("a function with tail calls keeps {words} values on the stack, the most is {limit}")]
    LargeFrame {
        /// How many values of 64 bits.
        words: usize,
        /// The most.
        limit: usize,
    },
    /// The allocator of registers gave up.
    #[error("no registers could be allocated: {why}")]
    Allocation {
        /// What it said.
        why: String,
    },
    /// Code that is not contained was asked for without a proof.
    #[error("code without containment needs a proof")]
    NeedsProof,
}

/// Compiles a program.
///
/// # Errors
///
/// If the tier does not exist for the target or the code would be too large.
pub fn compile(
    source: &Source<'_>,
    target: Target,
    tier: Tier,
    options: &CompileOptions,
) -> Result<Code, CompileError> {
    if !options.contained && source.proof.is_none() {
        return Err(CompileError::NeedsProof);
    }
    match (target, tier) {
        (Target::X64(features), Tier::Template) => x64::tier1::compile(source, features, options),
        (Target::X64(features), Tier::Optimising) => x64::tier2::compile(source, features, options),
        (Target::A64(features), Tier::Template) => a64::tier1::compile(source, features, options),
        (Target::A64(features), Tier::Optimising) => a64::tier2::compile(source, features, options),
    }
}
